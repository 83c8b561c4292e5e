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
        from gpt2edge.cli.app import cli

        cli(prog_name="gpt2edge")
    except KeyboardInterrupt:  # while click itself was loaded
        if sys.stderr is not None:  # the shell may have closed it
            print(file=sys.stderr)
        sys.exit(INTERRUPTED)
