"""Beside: one call in a thread of its own, while its caller goes on.

concurrent.futures does this and much more, and loads the logging module: a command's start would
wait for it.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class BackgroundCall(Generic[Result]):
    """``call`` has begun; ``result`` waits for what it returns, or raises what it raised."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._returned: list[Result] = []
        self._error: BaseException | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run).start()

    def result(self) -> Result:
        """What the call returned; once, as an error's traceback grows by each raise."""
        self._ended.wait()  # a join that Ctrl-C ends would have Python forget the thread
        if self._error is not None:
            raise self._error
        return self._returned.pop()

    def _run(self) -> None:
        try:
            self._returned.append(self._call())
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
