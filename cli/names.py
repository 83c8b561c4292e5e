"""Names that the entry point and the group of commands share; loads nothing."""

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
    "look",
    "detect",
    "neurons",
    "lens",
    "glitch",
    "choose",
    "probe",
    "compare",
    "bench",
    "doctor",
)
"""Each is a function of this name in ``gpt2edge.cli.commands.<name>``."""


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
