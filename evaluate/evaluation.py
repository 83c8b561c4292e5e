"""Evaluate variants of a model: one row each, with size, quality, speed and memory."""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from gpt2edge._checks import (
    check_callable,
    check_int,
    check_list,
    check_optional,
    check_text,
    check_type,
)
from gpt2edge._progress import Progress, silent
from gpt2edge.evaluate.problems import Pair, accuracy, last_words, minimal_pairs
from gpt2edge.evaluate.quality import measure_quality
from gpt2edge.evaluate.records import EvaluatedModel, Evaluation, Machine, Spread
from gpt2edge.evaluate.speed import BenchmarkTest, Figures, benchmark
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE, ModelDir
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.system.cpu import cpu_name
from gpt2edge.runtime.system.threads import available_threads

_PREFILL: Final = 512
_PROMPT: Final = 128
_DECODE: Final = 64
_CONTEXT: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedPlan:
    """What to time: a prefill, and a decode after a prompt, ``repetitions`` times each.

    None takes what fits the shortest context: 512 tokens prefilled, 64 decoded after 128.
    """

    prefill: int | None = None
    prompt: int | None = None
    decode: int | None = None
    repetitions: int = 5

    def __post_init__(self) -> None:
        for name in ("prefill", "prompt", "decode"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1, 2**31)
        check_int("repetitions", self.repetitions, 1, 10_000)

    def tests(self, context: int) -> tuple[BenchmarkTest, BenchmarkTest]:
        """Return the prefill and the decode, cut to a model's ``context`` where not given."""
        prefill = self.prefill or min(_PREFILL, context)
        prompt = self.prompt or max(1, min(_PROMPT, context // 2))
        decode = self.decode or max(1, min(_DECODE, context - prompt - 1))
        return BenchmarkTest(n_prompt=prefill), BenchmarkTest(n_gen=decode, n_depth=prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What to measure of every model; nothing is measured of what is None.

    ``text`` with its ``text_name`` is for perplexity and its like, in windows of ``context`` tokens
    (by default 512, or the shortest context) moved by ``stride`` (by default half of that).
    ``passages`` are of ``read_lambada``, ``pairs`` of ``read_blimp``.
    """

    text: str | None = None
    text_name: str = "text"
    context: int | None = None
    stride: int | None = None
    passages: Sequence[str] | None = None
    pairs: Sequence[Pair] | None = None
    speed: SpeedPlan | None = None

    def __post_init__(self) -> None:
        check_optional("text", self.text, str, "a text")
        check_text("text_name", self.text_name)
        for name, least in (("context", 2), ("stride", 1)):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), least, 2**31)
        for name in ("passages", "pairs"):
            if getattr(self, name) is not None:
                check_list(name, getattr(self, name), "a list, as read from its file")
        check_optional("speed", self.speed, SpeedPlan, "a SpeedPlan")


def evaluate(
    models: Sequence[str | os.PathLike[str]],
    questions: Questions,
    *,
    options: RuntimeOptions | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure every model of ``models`` in the same way; the first one is the reference.

    Speed comes first, on an otherwise empty process: the models take turns, each loaded again for
    every repetition. Then all are loaded, and read the text window by window in turn. Raises
    ModelDirError for a folder that is no model, ValueError for questions that do not fit one.
    """
    given = check_list("models", models, "a list of model folders")
    if not given:
        raise ValueError("models is empty; give at least one")
    check_type("questions", questions, Questions, "Questions")
    check_optional("options", options, RuntimeOptions, "RuntimeOptions")
    check_callable("progress", progress)
    tell, options = progress or silent, options or RuntimeOptions()
    folders = [ModelDir.open(model) for model in given]
    for folder in folders:
        folder.require_language_model()
    rows: list[dict[str, Any]] = [_facts(folder, folders) for folder in folders]
    context = min(folder.config.n_positions for folder in folders)
    facts = _settings(questions, context)
    if questions.speed:
        _time(rows, folders, questions.speed.tests(context), questions.speed, options, tell)
    if questions.text is not None or questions.passages or questions.pairs:
        with ExitStack() as stack:
            engines = [stack.enter_context(Engine(each.path, options)) for each in folders]
            _ask(rows, engines, questions, facts, tell)
    threads = options.threads or available_threads()
    machine = Machine(cpu=cpu_name(), threads=threads, onnxruntime=version("onnxruntime"))
    evaluated = tuple(EvaluatedModel(**row) for row in rows)
    return Evaluation(models=evaluated, machines=(machine,), **facts)


def _facts(folder: ModelDir, folders: Sequence[ModelDir]) -> dict[str, Any]:
    """Return what a folder is called and holds; its path where others have the same name."""
    names = [each.path.resolve().name for each in folders]
    name = folder.path.resolve().name
    hashes = [folder.manifest.files.get(file) for file in (GRAPH_FILE, WEIGHTS_FILE)]
    digest = hashlib.sha256(repr([each and each.sha256 for each in hashes]).encode())
    return {
        "name": name if names.count(name) == 1 else folder.path.as_posix(),
        "path": folder.path.as_posix(),
        "recipe": folder.manifest.recipe_name,
        "digest": digest.hexdigest(),
        "nbytes": folder.nbytes,
    }


def _settings(questions: Questions, context: int) -> dict[str, Any]:
    """Return how the models are measured, as the fields of ``Evaluation``."""
    facts: dict[str, Any] = {}
    if questions.text is not None:
        window = min(_CONTEXT, context) if questions.context is None else questions.context
        stride = max(1, window // 2) if questions.stride is None else questions.stride
        digest = hashlib.sha256(questions.text.encode()).hexdigest()
        facts |= {"text": questions.text_name, "text_sha256": digest}
        facts |= {"context": window, "stride": stride}
    facts |= {"passages": len(questions.passages)} if questions.passages else {}
    facts |= {"pairs": len(questions.pairs)} if questions.pairs else {}
    if questions.speed:
        prefill, decode = questions.speed.tests(context)
        facts |= {"prefill": prefill.name, "decode": decode.name}
        facts |= {"repetitions": questions.speed.repetitions}
    return facts


def _time(
    rows: list[dict[str, Any]],
    folders: Sequence[ModelDir],
    tests: Sequence[BenchmarkTest],
    plan: SpeedPlan,
    options: RuntimeOptions,
    tell: Progress,
) -> None:
    """Add each model's speeds and peak memory to its row."""

    def told(done: int, total: int) -> None:
        tell("measuring speed", done, total)

    paths = [folder.path for folder in folders]
    measured = benchmark(paths, tests, repetitions=plan.repetitions, options=options, progress=told)
    for row, figures in zip(rows, measured, strict=True):
        prefill, decode = figures.tests
        row |= {
            "prefill_ts": _speed(prefill),
            "decode_ts": _speed(decode),
            "first_token_ms": _first_token(decode),
            "peak_rss_bytes": figures.peak_rss_bytes,
        }


def _speed(figures: Figures) -> Spread:
    return Spread.of(figures.p50_ts, figures.speeds)


def _first_token(figures: Figures) -> Spread:
    times = sorted(1e3 * seconds for seconds in figures.ttft_s)
    middle = (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2
    return Spread.of(middle, times)


def _ask(
    rows: list[dict[str, Any]],
    engines: Sequence[Engine],
    questions: Questions,
    facts: dict[str, Any],
    tell: Progress,
) -> None:
    """Add each model's quality and answers to its row."""
    if questions.text is not None:
        window = {"context": facts["context"], "stride": facts["stride"]}
        found = measure_quality(engines, questions.text, **window, progress=tell)
        for row, quality in zip(rows, found, strict=True):
            row["quality"] = quality
    tests: list[tuple[str, Any, Callable[..., Any]]] = [
        ("lambada", questions.passages, last_words),
        ("blimp", questions.pairs, minimal_pairs),
    ]
    for name, problems, answer in tests:
        for row, engine in zip(rows, engines, strict=True):
            if problems:
                answers = []
                for done, right in enumerate(answer(engine, problems)):
                    tell(f"{name} with {row['name']}", done, len(problems))
                    answers.append(right)
                row[name] = accuracy(answers)
