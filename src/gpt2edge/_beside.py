"""BackgroundCall: run a call in a background thread.

concurrent.futures would do, but it imports the logging module, which delays a command's start.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class BackgroundCall(Generic[Result]):
    """Starts ``call`` in a thread; ``result`` waits for it and returns or raises its outcome."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._returned: list[Result] = []
        self._error: BaseException | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run).start()

    def result(self) -> Result:
        """Return the call's result, or raise its error; may be called once.

        An error's traceback would grow by each raise.
        """
        self._ended.wait()  # not join: after a Ctrl-C in join, Python would forget the thread
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
