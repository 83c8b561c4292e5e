"""Ctrl-C while a text is written."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2edge.runtime.decoding.stream import Stream


@contextmanager
def cancelled_by_interrupt(stream: "Stream[Any]") -> Iterator[None]:
    """Cancel the stream at the first Ctrl-C, end the process at the second."""

    def cancel(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        stream.cancel()

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored under nohup, or not ours to take
        return
    signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
