"""The types that a search takes and returns: budget, cost, candidates, result."""

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
"""Why a search ended: it was complete, its outcome could no longer change, a limit of the budget
was reached, or Ctrl-C was pressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits of one search; None is no limit.

    ``tokens`` limits generated tokens, ``forward_calls`` calls of the generating model. Neither is
    ever exceeded; ``seconds`` may be exceeded by one forward call or one verifier call. ``clock``
    returns the time in seconds.
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
            raise argument_error("clock", self.clock, "a function that returns the time in seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The tokens that a model verifier has read, and the forward calls for them."""

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
    """The cost of a search.

    Tokens and forward calls are those of the generating model. ``verifier_calls`` counts the texts
    that the verifier or evaluator scored; ``verifier_tokens`` and ``verifier_forward_calls`` count
    the work of a verifier that is a model. A prefix taken from a cache is not counted.
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
    """A completion, the verifier's score of it, and the answer extracted from it.

    ``score`` is None without a verifier; a step verifier also fills ``step_scores``.
    """

    completion: Completion
    score: float | None = None
    step_scores: tuple[float, ...] = ()
    answer: str | None = None

    @property
    def text(self) -> str:
        """Return the completion's text."""
        return self.completion.text

    @property
    def is_whole(self) -> bool:
        """Return whether it is complete: not cut off by the budget or by Ctrl-C."""
        return self.completion.finish_reason != "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best candidate, all candidates in the order in which they were started, and the cost."""

    best: Candidate
    candidates: tuple[Candidate, ...]
    cost: Cost
    stopped: StopReason = "done"
