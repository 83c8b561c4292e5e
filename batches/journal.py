"""Journal: the rows finished so far, in order, in a file that a later run continues."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

from gpt2edge._files import write_whole
from gpt2edge.batches.files import convert, needs_conversion
from gpt2edge.errors import Argument, FileFormatError

_RESTART: Final = Argument("restart", True)
_SYNCED_EVERY: Final = 256
"""Rows between two writes to the disk itself, for a loss of power."""


class Journal:
    """Appends rows to ``TARGET.partial``; ``finish`` makes the target of it.

    ``facts`` say what the rows depend on: input, model, task and arguments. They are kept in
    ``TARGET.partial.json``. Where both files exist and the facts are equal, the journal continues
    after the last complete row; an incomplete one is removed. ``done`` is the number of its rows.

    Raises FileFormatError where the files belong to another run, unless ``restart`` removes them.
    """

    def __init__(self, target: Path, facts: Mapping[str, Any], *, restart: bool = False) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.partial")
        self._facts = target.with_name(f"{target.name}.partial.json")
        self.done = 0
        if restart:
            self.path.unlink(missing_ok=True)
            self._facts.unlink(missing_ok=True)
        self._check(facts)
        write_whole(self._facts, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
        self._file = self._open()

    def _check(self, facts: Mapping[str, Any]) -> None:
        if not self._facts.exists():
            if self.path.exists():
                raise FileFormatError(
                    f"{self.path} exists without {self._facts.name}: remove it, or start again "
                    "with ",
                    _RESTART,
                )
            return
        try:
            found = json.loads(self._facts.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        wanted = json.loads(json.dumps(facts))
        if found != wanted:
            names = [name for name in wanted if found.get(name) != wanted[name]]
            raise FileFormatError(
                f"{self.path} was started with another {' and '.join(names)}: give the same to "
                "continue, or start again with ",
                _RESTART,
            )

    def _open(self) -> BinaryIO:
        """Open the file after its last whole row."""
        file = self.path.open("a+b")
        try:
            file.seek(0)
            end = 0
            for line in file:
                if not line.endswith(b"\n") or not _is_row(line, self.done):
                    break
                end += len(line)
                self.done += 1
            file.truncate(end)
            file.seek(end)
        except BaseException:
            file.close()
            raise
        return file

    def write(self, row: Mapping[str, Any]) -> None:
        """Append the next row, which is whole in the file when this returns."""
        self._file.write(encoded(row))
        self._file.flush()
        self.done += 1
        if self.done % _SYNCED_EVERY == 0:
            os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Make the target of the rows, and remove the journal."""
        os.fsync(self._file.fileno())
        self._file.close()
        if needs_conversion(self.target):
            convert(self.path, self.target)
            self.path.unlink()
        else:
            self.path.replace(self.target)
        self._facts.unlink()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def encoded(row: Mapping[str, Any]) -> bytes:
    """Return a row as one line of JSON in UTF-8; lone surrogates are escaped."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row, allow_nan=False).encode() + b"\n"


def identity(path: Path) -> dict[str, Any]:
    """Return what tells an input file from another one: its bytes and the hash of the first MiB."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": sha256(file.read(1 << 20)).hexdigest()}


def _is_row(line: bytes, index: int) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.get("index") == index
