"""Output of ``gpt2edge evaluate``: a table, Markdown, CSV or JSON."""

import shutil
import sys
from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.display.output import aligned, is_terminal, print_json

if TYPE_CHECKING:
    from gpt2edge.evaluate import Evaluation

_WORDS: Final = ("model", "recipe")
_SPEED: Final = ("prefill t/s", "decode t/s", "first token ms", "peak MB")


def print_evaluation(evaluation: "Evaluation", form: str) -> None:
    """Print all rows in ``form``: table, md, csv or json."""
    from gpt2edge.evaluate import csv_table, markdown_table

    if form == "json":
        print_json(evaluation.to_dict())
    elif form == "csv":
        click.echo(csv_table(evaluation), nl=False)
    elif form == "md":
        click.echo(markdown_table(evaluation), nl=False)
    else:
        _print_table(evaluation)


def _print_table(evaluation: "Evaluation") -> None:
    from gpt2edge.evaluate.table import caption

    rows = cells_of(evaluation)
    for number, part in enumerate(parts(rows)):
        if number:
            click.echo()
        right = [at for at, title in enumerate(part[0]) if title not in _WORDS]
        for at, line in enumerate(aligned(part, right=right)):
            click.secho(line, bold=at == 0)
    click.echo()
    for sentence in caption(evaluation):
        click.secho(sentence, dim=True)


def cells_of(evaluation: "Evaluation") -> list[list[str]]:
    """Return the table's rows; the first has the titles."""
    from gpt2edge.evaluate.table import cells

    return cells(evaluation)


def parts(rows: list[list[str]]) -> list[list[list[str]]]:
    """Split a table that is too wide for the terminal into quality and speed."""
    wide = max(map(len, aligned(rows)))
    if not is_terminal(sys.stdout) or wide <= shutil.get_terminal_size().columns:
        return [rows]
    fast = [at for at, title in enumerate(rows[0]) if title in _SPEED]
    good = [at for at in range(1, len(rows[0])) if at not in fast]
    return [[[row[at] for at in (0, *part)] for row in rows] for part in (good, fast) if part]
