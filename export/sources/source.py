"""Source: a checkpoint of any form, as its reader hands it over; Place: where one was given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gpt2edge.export.sources.tensors import Readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checkpoint as found: its form, its configuration, and its tensors under their own names.

    ``path`` is the folder or file that was given, ``described_in`` the file with the configuration.
    ``keys`` are those of a transformers ``config.json``. The tokenizer and the generation settings
    are looked for in ``folder``; the tokenizer first in ``tokenizer`` or among ``files``, which the
    source made itself. Each of ``notes`` becomes a warning.
    """

    form: str
    path: Path
    folder: Path
    described_in: Path
    keys: dict[str, Any]
    tensors: dict[str, Readable]
    notes: tuple[str, ...] = ()
    tokenizer: Path | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """What was given: a folder with all of its files, or one file; ``names`` are sorted."""

    path: Path
    folder: Path
    names: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> "Place":
        """Look at ``path``, which is a folder or a file."""
        if path.is_file():
            return cls(path, path.parent, (path.name,))
        names = sorted(item.name for item in path.iterdir() if item.is_file())
        return cls(path, path, tuple(names))

    @property
    def is_file(self) -> bool:
        """Return whether one file was given."""
        return self.path != self.folder

    def matching(self, *patterns: str) -> list[Path]:
        """Return the files whose names match one of the patterns, in the patterns' order."""
        found = [name for pattern in patterns for name in self.names if fnmatch(name, pattern)]
        return [self.folder / name for name in dict.fromkeys(found)]

    def beside(self, name: str) -> Path | None:
        """Return the file ``name`` of the folder if there is one, also where one file was given."""
        path = self.folder / name
        return path if path.is_file() else None


def listed(names: Iterable[str], most: int = 3) -> str:
    """Return names for a message: the first few, and how many more there are."""
    shown = list(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
