"""``gpt2edge evaluate``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt2edge.cli.display.evaluation import print_evaluation
from gpt2edge.cli.display.output import note
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import Decorator, command
from gpt2edge.cli.options.common import bundled, read_file, threads_option
from gpt2edge.cli.options.measuring import (
    FORMS,
    context_option,
    form_option,
    stride_option,
    write_file,
)
from gpt2edge.cli.options.names import MODEL

if TYPE_CHECKING:
    from gpt2edge.evaluate import Evaluation, Questions


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to measure of every model."""

    text: str | None
    context: int | None
    stride: int | None
    lambada: Path | None
    blimp: Path | None
    limit: int | None
    speed: bool
    repetitions: int

    @staticmethod
    def options() -> Decorator:
        """Return the decorator for a command that takes ``asked``."""
        file = click.Path(path_type=Path)
        return bundled(
            "asked",
            Asked,
            click.option("--text", metavar="FILE", help="UTF-8 text to predict; - is stdin."),
            context_option,
            stride_option,
            click.option(
                "--lambada", type=file, metavar="FILE", help="LAMBADA's passages, as JSON lines."
            ),
            click.option(
                "--blimp", type=file, metavar="ZIP", help="BLiMP's minimal pairs, as published."
            ),
            click.option(
                "--limit",
                type=click.IntRange(min=1),
                metavar="N",
                help="Only the first N passages, and N pairs of each paradigm.  [default: all]",
            ),
            click.option(
                "--speed/--no-speed",
                default=True,
                help="Measure speed and memory, too.  [default: speed]",
            ),
            click.option(
                "-r",
                "--repetitions",
                type=click.IntRange(1, 10_000),
                default=5,
                metavar="N",
                help="Time each model N times, in turns.  [default: 5]",
            ),
        )

    def questions(self) -> "Questions":
        """Read the files. Raises UsageError if there is none."""
        from gpt2edge.evaluate import Questions, SpeedPlan, read_blimp, read_lambada

        if not (self.text or self.lambada or self.blimp):
            raise click.UsageError(
                "Missing option '--text': give a text, --lambada or --blimp to measure quality on; "
                "for speed alone there is gpt2edge bench."
            )
        return Questions(
            text=read_file(self.text) if self.text else None,
            text_name="stdin" if self.text == "-" else Path(self.text or "").name,
            context=self.context,
            stride=self.stride,
            passages=read_lambada(self.lambada, self.limit) if self.lambada else None,
            pairs=read_blimp(self.blimp, self.limit) if self.blimp else None,
            speed=SpeedPlan(repetitions=self.repetitions) if self.speed else None,
        )


@command()
@click.argument("models", nargs=-1, type=MODEL, metavar="[MODEL]...")
@Asked.options()
@threads_option
@form_option(*FORMS)
@click.option("--json", "form", flag_value="json", help="Print one JSON object: -o json.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="OUT.svg",
    help="Also draw quality against size and against speed.",
)
@click.option(
    "--pool",
    is_flag=True,
    help="Read JSON files of earlier runs, one a machine, in place of models.",
)
def evaluate(
    models: tuple[Path, ...],
    asked: Asked,
    threads: int | None,
    form: str,
    plot: Path | None,
    pool: bool,
) -> None:
    """Compare models in one table: size, quality, speed, memory.

    The first MODEL is the reference. Every text is read window by window by all models in turn;
    speeds are taken in turns, too, each model loaded anew. ± is a standard error. That of the
    increase in perplexity is of the difference token by token, so it is far below the error of
    either perplexity. KL(reference || model) is in nats a token; top-1 is the share of tokens for
    which both predict the same. Bits per byte compare models of different vocabularies, too.

    Prefill is of 512 tokens; the first token and the decode follow a prompt of 128 tokens. Figures
    of speed are medians.

    \b
    Examples:
      gpt2edge evaluate models/gpt2 models/gpt2-int8 models/gpt2-int4 --text wiki.test.raw
      gpt2edge evaluate models/gpt2* --text wiki.test.raw --plot variants.svg -o md
      gpt2edge evaluate models/gpt2 --lambada lambada_test.jsonl --blimp BLiMP.zip --limit 100
      gpt2edge evaluate models/gpt2* --text wiki.test.raw --json > laptop.json
      gpt2edge evaluate --pool laptop.json raspberry.json --plot both.svg
    """
    evaluation = pooled(models) if pool else measured(models, asked, threads)
    if plot:
        from gpt2edge.evaluate import svg_plot

        write_file(plot, svg_plot(evaluation))
        note(f"{plot} written")
    print_evaluation(evaluation, form)


def measured(models: Sequence[Path], asked: Asked, threads: int | None) -> "Evaluation":
    """Measure all models, by default the bundled one."""
    questions = asked.questions()
    from gpt2edge.evaluate import evaluate as run
    from gpt2edge.runtime.bundled import BUNDLED_MODEL
    from gpt2edge.runtime.options import RuntimeOptions

    options = RuntimeOptions(threads=threads)
    with watched("loading the models") as progress:
        return run(list(models) or [BUNDLED_MODEL], questions, options=options, progress=progress)


def pooled(files: Sequence[Path]) -> "Evaluation":
    """Pool what ``evaluate --json`` wrote on several machines."""
    from gpt2edge.evaluate import Evaluation
    from gpt2edge.evaluate import pool as join

    if not files:
        raise click.UsageError("--pool needs the JSON files of earlier runs.")
    found = []
    for path in files:
        try:
            values = json.loads(read_file(str(path)))
            found.append(Evaluation.from_dict(values))
        except ValueError as error:
            raise ValueError(f"{path}: give what evaluate --json wrote: {error}") from None
    return join(found)
