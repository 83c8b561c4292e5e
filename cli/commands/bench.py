"""``gpt2edge bench``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.display.bench import Form, print_figures
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import bundled, json_option, threads_option
from gpt2edge.cli.options.names import MODEL

if TYPE_CHECKING:
    from gpt2edge.evaluate.speed import BenchmarkTest

_LONGEST_PREFILL: Final = 512
_LONGEST_DECODE: Final = 128


def counts(least: int) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return a callback that parses comma-separated whole numbers of at least ``least``."""

    def read(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        words = value.split(",")
        if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
            raise click.BadParameter(f"{value!r} is no list of whole numbers, such as 128,512")
        numbers = tuple(dict.fromkeys(map(int, words)))
        if min(numbers) < least:
            raise click.BadParameter(f"{min(numbers)} is given; {least} is the least")
        return numbers

    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure; None means a default that fits the model's context."""

    n_prompt: tuple[int, ...] | None
    n_gen: tuple[int, ...] | None
    n_depth: tuple[int, ...]
    batch: tuple[int, ...]
    repetitions: int

    def tests(self, models: Sequence[Path]) -> "list[BenchmarkTest]":
        """Plan tests that fit the shortest context among ``models``."""
        from gpt2edge.evaluate.speed import plan_tests
        from gpt2edge.model_dir import ModelDir

        folders = [ModelDir.open(model) for model in models]
        context = min(folder.config.n_positions for folder in folders)
        decodes = all(folder.manifest.task == "text-generation" for folder in folders)
        deepest = max(self.n_depth)
        prefill = min(_LONGEST_PREFILL, context - deepest)
        decode = min(_LONGEST_DECODE, context - max(1, deepest))
        return plan_tests(
            context,
            n_prompt=self.n_prompt or (max(1, prefill),),
            n_gen=self.n_gen or (max(1, decode) if decodes else 0,),
            n_depth=self.n_depth,
            batch=self.batch,
        )


PLAN_OPTIONS: Final = (
    click.option(
        "-p",
        "--n-prompt",
        callback=counts(0),
        metavar="N,...",
        help="Prefill N tokens; 0 skips the test.  [default: 512, or the most that fits]",
    ),
    click.option(
        "-n",
        "--n-gen",
        callback=counts(0),
        metavar="N,...",
        help="Decode N new tokens; 0 skips the test.  [default: 128, or the most that fits; 0 for "
        "a classifier]",
    ),
    click.option(
        "-d",
        "--n-depth",
        callback=counts(0),
        default="0",
        metavar="N,...",
        help="Fill the cache with N tokens first.  [default: 0]",
    ),
    click.option(
        "-b",
        "--batch",
        callback=counts(1),
        default="1",
        metavar="N,...",
        help="Decode N sequences at once.  [default: 1]",
    ),
    click.option(
        "-r",
        "--repetitions",
        type=click.IntRange(1, 10_000),
        default=5,
        metavar="N",
        help="Repeat each test N times, after a warm-up.  [default: 5]",
    ),
)
FORM_OPTIONS: Final = (
    json_option,
    click.option("--jsonl", "as_jsonl", is_flag=True, help="Print one JSON object per test."),
)


@command()
@click.argument("models", nargs=-1, type=MODEL, metavar="[MODEL]...")
@click.option("--compare", is_flag=True, help="Print the speed ratios of two or more models.")
@bundled("plan", Plan, *PLAN_OPTIONS)
@threads_option
@bundled("form", Form, *FORM_OPTIONS)
def bench(
    models: tuple[Path, ...], compare: bool, plan: Plan, threads: int | None, form: Form
) -> None:
    """Measure the speed of MODEL, in llama-bench's terms.

    pp512 prefills 512 tokens; tg128 decodes 128 tokens one by one; "@ d512" starts after 512
    uncounted tokens. -p, -n, -d and -b take lists; every combination is measured. Prompts are
    random. Without MODEL, the bundled model is measured.

    Several models take turns, each reloaded for every repetition, so that drift of the machine
    affects all alike. --compare also prints each model's speed divided by the first one's (ratio
    of medians, with the lowest and highest ratio of a turn). Give the same folder twice to see the
    noise.

    t/s counts the tokens of all sequences: p50 is the median of the repetitions, p95 the speed that
    95 % of them reach. TTFT is the time to the first token (of a decode, depth included), TPOT the
    time per later token, ITL the gap between two tokens.

    With --json: one object with cpu, packages, threads, models (each with its tests) and ratios.
    With --jsonl: one line per test and model, with llama-bench's field names where they exist.

    \b
    Examples:
      gpt2edge bench models/gpt2-int4
      gpt2edge bench models/gpt2-int4 -p 128,512 -n 64 -d 32,944 -b 1,8
      gpt2edge bench --compare models/gpt2 models/gpt2-int8 models/gpt2-int4 -r 10
      gpt2edge bench models/gpt2-int4 --jsonl >> speed.jsonl
    """
    from gpt2edge.evaluate.speed import benchmark
    from gpt2edge.runtime.bundled import BUNDLED_MODEL
    from gpt2edge.runtime.options import RuntimeOptions

    if compare and len(models) < 2:
        raise click.UsageError("--compare needs two models or more.")
    if form.as_json and form.as_jsonl:
        raise click.UsageError("--json and --jsonl exclude each other.")
    paths = list(models) or [BUNDLED_MODEL]
    tests = plan.tests(paths)
    with watched("loading") as progress:
        figures = benchmark(
            paths,
            tests,
            repetitions=plan.repetitions,
            options=RuntimeOptions(threads=threads),
            progress=counted(progress, "measuring"),
        )
    print_figures(figures, form, ratios=compare)
