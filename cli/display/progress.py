"""Progress of a wait: one line on stderr, removed when the wait is over.

The line shows the stage, the progress and the elapsed time. A thread draws it twice a second, so
that it moves during a single long operation, and only if the wait exceeds a second. Nothing is
drawn if stderr is not a terminal.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Final, TextIO

from gpt2edge.cli.display.output import before_notes, is_terminal

if TYPE_CHECKING:
    from gpt2edge._progress import Progress

SHOWN_AFTER: Final = 1.0
"""Seconds; shorter waits show nothing."""
_DRAWN_EVERY: Final = 0.5
_BAR: Final = 24


class ProgressLine:
    """One line of a terminal, redrawn by a thread; called like ``Progress``."""

    def __init__(self, stream: TextIO, stage: str) -> None:
        from threading import Event, Lock, Thread  # not for --help

        self._stream = stream
        self._now = (stage, 0, 0)
        self._began = perf_counter()
        self._width = 0
        self._lock, self._over = Lock(), Event()
        self._thread = Thread(target=self._draw_until_over, daemon=True)
        self._thread.start()

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Say this from the next drawing on."""
        self._now = (stage, done, total)

    def clear(self) -> None:
        """Take the line off the terminal, for other text to come there."""
        with self._lock, suppress(OSError, ValueError):
            if self._width:
                self._stream.write("\r" + " " * self._width + "\r")
                self._stream.flush()
                self._width = 0

    def close(self) -> None:
        """End it; nothing of it stays."""
        self._over.set()
        self._thread.join()
        self.clear()

    def _draw_until_over(self) -> None:
        wait = SHOWN_AFTER
        while not self._over.wait(wait):
            wait = _DRAWN_EVERY
            with suppress(OSError, ValueError):  # a terminal that was closed
                self._draw()

    def _draw(self) -> None:
        stage, done, total = self._now
        if not stage:
            return
        seconds, width = perf_counter() - self._began, _columns(self._stream) - 1
        text = shown(stage, done, total, seconds, width)
        with self._lock:
            # the cursor stays in front: whatever else is printed takes the line's place
            self._stream.write("\r" + text.ljust(self._width) + "\r")
            self._stream.flush()
            self._width = len(text)


def shown(stage: str, done: int, total: int, seconds: float, width: int = 79) -> str:
    """Format the line in ``width`` characters; a long stage is cut, its figures are not."""
    moving = f" ...  {seconds:.0f} s"
    if total:
        filled = _BAR * min(done, total) // total
        bar = "#" * filled + "-" * (_BAR - filled)
        moving = f"  [{bar}]  {done:,} of {total:,}  {seconds:.0f} s"
    room = width - len(moving)
    return (stage if len(stage) <= room else stage[: max(0, room - 3)] + "...") + moving


_active: list[ProgressLine] = []


@contextmanager
def watched(stage: str) -> "Iterator[Progress | None]":
    """Show a wait that begins with ``stage``; None where nobody watches. "" shows nothing yet.

    Inside another one, the stage and what follows are said on that one's line.
    """
    stderr = sys.stderr
    if not is_terminal(stderr):
        yield None
    elif _active:
        _active[0](stage)
        yield _active[0]
    else:
        line = ProgressLine(stderr, stage)
        _active.append(line)
        try:
            with before_notes(line.clear):
                yield line
        finally:
            _active.clear()
            line.close()


def counted(progress: "Progress | None", stage: str) -> Callable[[int, int], None] | None:
    """``progress`` for what has one stage and tells only how far it is."""
    if progress is None:
        return None
    return lambda done, total: progress(stage, done, total)


def _columns(stream: TextIO) -> int:
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or 80
    return 80
