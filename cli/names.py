"""Names that the entry point and the group of commands share; loads nothing."""

from collections.abc import Sequence
from typing import Final

SECTIONS: Final = {
    "Write": ("generate", "branch", "solve", "batch"),
    "Models": ("pull", "models", "export", "quantize", "inspect"),
    "Measure": ("evaluate", "perplexity", "score", "bench", "tokenize"),
    "See inside": ("look", "detect"),
    "This machine": ("doctor",),
}
"""The commands as the help lists them."""
COMMANDS: Final = tuple(name for names in SECTIONS.values() for name in names)
"""Each is a function of this name in ``gpt2edge.cli.commands.<name>``."""
DEFAULT_COMMAND: Final = "generate"
_GROUP_OPTIONS: Final = ("-h", "--help", "--help-all", "-V", "--version")


def with_command(args: Sequence[str]) -> list[str]:
    """Return ``args`` with ``generate`` in front where they begin with a prompt or its options.

    A word in small letters names a command; everything else is a prompt.
    """
    if not args or args[0] in _GROUP_OPTIONS or looks_like_command(args[0]):
        return list(args)
    return [DEFAULT_COMMAND, *args]


def looks_like_command(word: str) -> bool:
    """Tell whether ``word`` could be a command's name: one word in small letters."""
    return word.isascii() and word.islower() and word[0] != "-" and word.replace("-", "").isalnum()


INTERRUPTED: Final = 130
"""The exit code of a command that Ctrl-C ended."""


def is_interrupt(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is the cause; an interrupted compiled module raises ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def os_error_line(error: OSError) -> str:
    """Format the system's reason and the file it concerns."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
