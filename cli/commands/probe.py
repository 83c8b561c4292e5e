"""``gpt2edge probe``."""

import math
from typing import TYPE_CHECKING

import click

from gpt2edge.cli.display.output import print_json, print_table
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Target, json_option
from gpt2edge.cli.options.rows import read_rows

if TYPE_CHECKING:
    from gpt2edge.inside import ClozeFigures


@command()
@click.argument("path", metavar="CLOZE.jsonl")
@Target.options()
@json_option
def probe(path: str, target: Target, as_json: bool) -> None:
    """Ask what the model puts into a blank.

    CLOZE.jsonl has a JSON object a line: prompt, expected (a list of texts), and if you like
    alternatives and a kind. P@1 and P@10 are the shares of rows whose expected text begins with one
    of the 1 or 10 likeliest tokens, MRR the mean of 1 / rank. Pairs are an expected text and an
    alternative; the share in which the expected one is likelier, 50 % by guessing. A row with
    sentence, a text with one ___, compares whole sentences. "-" is stdin.

    With --json: figures, kinds, rows.

    \b
    Examples:
      gpt2edge probe examples/probe.jsonl
      gpt2edge probe -m models/gpt2 examples/probe.jsonl --json
    """
    from gpt2edge.inside import probe as ask

    rows = read_rows(path)
    engine = target.load()
    with watched("asking") as progress:
        report = ask(engine, rows, progress=counted(progress, "asking"))
    if as_json:
        print_json(report.as_dict())
        return
    named = {**{kind or "-": each for kind, each in report.kinds.items()}, "all": report.figures}
    table = [_row(kind, figures) for kind, figures in named.items()]
    print_table([("kind", "rows", "P@1", "P@10", "MRR", "pairs"), *table], right=range(1, 6))


def _row(kind: str, figures: "ClozeFigures") -> tuple[object, ...]:
    shares = (figures.precision_1, figures.precision_10, figures.mrr, figures.pairwise)
    return (kind, figures.rows, *("-" if math.isnan(each) else f"{each:.2f}" for each in shares))
