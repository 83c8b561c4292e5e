"""SessionGuard: restrict a session to the process that opened it, until it is closed."""

import ctypes
import os
import weakref
from typing import Any, Final

from gpt2edge.errors import EngineClosedError

_SESSIONS: Final["weakref.WeakSet[Any]"] = weakref.WeakSet()


class SessionGuard:
    """Guards one onnxruntime session against use after ``close`` or in a forked process.

    A fork copies the session but not its threads: in the child, a forward call or the session's
    destructor would wait for them forever. So calls are rejected and the session is never freed
    there.
    """

    def __init__(self, session: Any) -> None:
        self._process = os.getpid()
        self._closed = False
        _SESSIONS.add(session)

    def check(self) -> None:
        """Raise EngineClosedError where the session may not be used any more."""
        if self._closed:
            raise EngineClosedError("this engine is closed: load the model again")
        if os.getpid() != self._process:
            raise EngineClosedError(
                f"this engine was loaded by process {self._process} before it forked, and its "
                "threads stayed there: load the model in the child, or start processes by spawn"
            )

    def close(self) -> None:
        """Reject every later use."""
        self._closed = True


def _never_end() -> None:
    """Keep every inherited session alive: its destructor would wait for threads of the parent."""
    for session in _SESSIONS:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_end)
