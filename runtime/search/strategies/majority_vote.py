"""Majority vote: the most frequent answer wins (self-consistency, Wang et al. 2022)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from gpt2edge._checks import check_one_of
from gpt2edge.runtime.search.answers import Extract, extract_answer
from gpt2edge.runtime.search.arguments import check_arguments
from gpt2edge.runtime.search.budget import Candidate, SearchResult
from gpt2edge.runtime.search.candidates import SearchPrompt, candidates_of, whole_first
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.strategies.strategy import Strategy

Weight: TypeAlias = Literal["count", "probability"]


def tally(ballots: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    """Sum the weights of each answer, in the order in which the answers were first seen.

    An answer of None is no vote.
    """
    weights: dict[str, list[float]] = {}
    for answer, weight in ballots:
        if answer is not None:
            weights.setdefault(answer, []).append(weight)
    return {answer: math.fsum(summands) for answer, summands in weights.items()}


def winner(votes: dict[str, float]) -> str | None:
    """Return the answer of the largest weight, the first seen of equals; None without a vote."""
    return max(votes, key=votes.__getitem__) if votes else None


def is_decided(votes: dict[str, float], remaining: int) -> bool:
    """Return whether ``remaining`` more votes of weight 1 or less cannot change the winner."""
    first, second = sorted([0.0, 0.0, *votes.values()])[:-3:-1]
    return first > second + remaining


@dataclass(frozen=True, slots=True, kw_only=True)
class MajorityVote(Strategy):
    """``n`` samples, one vote each: argmax over answers a of sum_i w_i [a_i = a].

    A vote weighs 1, or with ``weight`` "probability" exp of the mean log-probability of its tokens
    (Wang et al. 2022, table 1, "weighted sum, normalized"). With ``early_stop``, sampling stops
    once the outcome cannot change. For votes weighted by a verifier see ``BestOfN``.
    """

    n: int = 8
    answer: Extract = extract_answer
    weight: Weight = "count"
    early_stop: bool = True

    def __post_init__(self) -> None:
        check_arguments(self, n=1)
        check_one_of("weight", self.weight, get_args(Weight))

    def search(self, work: SearchSession, request: SearchPrompt) -> SearchResult:
        """Sample and vote; ``best`` is the winning answer's first, or most probable, candidate."""
        logprobs = 0 if self.weight == "probability" else None
        group = request.begin(work.engine, self.n, logprobs=logprobs)
        with work:
            ballots: list[tuple[str | None, float]] = []
            for generation in work.grow(group, keep=False):
                ballots += self._ballots(candidates_of([generation], self.answer))
                remaining = self.n - len(ballots)
                if self.early_stop and remaining and is_decided(tally(ballots), remaining):
                    work.stopped = "decided"
                    break
        candidates = candidates_of(group, self.answer)
        return SearchResult(
            best=self._best(whole_first(candidates)),
            candidates=tuple(candidates),
            cost=work.cost,
            stopped=work.stopped,
        )

    def _best(self, candidates: Sequence[Candidate]) -> Candidate:
        answer = winner(tally(self._ballots(candidates)))
        return max((c for c in candidates if c.answer == answer), key=self._weight)

    def _ballots(self, candidates: Sequence[Candidate]) -> list[tuple[str | None, float]]:
        return [(candidate.answer, self._weight(candidate)) for candidate in candidates]

    def _weight(self, candidate: Candidate) -> float:
        logprobs = candidate.completion.logprobs
        return math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else 1.0
