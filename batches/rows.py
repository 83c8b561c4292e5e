"""Rows of a JSON Lines or Parquet file, one at a time; what is wrong with a row stays with it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final

from gpt2edge._extras import require
from gpt2edge.batches.files import STANDARD, is_parquet, open_input

LONGEST_LINE: Final = 1 << 26
"""Bytes of a line; a longer one is a row with an error."""
_PARQUET_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the input: its ``index`` from 0, and its fields or what is wrong with it."""

    index: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def key(self) -> Any:
        """The value that names the row whatever file it is in: its field ``id``, else its index."""
        return self.fields.get("id", self.index)


def read_rows(
    source: str | PathLike[str], *, first: int = 0, limit: int | None = None
) -> Iterator[Row]:
    """Yield the rows of a file from number ``first`` on, ``limit`` rows of the file at most.

    ``source`` "-" is stdin. The suffix tells the form: Parquet for ``.parquet``, otherwise JSON
    Lines, compressed for ``.gz`` and ``.zst``. Blank lines are no rows. Raises OSError where the
    file cannot be read, FileFormatError where it is not of its form.
    """
    if str(source) != STANDARD and is_parquet(source):
        yield from islice(_parquet_rows(Path(source)), first, limit)
        return
    with open_input(source) as file:
        yield from islice(_json_rows(file), first, limit)


def _json_rows(file: BinaryIO) -> Iterator[Row]:
    index = 0
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while not line.endswith(b"\n") and (line := file.readline(LONGEST_LINE)):
                pass
            yield Row(index, error=f"the line is longer than {LONGEST_LINE:,} bytes")
        elif not line.strip():
            continue
        else:
            yield _json_row(index, line.removeprefix(b"\xef\xbb\xbf") if index == 0 else line)
        index += 1


def _json_row(index: int, line: bytes) -> Row:
    try:
        found = json.loads(line.decode(), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        return Row(index, error=f"the line is not UTF-8: {error.reason} at byte {error.start}")
    except RecursionError:
        return Row(index, error="the line is not JSON: it is nested too deeply")
    except ValueError as error:
        return Row(index, error=f"the line is not JSON: {error}")
    if not isinstance(found, dict):
        return Row(index, error='the line is JSON but not an object, such as {"prompt": "..."}')
    return Row(index, found)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _parquet_rows(path: Path) -> Iterator[Row]:
    parquet, arrow = require("batch", "pyarrow.parquet"), require("batch", "pyarrow")
    from gpt2edge.errors import FileFormatError

    try:
        with parquet.ParquetFile(path) as file:
            groups = file.iter_batches(batch_size=_PARQUET_ROWS)
            rows = (fields for group in groups for fields in group.to_pylist())
            yield from (Row(index, fields) for index, fields in enumerate(rows))
    except arrow.ArrowInvalid as error:
        raise FileFormatError(f"{path} is not a Parquet file: {error}") from None
