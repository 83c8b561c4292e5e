"""The entry point, which imports nothing before it can be interrupted."""

import gc
import sys
from io import TextIOWrapper
from typing import Final

COMMANDS: Final = (
    "generate",
    "solve",
    "branch",
    "score",
    "perplexity",
    "tokenize",
    "inspect",
    "pull",
    "models",
    "export",
    "quantize",
    "compare",
    "bench",
    "doctor",
)
"""Each is a function of this name in ``gpt2edge.cli.<name>``."""

INTERRUPTED: Final = 130
"""The exit code of a command that Ctrl-C ended."""


_OBJECTS_BETWEEN_COLLECTIONS: Final = 100_000
"""Modules hold 25,000 objects and hardly any garbage; looking for it took a start 10 ms."""


def main() -> None:
    """The console script."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    if isinstance(sys.stdout, TextIOWrapper):
        # a terminal without a character shows a mark in its place; it does not end the story
        sys.stdout.reconfigure(errors="replace")
    try:
        code = _run()
    except (KeyboardInterrupt, ImportError) as error:  # while packages were loaded
        if not is_interrupt(error):
            raise
        if sys.stderr is not None:  # the shell may have closed it
            print(file=sys.stderr)
        code = INTERRUPTED
    from gpt2edge.cli.loading import leave

    leave(code)
    gc.freeze()  # or the end looks through every object again and again: 24 ms
    sys.exit(code)


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is at the root; a compiled module that it stops says ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _run() -> int:
    """The exit code of the command that the arguments name."""
    from gpt2edge.cli.loading import begin

    begin(sys.argv[1:])
    from gpt2edge.cli.app import cli  # and click with it, while the model loads

    try:
        cli(prog_name="gpt2edge")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
