"""Files by suffix: plain, gzip, Zstandard or Parquet; ``-`` is standard input or output."""

import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from shutil import copyfileobj
from typing import Any, BinaryIO, Final

from gpt2edge._extras import require

STANDARD: Final = "-"
_GROUP: Final = 4096
"""Rows of a Parquet row group."""


def is_parquet(path: str | PathLike[str]) -> bool:
    """Return whether a file's name says Parquet."""
    return Path(path).suffix == ".parquet"


@contextmanager
def open_input(source: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file of lines for reading, decompressed.

    Raises OSError where it cannot be read, MissingExtraError for ``.zst`` without its package.
    """
    if str(source) == STANDARD:
        if sys.stdin is None:
            raise ValueError("stdin is closed: name a file, or pipe rows in")
        yield sys.stdin.buffer
        return
    path = Path(source)
    with path.open("rb") as file:
        if path.suffix == ".gz":
            with gzip.open(file) as plain:
                yield plain  # type: ignore[misc]
        elif path.suffix == ".zst":
            reader = (
                require("batch", "zstandard")
                .ZstdDecompressor()
                .stream_reader(file, read_across_frames=True)
            )
            yield io.BufferedReader(reader)
        else:
            yield file


def convert(lines: Path, target: Path) -> None:
    """Write a file of JSON lines as ``target``, in the form that its suffix names.

    The bytes depend on the lines alone: no time and no name is stored.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        if is_parquet(target):
            _write_parquet(lines, part)
        else:
            with lines.open("rb") as plain, part.open("wb") as file:
                if target.suffix == ".gz":
                    with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                        copyfileobj(plain, packed)
                elif target.suffix == ".zst":
                    require("batch", "zstandard").ZstdCompressor().copy_stream(plain, file)
                else:
                    copyfileobj(plain, file)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def needs_conversion(target: Path) -> bool:
    """Return whether a target is of another form than plain lines."""
    return is_parquet(target) or target.suffix in (".gz", ".zst")


def check_packages(*paths: str | PathLike[str]) -> None:
    """Raise MissingExtraError where a file's form needs a package that is not installed."""
    for path in paths:
        if is_parquet(path):
            require("batch", "pyarrow.parquet")
        elif Path(path).suffix == ".zst":
            require("batch", "zstandard")


def _write_parquet(lines: Path, target: Path) -> None:
    """Write lines as Parquet; a column's type is the one that all its values have in common."""
    arrow, parquet = require("batch", "pyarrow"), require("batch", "pyarrow.parquet")
    schema = arrow.schema([])
    with lines.open("rb") as file:
        for group in _groups(map(json.loads, file)):
            found = arrow.Table.from_pylist(_with_all_keys(group)).schema
            schema = arrow.unify_schemas([schema, found], promote_options="permissive")
    with lines.open("rb") as file, parquet.ParquetWriter(target, schema) as writer:
        for group in _groups(map(json.loads, file)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


def _with_all_keys(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give every row every key of the group, since pyarrow reads the columns off the first row."""
    names = dict.fromkeys(name for row in group for name in row)
    return [dict.fromkeys(names) | row for row in group]
