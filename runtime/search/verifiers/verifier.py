"""Verifiers: score how good a completion, or each of its steps, is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

from gpt2edge._checks import argument_error, check_float, check_list, check_one_of
from gpt2edge.errors import Gpt2EdgeError, VerifierError
from gpt2edge.runtime.search.budget import Reading

Aggregate: TypeAlias = Literal["last", "min", "prod", "mean"]
"""How step scores are combined into one score."""


@runtime_checkable
class Verifier(Protocol):
    """A scorer of whole completions: an outcome reward model (Cobbe et al. 2021) or a checker."""

    def score(self, prompt: str, completions: Sequence[str]) -> Sequence[float]:
        """Return one number for each completion; larger is better."""
        ...


@runtime_checkable
class StepVerifier(Protocol):
    """A scorer of every step: a process reward model (Lightman et al. 2023)."""

    def score_steps(
        self, prompt: str, solutions: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float]]:
        """Return one number for each step of each solution, given the steps before it."""
        ...


@runtime_checkable
class ReadsTokens(Protocol):
    """A verifier that runs a model and counts the tokens it reads."""

    @property
    def reading(self) -> Reading:
        """Return the tokens and forward calls since it was created."""
        ...


Check: TypeAlias = Callable[[str, str], float]
"""``(prompt, completion) -> number or bool``: such as a unit test or a regular expression."""
AnyVerifier: TypeAlias = Verifier | StepVerifier | Check


@dataclass(frozen=True, slots=True)
class Weighted:
    """The weighted sum of several verifiers' scores, such as those of a model and a rule."""

    parts: Sequence[tuple[float, Verifier | Check]]

    def __post_init__(self) -> None:
        allowed = "a list of weights with their verifiers, such as [(0.5, check)]"
        for part in check_list("parts", self.parts, allowed):
            if not isinstance(part, tuple | list) or len(part) != 2:
                raise argument_error("parts", self.parts, allowed)
            weight, verifier = part
            check_float("parts", weight, -math.inf, math.inf, part="a weight in ")
            if not isinstance(verifier, Verifier) and not callable(verifier):
                raise argument_error("parts", self.parts, allowed)

    def score(self, prompt: str, completions: Sequence[str]) -> list[float]:
        """Return the weighted sum for each completion."""
        totals = [0.0] * len(completions)
        for weight, verifier in self.parts:
            for index, value in enumerate(score_all(verifier, prompt, completions)):
                totals[index] += weight * value
        return totals

    @property
    def reading(self) -> Reading:
        """Return what the parts that are models have read."""
        return sum((reading_of(part) for _, part in self.parts), Reading())


def reading_of(verifier: object) -> Reading:
    """Return what a verifier has read so far: zero unless it is a model."""
    return verifier.reading if isinstance(verifier, ReadsTokens) else Reading()


def aggregate_steps(scores: Sequence[float], how: Aggregate) -> float:
    """Combine the scores of the steps into one score.

    ``last`` suits a model that predicts success from this step on (Snell et al. 2024); ``prod``
    and ``min`` suit a model that scores each step by itself (Lightman et al. 2023). The product is
    computed as a sum of logarithms, so that a long solution does not underflow.
    """
    scores = [
        check_float("scores", score, -math.inf, math.inf, part="a number in ")
        for score in check_list("scores", scores, "a list of numbers")
    ]
    if not scores:
        raise ValueError("there are no step scores to aggregate; a solution has at least one step")
    if how == "last":
        return scores[-1]
    if how == "min":
        return min(scores)
    if how == "mean":
        return math.fsum(scores) / len(scores)
    check_one_of("how", how, get_args(Aggregate))
    if min(scores) < 0:
        raise ValueError(f"a step score is {min(scores)}; a product needs scores of 0 or more")
    return math.exp(math.fsum(map(math.log, scores))) if min(scores) > 0 else 0.0


def score_all(verifier: Verifier | Check, prompt: str, completions: Sequence[str]) -> list[float]:
    """Score each completion with ``verifier`` and check the scores.

    Raises VerifierError where the verifier fails, or returns NaN, something that is not a number,
    or the wrong count of numbers.
    """
    if not completions:
        return []
    try:
        if isinstance(verifier, Verifier):
            values = list(verifier.score(prompt, completions))
        else:
            values = [verifier(prompt, completion) for completion in completions]
    except Gpt2EdgeError:
        raise
    except Exception as error:  # anything that a user's verifier may raise
        raise _failure(verifier, error) from error
    if len(values) != len(completions):
        raise VerifierError(
            f"verifier {_name(verifier)} returned {len(values)} scores for {len(completions)} "
            "completions; it must return one for each"
        )
    return [_number(verifier, value) for value in values]


def score_all_steps(
    verifier: AnyVerifier, prompt: str, solutions: Sequence[Sequence[str]]
) -> list[list[float]]:
    """Score each step of each solution, with the checks of ``score_all``.

    With a verifier of whole completions, the score of a step is that of the text up to its end.
    """
    if not isinstance(verifier, StepVerifier):
        texts = ["".join(steps[: end + 1]) for steps in solutions for end in range(len(steps))]
        values = iter(score_all(verifier, prompt, texts))
        return [[next(values) for _ in steps] for steps in solutions]
    try:
        scores = [list(values) for values in verifier.score_steps(prompt, solutions)]
    except Gpt2EdgeError:
        raise
    except Exception as error:  # anything that a user's verifier may raise
        raise _failure(verifier, error) from error
    if [len(values) for values in scores] != [len(steps) for steps in solutions]:
        raise VerifierError(
            f"verifier {_name(verifier)} returned {[len(values) for values in scores]} scores for "
            f"solutions of {[len(steps) for steps in solutions]} steps; it must return one per step"
        )
    return [[_number(verifier, value) for value in values] for values in scores]


def _number(verifier: object, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise VerifierError(
            f"verifier {_name(verifier)} returned {value!r}; a score must be a number"
        )
    return number


def _failure(verifier: object, error: Exception) -> VerifierError:
    return VerifierError(f"verifier {_name(verifier)} failed with {type(error).__name__}: {error}")


def _name(verifier: object) -> str:
    return str(getattr(verifier, "__name__", type(verifier).__name__))
