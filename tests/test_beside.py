"""Beside: results, errors, and that the caller goes on meanwhile."""

import signal
import threading

import pytest

from gpt2edge._beside import BackgroundCall


def test_the_caller_goes_on_meanwhile() -> None:
    go_on = threading.Event()
    beside = BackgroundCall(lambda: go_on.wait(60) and threading.current_thread())
    go_on.set()
    assert beside.result() not in (False, threading.current_thread())


def test_what_the_call_raised_is_raised_once_more() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        BackgroundCall(fail).result()


def test_an_interrupt_ends_the_wait_and_not_the_call() -> None:
    waiting, go_on = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> str:
        waiting.wait(60)
        signal.pthread_kill(main, signal.SIGINT)
        go_on.wait(60)
        return "done"

    beside = BackgroundCall(interrupt)

    def wait() -> None:
        waiting.set()
        beside.result()

    with pytest.raises(KeyboardInterrupt):
        wait()
    go_on.set()
    assert beside.result() == "done"
