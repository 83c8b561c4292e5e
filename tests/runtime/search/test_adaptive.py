"""Adaptive: the probe is part of the search, the policy is kept to, and fit finds the best one."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.errors import FileFormatError
from gpt2edge.runtime.search import (
    Adaptive,
    Allocation,
    BestOfN,
    Budget,
    MajorityVote,
    Policy,
    Trial,
    fit,
)
from gpt2edge.runtime.search.strategies.compute_policy import agreement

WARM = SamplingParams(temperature=0.9, top_k=40, seed=11)
TEXT: dict[str, Any] = {"sampling": WARM, "max_new_tokens": 18}


def letters(_prompt: str, text: str) -> float:
    return len(set(text)) / 100


def first(text: str) -> str | None:
    """Few answers, so that votes agree."""
    return str(len(text) % 2)


def only(arm: Allocation, probe: int = 4) -> Policy:
    return Policy(arms=(arm,), probe=probe)


def test_one_sample_is_plain_sampling(engine: Engine) -> None:
    plain = engine.generate("he", **TEXT)
    for verifier in (None, letters):
        policy = Policy.default(1, verified=verifier is not None)
        result = Adaptive(policy=policy, verifier=verifier).run(engine, "he", **TEXT)
        assert result.best.completion.token_ids == plain.token_ids
        assert len(result.candidates) == 1


def test_the_probe_is_a_part_of_the_samples(engine: Engine) -> None:
    arm = Allocation(method="best-of-n", n=8, choose="best")
    result = Adaptive(policy=only(arm), verifier=letters).run(engine, "he", **TEXT)
    plain = BestOfN(n=8, verifier=letters).run(engine, "he", **TEXT)
    assert result.best == replace(plain.best, completion=result.best.completion)
    assert result.best.completion.token_ids == plain.best.completion.token_ids
    assert result.cost.generated_tokens == plain.cost.generated_tokens
    assert result.cost.prefilled_tokens == plain.cost.prefilled_tokens
    assert result.cost.verifier_calls == 8
    vote = Adaptive(policy=only(Allocation(method="majority", n=8)), answer=first)
    voted = MajorityVote(n=8, answer=first, early_stop=False).run(engine, "he", **TEXT)
    assert vote.run(engine, "he", **TEXT).best.text == voted.best.text


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_steps_go_on_in_the_same_workspace(engine: Engine, method: Any) -> None:
    arm = Allocation(method=method, n=4, width=2, choose="best")
    strategy = Adaptive(policy=only(arm, 3), verifier=letters, step=" ")
    result = strategy.run(engine, "he", **TEXT)
    assert len(result.candidates) > 3
    assert result.cost.prefilled_tokens == len(engine.encode("he"))
    assert result.best.score == max(c.score or 0.0 for c in result.candidates)


def test_ease_by_score_is_the_mean(engine: Engine) -> None:
    arm = Allocation(method="best-of-n", n=4)
    scores = iter([0.5, 1.0, 0.25, 0.25])
    found = BestOfN(n=4, verifier=lambda *_: next(scores)).run(engine, "he", **TEXT).candidates
    assert Policy(arms=(arm,), measure="score").easiness(found) == 0.5


def test_difficulty_chooses_the_arm(engine: Engine) -> None:
    arms = tuple(Allocation(method="majority", n=n) for n in (16, 8, 4))
    policy = Policy(arms=arms, edges=(0.6, 0.9))
    sizes = set()
    for number in range(12):
        strategy = Adaptive(policy=policy, answer=first)
        found = strategy.run(engine, f"he {number}", **TEXT).candidates
        ease = agreement([c.answer for c in found[:4]])
        assert len(found) == (4 if ease > 0.9 else 8 if ease > 0.6 else 16)
        sizes.add(len(found))
    assert sizes == {4, 8, 16}


def test_scores_are_a_measure_too(engine: Engine) -> None:
    arms = (Allocation(method="best-of-n", n=6), Allocation(method="majority", n=4))
    for edge, count in ((0.0, 4), (1.0, 6)):
        policy = Policy(arms=arms, edges=(edge,), measure="score")
        result = Adaptive(policy=policy, verifier=letters).run(engine, "he", **TEXT)
        assert len(result.candidates) == count
    with pytest.raises(ValueError, match="needs a verifier"):
        Adaptive(policy=policy)


@pytest.mark.parametrize("limit", [5, 40, 90])
def test_it_stays_inside_the_budget(engine: Engine, limit: int) -> None:
    strategy = Adaptive(
        policy=only(Allocation(method="beam", n=4, width=2)), verifier=letters, step=" "
    )
    result = strategy.run(engine, "he", **TEXT, budget=Budget(tokens=limit))
    assert result.stopped == "tokens"
    assert result.cost.generated_tokens <= limit
    assert result.best in result.candidates


def measured(
    problems: Sequence[tuple[float, Sequence[float]]], costs: Sequence[float]
) -> list[Trial]:
    """Trials of arms with these costs; a problem is its ease and each arm's accuracy."""
    return [
        Trial(
            problem=str(number),
            easiness=ease,
            arm=Allocation(method="majority", n=at + 1),
            accuracy=accuracy,
            tokens=cost,
        )
        for number, (ease, accuracies) in enumerate(problems)
        for at, (accuracy, cost) in enumerate(zip(accuracies, costs, strict=True))
    ]


