"""Best of N: oracle, weights, top k, interruption."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.errors import VerifierError
from gpt2edge.runtime.search.budget import Budget, Candidate
from gpt2edge.runtime.search.candidates import candidates_of
from gpt2edge.runtime.search.strategies.best_of_n import BestOfN, pass_at_k, pick

WARM = SamplingParams(temperature=0.9, top_k=40, seed=11)


def is_right(_prompt: str, text: str) -> bool:
    """An oracle: about one random text in three is right."""
    return sum(text.encode()) % 3 == 0


def blank(engine: Engine, answers: str, scores: list[float]) -> list[Candidate]:
    group = engine.request("he", n=len(answers), sampling=WARM).generations
    (stem,) = candidates_of(group, lambda text: text)
    return [
        replace(stem, answer=None if answer == "-" else answer, score=score)
        for answer, score in zip(answers, scores, strict=True)
    ]


def test_one_sample_is_plain_sampling(engine: Engine) -> None:
    plain = engine.generate("he", max_new_tokens=20, sampling=WARM)
    result = BestOfN(n=1, verifier=is_right).run(engine, "he", max_new_tokens=20, sampling=WARM)
    assert result.best.completion.token_ids == plain.token_ids
    assert result.best.score == is_right("", plain.text)
    assert result.cost.verifier_calls == 1


def test_with_an_oracle_it_is_pass_at_n(engine: Engine) -> None:
    prompts = [f"he {place}" for place in range(12)]
    samples = {p: engine.generate_batch([p], n=4, max_new_tokens=6, sampling=WARM) for p in prompts}
    for n in (1, 2, 4):
        strategy = BestOfN(n=n, verifier=is_right)
        solved = [
            strategy.run(engine, p, max_new_tokens=6, sampling=WARM).best.score for p in prompts
        ]
        passed = [any(is_right("", s.text) for s in samples[p][:n]) for p in prompts]
        assert solved == passed
    assert 0 < sum(passed) <= len(passed)


def test_choices_on_fixed_scores(engine: Engine) -> None:
    candidates = blank(engine, "abba-", [0.5, 0.6, 0.3, 0.2, 0.9])
    assert pick(candidates, "best").answer is None
    assert pick(candidates, "weighted").answer == "b"
    assert pick(candidates, "majority").answer == "a"
    assert pick(candidates, "majority").score == 0.5
    assert pick(candidates, "majority", 3).answer == "a"  # of a, b and None
    assert pick(candidates, "weighted", 2).answer == "b"
    dominant = blank(engine, "aab", [0.3, 0.3, 0.9])
    assert pick(dominant, "weighted").answer == "b"
    assert pick(dominant, "majority").answer == "a"
    assert pick(blank(engine, "ab", [0.5, 0.5]), "best").answer == "a"
    with pytest.raises(ValueError, match=r"a score is -1.0; a weighted vote needs"):
        pick(blank(engine, "ab", [0.5, -1.0]), "weighted")
    with pytest.raises(ValueError, match="choose is 'worst'"):
        pick(candidates, "worst")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top_k is 0"):
        BestOfN(verifier=is_right, top_k=0)


def test_steps_are_aggregated(engine: Engine) -> None:
    class Lengths:
        def score_steps(
            self,
            prompt: str,  # noqa: ARG002
            solutions: Sequence[Sequence[str]],
        ) -> list[list[float]]:
            return [[1 / len(step) for step in steps] for steps in solutions]

    strategy = BestOfN(n=4, verifier=Lengths(), aggregate="min", step="e")
    result = strategy.run(engine, "he", max_new_tokens=40, sampling=WARM)
    for candidate in result.candidates:
        assert candidate.score == min(candidate.step_scores)
    assert result.best.score == max(c.score or 0 for c in result.candidates)


def test_an_interrupted_verifier_leaves_the_samples(engine: Engine) -> None:
    def interrupted(_prompt: str, _text: str) -> float:
        raise KeyboardInterrupt

    result = BestOfN(n=3, verifier=interrupted).run(engine, "he", max_new_tokens=5, sampling=WARM)
    assert (result.stopped, len(result.candidates)) == ("interrupted", 3)
    assert result.best.score is None


def test_what_was_cut_off_is_not_scored(engine: Engine) -> None:
    stops = ["\x00", "a", "b", "c", "1", "2", "e", "!"]
    result = BestOfN(n=16, verifier=is_right).run(
        engine, "he", max_new_tokens=200, sampling=WARM, stop=stops, budget=Budget(tokens=150)
    )
    assert result.stopped == "tokens"
    assert result.best.is_whole
    assert {c.is_whole for c in result.candidates} == {True, False}
    assert all((c.score is None) != c.is_whole for c in result.candidates)


def test_a_verifier_that_fails_is_an_error(engine: Engine) -> None:
    strategy = BestOfN(n=2, verifier=lambda _prompt, _text: float("nan"))
    with pytest.raises(VerifierError, match="a score must be a number"):
        strategy.run(engine, "he", max_new_tokens=3, sampling=WARM)


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_one() -> None:
    from itertools import combinations

    for correct in range(6):
        draws = list(combinations(range(5), 3))
        share = sum(any(place < correct for place in draw) for draw in draws) / len(draws)
        assert pass_at_k(5, correct, 3) == pytest.approx(share)
    with pytest.raises(ValueError, match="k is 6"):
        pass_at_k(5, 1, 6)
