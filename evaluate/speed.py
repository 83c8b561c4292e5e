"""Speed of models in llama-bench's terms: prefill (pp) and decode (tg), at a depth, in batches.

A prefill is timed around ``Decoder.prefill`` and argmax, as llama-bench does; a decode around
``Engine.stream_batch``, the full cost of an application's loop. Inputs and outputs are token ids,
so no tokenizer is timed. Every repetition has its own random prompts.
"""

import math
import os
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from time import perf_counter
from typing import Final, TypeAlias

import numpy as np

from gpt2edge._checks import (
    check_callable,
    check_int,
    check_list,
    check_optional,
    check_text,
    check_type,
)
from gpt2edge.errors import Argument, ArgumentError, ContextLengthError, Gpt2EdgeError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.sampling.params import GREEDY
from gpt2edge.runtime.system.memory import peak_rss, reset_peak_rss
from gpt2edge.runtime.system.threads import available_threads
from gpt2edge.runtime.text.stopping import StopParams

Clock: TypeAlias = Callable[[], float]

_WARM_UP_STEPS: Final = 8
_NAME: Final = re.compile(
    r"(?P<kind>pp|tg)(?P<count>\d+)(?: ?@ ?d(?P<depth>\d+))?(?:/b(?P<batch>\d+))?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkTest:
    """A test: ``n_prompt`` tokens to prefill, or ``n_gen`` to decode, in each of ``batch`` rows.

    ``n_depth`` tokens are in the cache before; a decode has at least one.
    """

    n_prompt: int = 0
    n_gen: int = 0
    n_depth: int = 0
    batch: int = 1

    def __post_init__(self) -> None:
        for name in ("n_prompt", "n_gen", "n_depth"):
            check_int(name, getattr(self, name), 0, 2**31)
        check_int("batch", self.batch, 1, 2**31)
        if (self.n_prompt == 0) == (self.n_gen == 0):
            raise ValueError("a test prefills n_prompt tokens or decodes n_gen; set one of them")

    @classmethod
    def of(cls, name: str) -> "BenchmarkTest":
        """Read ``pp512``, ``tg128 @ d512`` or ``tg64@d32/b8``, where b is the batch.

        Raises ValueError for another name.
        """
        check_text("name", name)
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"test is {name!r}; write pp512, tg128@d512 or tg64@d32/b8")
        kind = "n_prompt" if match["kind"] == "pp" else "n_gen"
        sizes = {kind: match["count"], "n_depth": match["depth"], "batch": match["batch"]}
        return cls(**{key: int(size) for key, size in sizes.items() if size})

    @property
    def name(self) -> str:
        """Return llama-bench's name of the test: ``pp512``, ``tg128 @ d512``."""
        kind = f"pp{self.n_prompt}" if self.n_prompt else f"tg{self.n_gen}"
        return f"{kind} @ d{self.n_depth}" if self.n_depth else kind

    @property
    def length(self) -> int:
        """Return the count of tokens that a row's cache holds at the end."""
        return self.prompt_length + self.n_gen

    @property
    def prompt_length(self) -> int:
        """Return the count of tokens of a prompt: the depth and the prefill."""
        return max(1, self.n_depth + self.n_prompt)

    @property
    def tokens(self) -> int:
        """Return the count of tokens that a sample reads or writes, in all rows."""
        return self.batch * (self.n_prompt or self.n_gen)

    @property
    def n_texts(self) -> int:
        """Return how many prompts a repetition measures one after the other."""
        return 1

    def prompts_for(self, engine: Engine, seed: int) -> list[list[int]]:
        """Return the prompts [batch] of one request; ``seed`` is the number of the request."""
        return self.prompts(engine.config.vocab_size, seed)

    def prompts(self, vocab_size: int, seed: int = 0) -> list[list[int]]:
        """Draw random token ids, one list per row, without the last id, which often ends a text."""
        random = np.random.default_rng((seed, self.n_prompt, self.n_gen, self.n_depth))
        size = (self.batch, self.prompt_length)
        ids: list[list[int]] = random.integers(max(1, vocab_size - 1), size=size).tolist()
        return ids


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptsTest(BenchmarkTest):
    """A test on one's own prompts: ``n_gen`` tokens are decoded after each of ``texts``."""

    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        BenchmarkTest.__post_init__(self)
        for text in check_list("texts", self.texts, "a list of texts"):
            check_text("texts", text, part="a text in ")
        if not self.texts or not self.n_gen or self.n_depth or self.batch > 1:
            raise ValueError("a test on prompts has texts and n_gen, and neither depth nor batch")

    @property
    def name(self) -> str:
        """Return ``tg64 of 12 prompts``."""
        count = len(self.texts)
        return f"tg{self.n_gen} of {count} prompt{'s' * (count > 1)}"

    @property
    def n_texts(self) -> int:
        """Return the count of prompts."""
        return len(self.texts)

    def prompts_for(self, engine: Engine, seed: int) -> list[list[int]]:
        """Return the prompt of one request: they take turns."""
        return [engine.encode(self.texts[(seed - 1) % len(self.texts)])]


