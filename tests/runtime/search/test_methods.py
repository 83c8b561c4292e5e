"""Searches by name: each is the class that its name means, with the same options."""

from typing import Any

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.errors import ArgumentError
from gpt2edge.runtime.search import (
    MCTS,
    Adaptive,
    BestOfN,
    Budget,
    MajorityVote,
    Policy,
    SampledSteps,
    SearchPrompt,
    StepBeam,
    TreeOfThoughts,
)
from gpt2edge.runtime.search.methods import METHODS, UNVERIFIED, NamedSearch

REQUEST = SearchPrompt(
    prompt="he", sampling=SamplingParams(temperature=0.9, seed=11), max_new_tokens=12
)


def variety(_prompt: str, completion: str) -> float:
    return len(set(completion)) / 200


JUDGED: dict[str, Any] = {"verifier": variety, "aggregate": "min", "step": " "}


@pytest.mark.parametrize(
    ("method", "options", "strategy"),
    [
        ("majority", {}, MajorityVote(n=3)),
        ("best-of-n", {**JUDGED, "choose": "weighted"}, BestOfN(n=3, choose="weighted", **JUDGED)),
        ("beam", JUDGED, StepBeam(n=3, width=3, **JUDGED)),
        ("dvts", {**JUDGED, "width": 1}, StepBeam(n=3, width=1, diverse=True, **JUDGED)),
        ("adaptive", JUDGED, Adaptive(policy=Policy.default(3, verified=True), **JUDGED)),
    ],
)
def test_a_name_is_its_strategy(
    engine: Engine, method: str, options: dict[str, Any], strategy: Any
) -> None:
    outcome = NamedSearch(method=method, n=3, **options).run(engine, REQUEST)
    result = strategy.run(engine, "he", sampling=REQUEST.sampling, max_new_tokens=12)
    assert outcome.text == result.best.text
    assert outcome.score == result.best.score
    tokens = [candidate.completion.token_ids for candidate in outcome.candidates]
    assert tokens == [candidate.completion.token_ids for candidate in result.candidates]
    assert outcome.cost.generated_tokens == result.cost.generated_tokens
    assert outcome.tree is None


@pytest.mark.parametrize(
    ("method", "search"), [("tot", TreeOfThoughts(breadth=2)), ("mcts", MCTS(simulations=2))]
)
def test_a_name_is_its_tree_search(engine: Engine, method: str, search: Any) -> None:
    named = NamedSearch(method=method, n=2, width=2, verifier=variety, step=" ")
    outcome = named.run(engine, REQUEST, budget=Budget(tokens=200))
    task = SampledSteps(engine=engine, request=REQUEST, verifier=variety, branches=2, step=" ")
    result = search.run(engine, task, budget=Budget(tokens=200))
    assert outcome.text == task.text(result.best.state)
    assert outcome.score == result.best.value
    assert outcome.tree is not None


def test_greedy_takes_no_draw_whatever_the_sampling(engine: Engine) -> None:
    for request in (REQUEST, SearchPrompt(prompt="he", max_new_tokens=12)):
        outcome = NamedSearch(method="greedy").run(engine, request)
        assert outcome.text == engine.generate("he", max_new_tokens=12, temperature=0.0).text
        assert len(outcome.candidates) == 1


def test_a_method_that_judges_needs_a_verifier() -> None:
    for method in METHODS:
        if method in (*UNVERIFIED, "adaptive"):
            NamedSearch(method=method)
        else:
            with pytest.raises(ArgumentError, match="verifier is None"):
                NamedSearch(method=method)
    with pytest.raises(ArgumentError, match="majority"):
        NamedSearch(method="vote")
