"""Printing: JSON for machines, aligned columns for people, notes on stderr."""

import codecs
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from gpt2edge.model_dir import ModelDir

_MOST_DIGITS: Final = 12
"""After the point: beyond are the errors of float64."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; NaN and infinities become null."""
    plain = _plain(value)
    line = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    click.echo(line if _arrives_as_utf8(line) else json.dumps(plain, allow_nan=False))


def print_table(rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> None:
    """Rows in aligned columns, the first row in bold; columns ``right`` are aligned right."""
    for at, line in enumerate(aligned(rows, right=right)):
        click.secho(line, bold=at == 0)


def print_facts(title: str, facts: Mapping[str, object]) -> None:
    """Print a bold title, and names with their values under it."""
    click.secho(title, bold=True)
    for line in aligned([(f"  {name}", value) for name, value in facts.items()]):
        click.echo(line)


def aligned(rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> list[str]:
    """Rows as lines of aligned columns, two blanks apart."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


_before_notes: list[Callable[[], None]] = []


def note(text: str) -> None:
    """Print a line on stderr."""
    for prepare in _before_notes:
        prepare()
    click.echo(text, err=True)


@contextmanager
def before_notes(prepare: Callable[[], None]) -> Iterator[None]:
    """Call ``prepare`` before every note: what is on the terminal's line makes room."""
    _before_notes.append(prepare)
    try:
        yield
    finally:
        _before_notes.remove(prepare)


def is_terminal(stream: IO[str] | None) -> bool:
    """Tell whether the stream is a terminal; a stream closed by the shell is None."""
    return stream is not None and stream.isatty()


def estimate(value: float, error: float, *, digits: int, percent: bool = False) -> str:
    """Format a value and its standard error: '2.310% ± 0.014%'.

    ``digits`` are the fewest after the point. An error that is not known, as of a single sample,
    is left out.
    """
    sign, scale = ("%", 100) if percent else ("", 1)
    value, error = scale * value, scale * error
    if not math.isfinite(error):
        return f"{value:.{digits}f}{sign}"
    if error == 0:
        return f"{value:.{digits}f}{sign} ± 0{sign}"
    digits = min(max(digits, 1 - math.floor(math.log10(error))), _MOST_DIGITS)
    return f"{value:.{digits}f}{sign} ± {error:.{digits}f}{sign}"


def counted(count: int, name: str) -> str:
    """'1 token', '1,024 tokens'."""
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def named(model: "ModelDir") -> str:
    """Format a model's folder and its recipe."""
    return f"{model.path} ({model.manifest.recipe_name})"


def quoted(text: str) -> str:
    """``text`` on one line, in quotes, control characters escaped."""
    return json.dumps(text, ensure_ascii=False)


def size(nbytes: int) -> str:
    """Bytes for people: '1.3 MB'."""
    return f"{nbytes / 1e6:,.1f} MB" if nbytes >= 100_000 else f"{nbytes / 1e3:,.1f} kB"


def _arrives_as_utf8(text: str) -> bool:
    """Tell whether stdout encodes ``text`` as UTF-8, which readers of JSON expect."""
    try:
        text.encode()  # half a surrogate pair, of a file's name, has no UTF-8
        return codecs.lookup(sys.stdout.encoding).name == "utf-8"
    except (AttributeError, LookupError, TypeError, UnicodeEncodeError):
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