def plan_tests(
    context: int,
    *,
    n_prompt: Sequence[int] = (512,),
    n_gen: Sequence[int] = (128,),
    n_depth: Sequence[int] = (0,),
    batch: Sequence[int] = (1,),
) -> list[BenchmarkTest]:
    """Plan every prefill and every decode at every depth and batch size; a count of 0 means none.

    Raises ContextLengthError if a test does not fit ``context`` tokens.
    """
    check_int("context", context, 1, 2**63)
    lists = {"n_prompt": n_prompt, "n_gen": n_gen, "n_depth": n_depth, "batch": batch}
    for name, counts in lists.items():
        for count in check_list(name, counts, "a list of whole numbers"):
            check_int(name, count, int(name == "batch"), 2**31, part="a number in ")
    tests = [
        test
        for rows in batch
        for depth in n_depth
        for test in (
            *(
                BenchmarkTest(n_prompt=count, n_depth=depth, batch=rows)
                for count in n_prompt
                if count
            ),
            *(BenchmarkTest(n_gen=count, n_depth=depth, batch=rows) for count in n_gen if count),
        )
    ]
    if not tests:
        raise ArgumentError(
            *("nothing to measure: ", Argument("n_prompt"), " and ", Argument("n_gen")),
            " are both 0",
        )
    for test in tests:
        if test.length > context:
            raise ContextLengthError(
                f"{test.name} needs {test.length} tokens of context, the model has {context}: "
                "ask for fewer tokens, or a smaller depth"
            )
    return tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request: seconds to the first token of every row, and of each later step."""

    ttft_s: float
    steps_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The samples of one test."""

    test: BenchmarkTest
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        """Return the time that each sample's speed is computed from: the prefill, or the steps."""
        return [sum(s.steps_s) if self.test.n_gen else s.ttft_s for s in self.samples]

    @property
    def speeds(self) -> list[float]:
        """Return the tokens per second of each sample."""
        return [self.test.tokens / seconds for seconds in self.seconds]

    @property
    def p50_ts(self) -> float:
        """Return the median of ``speeds``."""
        return statistics.median(self.speeds)

    @property
    def p95_ts(self) -> float:
        """Return the speed that 95 % of the samples reach."""
        return self.test.tokens / percentile(self.seconds, 0.95)

    @property
    def p99_ts(self) -> float:
        """Return the speed that 99 % of the samples reach."""
        return self.test.tokens / percentile(self.seconds, 0.99)

    @property
    def ttft_s(self) -> list[float]:
        """Return each sample's time to first token; in a decode it includes the depth's prefill."""
        return [sample.ttft_s for sample in self.samples]

    @property
    def tpot_s(self) -> list[float]:
        """Return the time per token after the first, of each sample; empty for a prefill."""
        return [statistics.fmean(s.steps_s) for s in self.samples if s.steps_s]

    @property
    def itl_s(self) -> list[float]:
        """Return every gap between two tokens of a row; empty for a prefill."""
        return [step for sample in self.samples for step in sample.steps_s]


