"""Panics of the tokenizers package: faults in Rust, which are no ``Exception`` in Python."""

from collections.abc import Iterator
from contextlib import contextmanager

PANIC = "the tokenizers package failed"


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise ValueError in a ``with`` block where the tokenizers package panics.

    Damaged files lead there: merges that make no token, a normalization that points outside itself.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3 exports no name to catch it by
            raise
        raise ValueError(f"{PANIC}: {error}") from None
