"""Votes: ties, None, weights, and an early stop that changes nothing."""

import math
from dataclasses import replace

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.runtime.results import Completion, Timing
from gpt2edge.runtime.search.budget import Budget, Candidate, SearchResult
from gpt2edge.runtime.search.strategies.majority_vote import MajorityVote, is_decided, tally, winner

WARM = SamplingParams(temperature=0.9, top_k=40, seed=11)


def parity(text: str) -> str | None:
    """Random text as an answer: even, odd, or None for every fourth."""
    size = len(text.encode())
    return None if size % 4 == 3 else "even" if size % 2 == 0 else "odd"


def same(_text: str) -> str:
    return "same"


def test_ties_go_to_the_first_seen_and_none_is_no_vote() -> None:
    def count(*answers: str | None) -> str | None:
        return winner(tally((answer, 1.0) for answer in answers))

    assert count("a", "b", "b", "a") == "a"
    assert count("b", "a", "a", "b") == "b"
    assert count(None, None, None, "c") == "c"
    assert count(None, None) is None
    assert count() is None


def test_one_dominant_wrong_answer_wins_a_weighted_vote() -> None:
    ballots = [("right", 0.3), ("right", 0.3), ("wrong", 0.9), ("right", 0.2)]
    assert winner(tally(ballots)) == "wrong"
    assert winner(tally((answer, 1.0) for answer, _ in ballots)) == "right"


@pytest.mark.parametrize(
    ("votes", "remaining", "decided"),
    [
        ({"a": 3.0}, 2, True),
        ({"a": 3.0}, 3, False),
        ({"a": 3.0, "b": 1.0}, 1, True),
        ({"a": 3.0, "b": 2.0}, 1, False),
        ({"b": 2.0, "a": 5.0}, 2, True),
        ({}, 1, False),
    ],
)
def test_decided(votes: dict[str, float], remaining: int, decided: bool) -> None:
    assert is_decided(votes, remaining) is decided


def test_one_sample_is_plain_sampling(engine: Engine) -> None:
    plain = engine.generate("he", max_new_tokens=20, sampling=WARM)
    result = MajorityVote(n=1).run(engine, "he", max_new_tokens=20, sampling=WARM)
    assert result.best.completion.token_ids == plain.token_ids
    assert result.stopped == "done"


def test_votes_of_the_batch_that_generate_draws(engine: Engine) -> None:
    samples = engine.generate_batch(["he"], n=12, max_new_tokens=9, sampling=WARM)
    vote = MajorityVote(n=12, answer=parity, early_stop=False)
    result = vote.run(engine, "he", max_new_tokens=9, sampling=WARM)
    assert [c.completion.token_ids for c in result.candidates] == [s.token_ids for s in samples]
    answers = [parity(sample.text) for sample in samples]
    assert len(set(answers)) == 3
    assert result.best.answer == winner(tally((answer, 1.0) for answer in answers))
    assert result.best is result.candidates[answers.index(result.best.answer)]
    assert result.cost.prefilled_tokens == len(engine.encode("he"))


def test_probability_is_that_of_the_mean_token(engine: Engine) -> None:
    vote = MajorityVote(n=6, answer=parity, weight="probability")
    result = vote.run(engine, "he", max_new_tokens=9, sampling=WARM)
    votes = tally(
        (c.answer, math.exp(sum(c.completion.logprobs) / len(c.completion.logprobs)))
        for c in result.candidates
    )
    assert result.best.answer == winner(votes)
    assert all(0 < weight < 6 for weight in votes.values())
    with pytest.raises(ValueError, match="weight is 'length'"):
        MajorityVote(weight="length")  # type: ignore[arg-type]


def test_a_vote_weighs_the_mean_of_its_tokens_whatever_its_length() -> None:
    def candidate(*logprobs: float) -> Candidate:
        timing = Timing(load_s=0, prompt_tokens=1, completion_tokens=1, ttft_s=0, decode_s=0)
        done = Completion(
            prompt="", text="", token_ids=(), finish_reason="eos", timing=timing, logprobs=logprobs
        )
        return Candidate(completion=done, answer="a")

    ballots = MajorityVote()._ballots([candidate(-1.0), candidate(-1.0, -3.0, -2.0), candidate()])
    assert ballots == [("a", math.exp(-1)), ("a", math.exp(-2)), ("a", 1)]


def test_an_early_stop_saves_tokens_and_not_the_outcome(engine: Engine) -> None:
    def run(early_stop: bool) -> SearchResult:
        stops = ["\x00", "a", "b", "c", "1", "2", "e", "!"]
        vote = MajorityVote(n=16, answer=same, early_stop=early_stop)
        return vote.run(engine, "he", max_new_tokens=200, sampling=WARM, stop=stops)

    full, early = run(False), run(True)
    assert full.best.answer == early.best.answer == "same"
    assert early.stopped == "decided"
    assert early.cost.generated_tokens < full.cost.generated_tokens
    assert 9 <= sum(c.is_whole for c in early.candidates) < 16


@pytest.mark.parametrize("tokens", [1, 5, 30])
def test_a_budget_returns_the_best_so_far(engine: Engine, tokens: int) -> None:
    budget = Budget(tokens=tokens)
    result = MajorityVote(n=8).run(engine, "he", max_new_tokens=20, sampling=WARM, budget=budget)
    assert result.stopped == "tokens"
    assert result.cost.generated_tokens <= tokens
    assert result.best.completion.finish_reason == "cancelled"
    assert len(result.candidates) == min(8, tokens)


def test_sixteen_samples_cost_the_calls_of_one(engine: Engine) -> None:
    """Counted, not timed: one prefill, and a decode call for each token of the longest sample."""
    prompt = "hello hello hello"
    vote = MajorityVote(n=16, early_stop=False)
    result = vote.run(engine, prompt, sampling=WARM, max_new_tokens=12)
    longest = max(len(c.completion.token_ids) for c in result.candidates)
    assert result.cost.prefilled_tokens == len(engine.encode(prompt))
    assert result.cost.forward_calls == 1 + longest - 1
    apart = [
        MajorityVote(n=1).run(engine, prompt, sampling=replace(WARM, seed=seed), max_new_tokens=12)
        for seed in range(16)
    ]
    assert sum(one.cost.forward_calls for one in apart) >= 12 * result.cost.forward_calls
    assert sum(one.cost.prefilled_tokens for one in apart) == 16 * result.cost.prefilled_tokens
