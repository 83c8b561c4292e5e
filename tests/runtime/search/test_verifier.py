"""Verifiers: aggregation on a fixed vector, and errors that say what was wrong."""

import math
from collections.abc import Sequence

import pytest

from gpt2edge.errors import EngineClosedError, VerifierError
from gpt2edge.runtime.search.verifiers.verifier import (
    Aggregate,
    Weighted,
    aggregate_steps,
    score_all,
    score_all_steps,
)


class Fixed:
    """Says what it was told to say."""

    def __init__(self, *values: object) -> None:
        self.values = values

    def score(self, prompt: str, completions: Sequence[str]) -> Sequence[float]:  # noqa: ARG002
        return self.values  # type: ignore[return-value]


class Steps:
    """Scores a step by a table."""

    def score_steps(self, prompt: str, solutions: Sequence[Sequence[str]]) -> list[list[float]]:  # noqa: ARG002
        return [[len(step) / 10 for step in steps] for steps in solutions]


@pytest.mark.parametrize(
    ("how", "score"), [("prod", 0.144), ("min", 0.2), ("last", 0.8), ("mean", 1.9 / 3)]
)
def test_aggregates_of_a_fixed_vector(how: Aggregate, score: float) -> None:
    assert aggregate_steps([0.9, 0.2, 0.8], how) == pytest.approx(score)


def test_the_product_is_taken_in_logarithms() -> None:
    assert aggregate_steps([1e-300, 1e-300, 1e300, 1e300], "prod") == pytest.approx(1.0)
    assert aggregate_steps([0.5, 0.0], "prod") == 0.0
    with pytest.raises(ValueError, match="a step score is -1"):
        aggregate_steps([0.5, -1.0], "prod")
    with pytest.raises(ValueError, match="one of last, min, prod, mean"):
        aggregate_steps([0.5], "sum")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one step"):
        aggregate_steps([], "last")


def test_a_callable_is_a_verifier() -> None:
    assert score_all(lambda prompt, text: prompt in text, "a", ["abc", "xyz"]) == [1.0, 0.0]
    assert score_all(Fixed(), "a", []) == []
    both = Weighted([(2.0, Fixed(1.0, 0.5)), (-1.0, lambda _, text: text == "y")])
    assert score_all(both, "", ["x", "y"]) == [2.0, 0.0]


def test_a_step_gets_the_score_of_the_text_up_to_its_end() -> None:
    solutions = [["ab", "c"], ["def"]]
    assert score_all_steps(lambda _, text: len(text), "", solutions) == [[2, 3], [3]]
    assert score_all_steps(Steps(), "", solutions) == [[0.2, 0.1], [0.3]]


@pytest.mark.parametrize(
    ("verifier", "message"),
    [
        (Fixed(1.0), "Fixed returned 1 scores for 2 completions"),
        (Fixed(1.0, math.nan), "Fixed returned nan; a score must be a number"),
        (Fixed(1.0, "good"), "returned 'good'"),
        (Fixed(1.0, None), "returned None"),
        (lambda _prompt, _text: 1 / 0, "failed with ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_verifier_is_one_clear_error(verifier: Fixed, message: str) -> None:
    with pytest.raises(VerifierError, match=message):
        score_all(verifier, "", ["x", "y"])


def test_a_broken_step_verifier_is_one_clear_error() -> None:
    class Short:
        def score_steps(self, prompt: str, solutions: object) -> list[list[float]]:  # noqa: ARG002
            return [[1.0]]

    with pytest.raises(VerifierError, match=r"Short returned \[1\] scores for solutions of \[2\]"):
        score_all_steps(Short(), "", [["a", "b"]])


def test_errors_of_a_verifiers_engine_keep_their_class() -> None:
    def closed(*_: str) -> float:
        raise EngineClosedError("this engine is closed")

    with pytest.raises(EngineClosedError, match="this engine is closed"):
        score_all(closed, "he", ["a"])
