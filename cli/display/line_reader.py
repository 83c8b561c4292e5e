"""Lines that a person types, with readline's editing and history where there is a terminal."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from gpt2edge.cli.display.output import is_terminal

_KEPT: Final = 1000
"""Lines of the history file."""


class LineReader:
    """Reads lines from stdin. ``history`` is the file of earlier lines, or None for none.

    The file is readable by its owner only, because it contains texts.
    """

    def __init__(self, history: Path | None) -> None:
        self._readline = _readline() if is_terminal(sys.stdin) else None
        self._history = history
        if self._readline is not None and history is not None:
            with suppress(OSError):
                self._readline.read_history_file(str(history))
            self._readline.set_history_length(_KEPT)

    def read(self, prompt: str) -> str | None:
        """Return a line without its newline, or None at the end of stdin."""
        if not is_terminal(sys.stdin):
            line = sys.stdin.readline()
            return line.removesuffix("\n").removesuffix("\r") if line else None
        try:
            return input(prompt)
        except EOFError:
            click.echo()
            return None

    def close(self) -> None:
        """Write the history file; where that is impossible, nothing is kept."""
        if self._readline is None or self._history is None:
            return
        with suppress(OSError):
            self._history.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._history, os.O_CREAT | os.O_WRONLY, 0o600))
            self._readline.write_history_file(str(self._history))


def _readline() -> Any:
    """Return the module, or None where Python has none, as on Windows."""
    try:
        import readline
    except ImportError:
        return None
    return readline
