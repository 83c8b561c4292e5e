"""What a search takes and returns: budget, cost, candidates."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, TypeAlias

from gpt2edge._checks import argument_error, check_float, check_int
from gpt2edge.runtime.results import Completion

StopReason: TypeAlias = Literal[
    "done", "decided", "tokens", "forward_calls", "seconds", "interrupted"
]
"""Why a search ended: it was through, the outcome could no longer change, a limit of the budget
was reached, or Ctrl-C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one search may spend; None is no limit.

    ``tokens`` counts generated tokens, ``forward_calls`` calls of the generating model. Tokens
    and calls are never exceeded, ``seconds`` by one forward call or one verifier call at most.
    ``clock`` says the time.
    """

    tokens: int | None = None
    forward_calls: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = perf_counter

    def __post_init__(self) -> None:
        for name in ("tokens", "forward_calls", "seconds"):
            value = getattr(self, name)
            if value is not None and name == "seconds":
                check_float(name, value, 0, math.inf, open_low=True, part="the budget's ")
            elif value is not None:
                check_int(name, value, 1, 2**63, part="the budget's ")
        if not callable(self.clock):
            raise argument_error("clock", self.clock, "a function that says the time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a verifier that is a model has read: tokens, and the forward calls they took."""

    tokens: int = 0
    forward_calls: int = 0

    def __add__(self, other: "Reading") -> "Reading":
        calls = self.forward_calls + other.forward_calls
        return Reading(tokens=self.tokens + other.tokens, forward_calls=calls)

    def __sub__(self, other: "Reading") -> "Reading":
        calls = self.forward_calls - other.forward_calls
        return Reading(tokens=self.tokens - other.tokens, forward_calls=calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a search spent.

    Tokens and forward calls are those of the generating model; ``verifier_calls`` counts the
    texts that the verifier or evaluator scored, ``verifier_tokens`` and
    ``verifier_forward_calls`` what a verifier that is a model read for it. A prefix that is read
    back from a cache costs nothing and is not counted.
    """

    prefilled_tokens: int = 0
    generated_tokens: int = 0
    forward_calls: int = 0
    verifier_calls: int = 0
    verifier_tokens: int = 0
    verifier_forward_calls: int = 0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One completion, what the verifier gave it, and the answer found in it.

    ``score`` is None where no verifier looked; ``step_scores`` are there under a step verifier.
    """

    completion: Completion
    score: float | None = None
    step_scores: tuple[float, ...] = ()
    answer: str | None = None

    @property
    def text(self) -> str:
        """The completion's text."""
        return self.completion.text

    @property
    def is_whole(self) -> bool:
        """Whether it came to its own end, and was not cut off by the budget or by Ctrl-C."""
        return self.completion.finish_reason != "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best candidate, all of them in the order in which they were begun, and the cost."""

    best: Candidate
    candidates: tuple[Candidate, ...]
    cost: Cost
    stopped: StopReason = "done"
