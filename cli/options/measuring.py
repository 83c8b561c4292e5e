"""Options of the commands that measure: the text, its windows, and the form of the results."""

from pathlib import Path
from typing import Final

import click

from gpt2edge.cli.help import Decorator

FORMS: Final = ("table", "md", "csv", "json")

context_option: Final = click.option(
    "--context",
    type=click.IntRange(min=2),
    metavar="N",
    help="Tokens per window of the text.  [default: 512, or the shortest context]",
)
stride_option: Final = click.option(
    "--stride",
    type=click.IntRange(min=1),
    metavar="N",
    help="Move the window by N tokens.  [default: half the window]",
)


def form_option(*forms: str) -> Decorator:
    """Return the option ``-o`` with the forms that a command knows."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="Form of the results.",
    )


def write_file(path: Path, text: str) -> None:
    """Write a result to a file, in UTF-8, under another name first: it is whole or absent."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