@dataclass(slots=True, kw_only=True)
class ModelFigures:
    """The measurements of one model; ``load_s`` has one entry per load.

    ``peak_rss_bytes`` is the process's peak RSS while this model was loaded; None where the system
    cannot measure that for one model of several.
    """

    model: ModelDir
    threads: int
    tests: list[Figures]
    load_s: list[float] = field(default_factory=list)
    peak_rss_bytes: int | None = None


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value not exceeded by ``share`` of all."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def benchmark(
    models: Sequence[str | os.PathLike[str]],
    tests: Sequence[BenchmarkTest],
    *,
    repetitions: int = 5,
    options: RuntimeOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
    clock: Clock = perf_counter,
) -> list[ModelFigures]:
    """Measure every test on every model, after a warm-up.

    A single model is loaded once. Several models alternate (A B A B): each is loaded again for each
    repetition, so that drift of the machine and the placement of memory pages affect all equally.
    ``progress`` is called with the requests done and their total.
    """
    check_int("repetitions", repetitions, 1, 10_000)
    check_optional("options", options, RuntimeOptions, "RuntimeOptions")
    check_callable("progress", progress)
    options = options or RuntimeOptions()
    threads = options.threads or available_threads()
    folders = [ModelDir.open(model) for model in check_list("models", models, "a list of folders")]
    for test in check_list("tests", tests, "a list of BenchmarkTest"):
        check_type("tests", test, BenchmarkTest, "a list of BenchmarkTest")
    _check_tasks(folders, tests)
    rounds, samples = (1, repetitions) if len(folders) == 1 else (repetitions, 1)
    figures: list[ModelFigures] = []
    requests = sum(1 + samples * test.n_texts for test in tests)
    done, total = 0, rounds * len(folders) * requests
    for turn in range(rounds):
        for index, folder in enumerate(folders):
            alone = reset_peak_rss() or len(folders) == 1
            started = clock()
            engine = Engine(folder.path, options)
            seconds = clock() - started
            if turn == 0:
                empty = [Figures(test=test) for test in tests]
                figures.append(ModelFigures(model=folder, threads=threads, tests=empty))
            figures[index].load_s.append(seconds)
            with engine:
                for _ in _visit(engine, figures[index].tests, samples, clock):
                    done += 1
                    if progress is not None:
                        progress(done, total)
            del engine
            _note_peak(figures[index], alone)
    return figures


def _check_tasks(folders: Sequence[ModelDir], tests: Sequence[BenchmarkTest]) -> None:
    """Raise Gpt2EdgeError if a test decodes and a model is not a language model."""
    for folder in folders:
        task = folder.manifest.task
        if task != "text-generation" and any(test.n_gen for test in tests):
            raise Gpt2EdgeError(
                f"{str(folder.path)!r} is a model for {task}, which decodes nothing: measure only "
                "its prefill, with ",
                Argument("n_gen", 0),
            )


def measure(engine: Engine, test: BenchmarkTest, seed: int, clock: Clock = perf_counter) -> Sample:
    """Run and time one request."""
    prompts = test.prompts_for(engine, seed)
    length = max(map(len, prompts)) + test.n_gen
    if test.batch > engine.affordable_rows(length):
        raise ValueError(
            f"{test.batch} rows of {length} tokens do not fit the cache budget of "
            f"{engine.options.cache_bytes:,} bytes: ask for fewer"
        )
    if test.n_prompt:
        return _prefill(engine, test, prompts, clock)
    return _decode(engine, test, prompts, clock)


def _visit(engine: Engine, tests: Sequence[Figures], samples: int, clock: Clock) -> Iterator[None]:
    """Run a warm-up and ``samples`` more requests of every test; yield after each."""
    for figures in tests:
        test = figures.test
        warm_up = replace(test, n_gen=min(test.n_gen, _WARM_UP_STEPS))
        measure(engine, warm_up, 0, clock)
        yield
        for _ in range(samples * test.n_texts):
            figures.samples.append(measure(engine, test, 1 + len(figures.samples), clock))
            yield


def _prefill(engine: Engine, test: BenchmarkTest, prompts: list[list[int]], clock: Clock) -> Sample:
    decoder = engine.decoder(rows=test.batch, max_length=test.length)
    for row, prompt in enumerate(prompts):
        if test.n_depth:
            decoder.prefill(row, prompt[: test.n_depth])
    started = clock()
    for row, prompt in enumerate(prompts):
        decoder.prefill(row, prompt[test.n_depth :]).argmax()
    return Sample(ttft_s=clock() - started)


def _decode(engine: Engine, test: BenchmarkTest, prompts: list[list[int]], clock: Clock) -> Sample:
    started = clock()
    stream = engine.stream_batch(
        prompts,
        max_new_tokens=test.n_gen + 1,
        sampling=GREEDY,
        stop=StopParams(ignore_eos=True),
    )
    marks = [clock() for count, _ in enumerate(stream, 1) if count % test.batch == 0]
    steps = tuple(after - before for before, after in pairwise(marks))
    return Sample(ttft_s=marks[0] - started, steps_s=steps)


def _note_peak(figures: ModelFigures, alone: bool) -> None:
    peak = peak_rss() if alone else None
    if peak is not None:
        figures.peak_rss_bytes = max(peak, figures.peak_rss_bytes or 0)
