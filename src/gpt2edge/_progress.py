"""Progress: the callback by which the library reports its stages."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the current stage, the count of its finished parts, and their total (0: unknown)."""


def silent(stage: str, done: int = 0, total: int = 0) -> None:
    """Ignore progress: the default ``Progress``."""


def under(name: str, progress: Progress) -> Progress:
    """Return a ``Progress`` that puts ``name`` before each stage; for one of several tasks."""
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
