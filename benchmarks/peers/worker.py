"""What every system under test speaks: JSON lines over stdin and stdout. Standard library only.

A worker is a process in the system's own environment, started as ``python SCRIPT MODEL --threads N
[options]``. It answers one line per line:

    (start)                                          {"system", "versions", "load_s", ...}
    {"prompts": [[id, ...], ...], "new": n}          {"prefill_s", "decode_s", "steps_s", "tokens"}
    (end of input)                                   exits

``new`` counts decode steps: 0 stops at the token that the prefill gives. Tokens are chosen greedily
and end-of-text is ignored. ``prefill_s`` runs from the call to the first token of the last prompt,
``decode_s`` from there to the last token; ``steps_s`` is empty where a system has no time per step.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Protocol, TextIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One request's times in seconds, and the tokens that came out, one list a prompt."""

    prefill_s: float
    decode_s: float
    steps_s: Sequence[float] = field(default_factory=list)
    tokens: Sequence[Sequence[int]]


class Runner(Protocol):
    """A loaded model."""

    def facts(self) -> dict[str, object]:
        """What the result rows say about it: system, variant, versions."""

    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        """Prefill ``prompts``, all of one length, then decode ``new`` steps of all together."""


class StepClock:
    """Cuts a request into prefill and steps; a worker calls it once per batch of tokens."""

    def __init__(self) -> None:
        self._marks = [perf_counter()]

    def mark(self) -> None:
        """The prefill, or one more step, is over."""
        self._marks.append(perf_counter())

    def measurement(self, tokens: Sequence[Sequence[int]]) -> Measurement:
        """All times so far; ``tokens`` one list a prompt."""
        started, first, *rest = self._marks
        steps = [after - before for before, after in zip([first, *rest], rest, strict=False)]
        return Measurement(
            prefill_s=first - started, decode_s=sum(steps), steps_s=steps, tokens=tokens
        )


def parser() -> argparse.ArgumentParser:
    """The arguments that every worker takes."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model", type=Path)
    arguments.add_argument("--threads", type=int, required=True)
    arguments.add_argument("--rows", type=int, default=8, help="largest batch that will be asked")
    return arguments


def serve(load: Callable[[], Runner]) -> None:
    """Load, then answer requests until the input ends. Only answers reach stdout."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    started = perf_counter()
    runner = load()
    _answer(answers, {**runner.facts(), "load_s": perf_counter() - started})
    for line in sys.stdin:
        request = json.loads(line)
        result = runner.measure(request["prompts"], request["new"])
        _answer(answers, {**asdict(result), "peak_rss_bytes": peak_rss()})


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of ``packages``."""
    return {package: version(package) for package in packages}


def peak_rss() -> int | None:
    """The largest resident size of this process so far, or None where the system keeps none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _answer(answers: TextIO, values: dict[str, object]) -> None:
    print(json.dumps(values), file=answers, flush=True)