def test_fit_gives_hard_problems_what_easy_ones_have_no_use_for() -> None:
    easy, hard, hopeless = (0.9, (1.0, 1.0, 1.0)), (0.5, (0.1, 0.4, 0.9)), (0.1, (0.0, 0.0, 0.0))
    trials = measured([easy, hard, hopeless] * 4, (10.0, 40.0, 160.0))
    assert [arm.n for arm in fit(trials, bins=3).arms] == [1, 3, 1]
    assert [arm.n for arm in fit(trials, bins=3, tokens=60).arms] == [1, 3, 1]
    assert [arm.n for arm in fit(trials, bins=3, tokens=59).arms] == [1, 2, 1]
    assert [arm.n for arm in fit(trials, bins=3, tokens=10).arms] == [1, 1, 1]
    assert fit(trials, bins=3).edges == (0.5, 0.9)
    with pytest.raises(ValueError, match=r"tokens is 9; even the cheapest arms take 10\.0"):
        fit(trials, tokens=9)


@pytest.mark.parametrize("seed", range(5))
def test_fit_is_the_best_there_is_at_its_cost(seed: int) -> None:
    """Nothing that an exhaustive search finds is better for the same or fewer tokens."""
    draw = random.Random(seed)
    problems = [(ease / 12, sorted(draw.random() for _ in range(4))) for ease in range(12)]
    costs = (1.0, 2.0, 4.0, 8.0)
    trials = measured(problems, costs)
    policy = fit(trials, bins=3, tokens=4)

    def value(arms: Sequence[Allocation]) -> tuple[float, float]:
        chosen = Policy(arms=tuple(arms), edges=policy.edges)
        own = [trial for trial in trials if chosen.arm(trial.easiness) == trial.arm]
        assert len(own) == 12
        return sum(t.accuracy for t in own) / 12, sum(t.tokens for t in own) / 12

    accuracy, tokens = value(policy.arms)
    assert tokens <= 4
    every = [value(arms) for arms in product({trial.arm for trial in trials}, repeat=3)]
    assert all(found <= accuracy + 1e-9 for found, spent in every if spent <= tokens)


def test_fit_with_bad_trials() -> None:
    with pytest.raises(ValueError, match="no trials"):
        fit([])
    trials = measured([(0.1, (0.0, 1.0)), (0.9, (0.0, 1.0))], (1.0, 2.0))
    with pytest.raises(ValueError, match="lack some arms"):
        fit(trials[:-1], bins=2)
    assert len(fit(measured([(0.5, (0.0, 1.0))] * 3, (1.0, 2.0)), bins=3).arms) == 1


def test_a_policy_is_saved_and_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    beam = Allocation(method="beam", n=16, width=4, choose="best")
    policy = Policy(arms=(beam, Allocation(method="majority", n=4)), edges=(0.5,), measure="score")
    policy.save(path)
    assert Policy.load(path) == policy
    good = path.read_text()
    changes = [("0.5", '"x"'), ('"beam"', '"magic"'), ("16", "15"), (good, "{"), (good, "[]")]
    for old, new in changes:
        text = good.replace(old, new)
        path.write_text(text)
        with pytest.raises(FileFormatError, match="is not a saved policy"):
            Policy.load(path)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"edges": (0.5, 0.5)}, "must ascend"),
        ({"edges": (0.5,)}, "one arm more than edges"),
        ({"measure": "hope"}, "measure is 'hope'"),
        ({"probe": 0}, "probe is 0"),
    ],
)
def test_policies_that_are_none(keys: dict[str, Any], words: str) -> None:
    arms = (Allocation(method="majority", n=1),) * 3
    with pytest.raises(ValueError, match=words):
        Policy(**{"arms": arms, "edges": (0.1, 0.5), **keys})


def test_agreement() -> None:
    assert agreement(["a", "b", "a", None]) == 0.5
    assert agreement([None, None]) == 0
