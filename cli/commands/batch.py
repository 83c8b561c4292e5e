"""``gpt2edge batch``."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.display.output import note, print_json
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import BASIC, command, section
from gpt2edge.cli.options.common import Target, bundled, json_option
from gpt2edge.cli.options.sampling import (
    END_OPTIONS,
    EXTENT_OPTIONS,
    SAMPLING_OPTIONS,
    EndFlags,
    ExtentFlags,
    SamplingFlags,
)

if TYPE_CHECKING:
    from gpt2edge._progress import Progress
    from gpt2edge.batches import BatchReport
    from gpt2edge.runtime.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFlags:
    """The options of a batch itself."""

    task: str
    n: int
    columns: tuple[str, ...]
    result_field: str
    limit: int | None
    rows: int
    replicas: int
    restart: bool


_option = section(BASIC)
BATCH_OPTIONS: Final = (
    _option(
        "--task",
        common=True,
        type=click.Choice(["generate", "score", "perplexity", "classify"]),
        default="generate",
        help="What to do with each row. It reads: prompt; prompt and completions; text; text.",
    ),
    _option(
        "--samples",
        "n",
        type=click.IntRange(1, 16384),
        default=1,
        metavar="N",
        help="Completions of each prompt.",
    ),
    _option(
        "--columns",
        common=True,
        multiple=True,
        metavar="NAME=FIELD",
        help="Read an input of the task from another field: prompt=question. Repeatable.",
    ),
    _option(
        "--result-field",
        default="result",
        metavar="FIELD",
        help="Write results to this field.",
    ),
    _option("--limit", type=click.IntRange(1), metavar="N", help="Read only the first N rows."),
    _option(
        "--rows",
        type=click.IntRange(1, 4096),
        default=32,
        metavar="N",
        help="Sequences to decode at once in each process.",
    ),
    _option(
        "--replicas",
        common=True,
        type=click.IntRange(1, 1024),
        default=1,
        metavar="N",
        help="Processes, each with an engine of its own; --threads is for each.",
    ),
    _option(
        "--restart",
        common=True,
        is_flag=True,
        help="Start again instead of continuing an interrupted run.",
    ),
)


@command()
@click.argument("source", metavar="IN")
@click.argument("output", metavar="OUT")
@Target.options()
@bundled("flags", BatchFlags, *BATCH_OPTIONS)
@bundled("ending", EndFlags, *END_OPTIONS)
@bundled("sampling", SamplingFlags, *SAMPLING_OPTIONS)
@bundled("extent", ExtentFlags, *EXTENT_OPTIONS)
@json_option
def batch(
    source: str,
    output: str,
    target: Target,
    flags: BatchFlags,
    ending: EndFlags,
    sampling: SamplingFlags,
    extent: ExtentFlags,
    as_json: bool,
) -> None:
    """Compute every row of the file IN, and write the results to OUT.

    IN and OUT are JSON Lines (also .gz and .zst) or .parquet; "-" is stdin or stdout. Each row
    keeps its fields and its place, and gets an index, and "result" or "error": a wrong row does not
    end the batch. The field "options" of a row overrides options for it: {"prompt": "...",
    "options": {"temperature": 0.3, "max_new_tokens": 8}}.

    The same command continues an interrupted run. The text of a row depends on --seed and on its
    field "id", or its index, not on the rows beside it.

    Exit code 1 where a row has an error. With --json: rows, errors, continued, seconds.

    \b
    Examples:
      gpt2edge batch prompts.jsonl stories.jsonl -n 60 --temperature 0.8 --seed 7
      gpt2edge batch questions.parquet scored.parquet --task score --columns prompt=question
      zcat texts.jsonl.gz | gpt2edge batch - - --task perplexity > measured.jsonl
    """
    from gpt2edge.batches import batch as run

    engine = target.load()
    with watched("computing rows") as progress:
        report = run(
            source,
            output,
            model=engine,
            columns=dict(map(_column, flags.columns)),
            seed=sampling.seed or 0,
            progress=_shown(progress),
            **{name: getattr(flags, name) for name in _PASSED},
            **_arguments(engine, ending, sampling, extent),
        )
    _say(report, output, as_json=as_json)


_PASSED = ("task", "n", "result_field", "limit", "rows", "replicas", "restart")


def _arguments(
    engine: "Engine", ending: EndFlags, sampling: SamplingFlags, extent: ExtentFlags
) -> dict[str, Any]:
    """Return the arguments of ``Engine.generate`` that are given; none for a classifier."""
    from dataclasses import replace

    from gpt2edge.cli.options.settings import resolve

    if engine.model.manifest.task != "text-generation":
        return {}
    settings = resolve(sampling, ending, engine, extent)
    return {
        "sampling": replace(settings.sampling, seed=None),
        "stop": settings.stop,
        "overflow": settings.overflow,
        "max_new_tokens": settings.max_new_tokens,
    }


def _column(text: str) -> tuple[str, str]:
    name, equals, field = text.partition("=")
    if not (name and equals and field):
        raise ValueError(f"--columns is {text[:40]!r}; give NAME=FIELD, such as prompt=question")
    return name, field


def _shown(progress: "Progress | None") -> "Callable[[int, int], None] | None":
    """Return what shows rows, their rate and the errors so far."""
    if progress is None:
        return None
    started, first = perf_counter(), -1

    def show(done: int, errors: int) -> None:
        nonlocal first
        first = done - 1 if first < 0 else first
        rate = (done - first) / max(1e-9, perf_counter() - started)
        wrong = f", {errors:,} with errors" if errors else ""
        progress(f"{done:,} rows, {rate:,.1f} rows/s{wrong}", 0, 0)

    return show


def _say(report: "BatchReport", output: str, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
    else:
        went_on = f", {report.continued:,} of them from an earlier run" if report.continued else ""
        note(f"{output}: {report.rows:,} rows{went_on}, in {report.seconds:.1f} s")
        if report.errors:
            note(f'{report.errors:,} rows have an "error"')
    if report.errors:
        click.get_current_context().exit(1)
