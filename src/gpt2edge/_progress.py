"""How the library tells what it is doing: by a callback, which it calls and never needs."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is done now, how many parts of it are over, and their number: 0 is unknown."""


def silent(stage: str, done: int = 0, total: int = 0) -> None:
    """The ``Progress`` of a caller who does not ask."""


def under(name: str, progress: Progress) -> Progress:
    """``progress`` for one of several tasks, its stages under the task's name."""
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
