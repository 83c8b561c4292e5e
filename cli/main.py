"""The entry point, which imports nothing before it can be interrupted."""

import codecs
import errno
import gc
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Final

from gpt2edge.cli.names import INTERRUPTED, is_interrupt, os_error_line, with_command

_OBJECTS_BETWEEN_COLLECTIONS: Final = 100_000
"""Modules hold 25,000 objects and hardly any garbage; looking for it took a start 10 ms."""


def main() -> None:
    """Run the console script."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    if isinstance(sys.stdout, TextIOWrapper):
        # a terminal without a character shows a mark in its place; it does not end the story
        codecs.register_error("gpt2edge.mark", _mark)
        sys.stdout.reconfigure(errors="gpt2edge.mark")
    try:
        code = _run()
    except (KeyboardInterrupt, ImportError) as error:  # while packages were loaded
        if not is_interrupt(error):
            raise
        _tell("")
        code = INTERRUPTED
    except OSError as error:  # while help or a completion script was written
        code = _failed(error)
    _tell_what_was_lost()
    code = _flushed(code)
    from gpt2edge.cli.preload import leave

    leave(code)
    gc.freeze()  # or the end looks through every object again and again: 24 ms
    sys.exit(code)


def _failed(error: OSError) -> int:
    """Return the exit code for a stream that refuses text; a closed pipe is no error."""
    if error.errno != errno.EPIPE:
        _tell(f"Error: {os_error_line(error)}")
    return 1


def _tell(line: str) -> None:
    """Print a line on stderr, which may be closed or full."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(line, file=sys.stderr)


def _flushed(code: int) -> int:
    """Flush the streams and return the exit code, with at most one line of error.

    What a stream refuses is dropped: Python would try again at the end, and make the code 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            code = code or _failed(error)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    return code


_lost: list[str] = []
"""The first character that stdout had no place for."""


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that stdout's encoding lacks by question marks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    if not _lost:
        _lost.append(error.object[error.start])
    return "?" * (error.end - error.start), error.end


def _tell_what_was_lost() -> None:
    if _lost:
        _tell(
            f"stdout is {sys.stdout.encoding}, which has no {_lost[0]!a} and perhaps others: "
            "a question mark stands for each; PYTHONUTF8=1 makes it UTF-8"
        )


def _run() -> int:
    """Run the command that the arguments name; return its exit code."""
    from gpt2edge.cli.preload import begin

    begin(with_command(sys.argv[1:]))
    from gpt2edge.cli.app import cli  # and click with it, while the model loads

    try:
        cli(prog_name="gpt2edge")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
