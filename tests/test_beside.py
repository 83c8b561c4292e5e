"""Beside: results, errors, and that the caller goes on meanwhile."""

import threading

import pytest

from gpt2edge._beside import Beside


def test_the_caller_goes_on_meanwhile() -> None:
    go_on = threading.Event()
    beside = Beside(lambda: go_on.wait(60) and threading.current_thread())
    go_on.set()
    assert beside.result() not in (False, threading.current_thread())


def test_what_the_call_raised_is_raised_once_more() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        Beside(fail).result()
