"""What every system under test speaks: JSON lines over stdin and stdout. Standard library only.

A worker is a process in the system's own environment, started as ``python -m MODULE MODEL
--variant V --threads N [options]``; with ``--prepare`` it converts the checkpoint MODEL to that
variant and exits. Else it answers one line per line:

    (start)                                            {"system", "variant", "load_s", ...}
    {"prompts": [[id, ...], ...], "new": n}            {"prefill_s", "decode_s", "tokens", ...}
    {"prompts": [[id, ...]], "new": n, "samples": s}   the same
    {"score": [id, ...]}                               {"logprobs"}
    (end of input)                                     exits

``new`` counts decode steps: 0 stops at the token that the prefill gives. Tokens are chosen
greedily, or drawn at ``TEMPERATURE`` from the ``TOP_K`` likeliest where samples are asked for, in
whatever way the system does that best; end-of-text is ignored. ``prefill_s`` runs from the call to
the first token of the last prompt, ``decode_s`` from there to the last token; ``steps_s`` is empty
where a system has no time per step.
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
from typing import Any, Protocol, TextIO

TEMPERATURE, TOP_K = 0.8, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One request's times in seconds, and the tokens that came out, one list a row."""

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

    def sample(self, prompt: Sequence[int], samples: int, new: int) -> Measurement:
        """Draw ``samples`` completions of one prompt, ``new`` steps after the first token."""

    def score(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability of every token after the first."""


class StepClock:
    """Cuts a request into prefill and steps; a worker calls it once per batch of tokens."""

    def __init__(self) -> None:
        self._marks = [perf_counter()]

    def mark(self) -> None:
        """The prefill, or one more step, is over."""
        self._marks.append(perf_counter())

    def measurement(self, tokens: Sequence[Sequence[int]]) -> Measurement:
        """All times so far; ``tokens`` one list a row."""
        started, first, *rest = self._marks
        steps = [after - before for before, after in zip([first, *rest], rest, strict=False)]
        return Measurement(
            prefill_s=first - started, decode_s=sum(steps), steps_s=steps, tokens=tokens
        )


def parser(*variants: str) -> argparse.ArgumentParser:
    """The arguments that every worker takes; the first variant is its default."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model", type=Path)
    arguments.add_argument("--variant", choices=variants, default=variants[0])
    arguments.add_argument("--threads", type=int, required=True)
    arguments.add_argument("--rows", type=int, default=8, help="largest batch that will be asked")
    arguments.add_argument("--samples", type=int, default=16, help="most samples of one prompt")
    arguments.add_argument("--prepare", action="store_true", help="convert the model, and exit")
    return arguments


def newer(made: Path, checkpoint: Path) -> bool:
    """Whether ``made`` is there and younger than the checkpoint."""
    source = checkpoint / "model.safetensors"
    return made.exists() and made.stat().st_mtime > source.stat().st_mtime


def serve(load: Callable[[], Runner]) -> None:
    """Load, then answer requests until the input ends. Only answers reach stdout."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    started = perf_counter()
    runner = load()
    _answer(answers, {**runner.facts(), "load_s": perf_counter() - started})
    for line in sys.stdin:
        _answer(answers, {**_reply(runner, json.loads(line)), "peak_rss_bytes": peak_rss()})


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of ``packages``."""
    return {package: version(package) for package in packages}


def peak_rss() -> int | None:
    """The largest resident size of this process so far, or None where the system keeps none.

    getrusage comes second: on Linux it also counts the parent, as it was when it started this.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reply(runner: Runner, request: dict[str, Any]) -> dict[str, Any]:
    if "score" in request:
        return {"logprobs": runner.score(request["score"])}
    prompts, new = request["prompts"], request["new"]
    if "samples" in request:
        (prompt,) = prompts
        return asdict(runner.sample(prompt, request["samples"], new))
    return asdict(runner.measure(prompts, new))


def _answer(answers: TextIO, values: dict[str, object]) -> None:
    print(json.dumps(values), file=answers, flush=True)
