"""Best of N: the verifier chooses among samples (Cobbe et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gpt2edge._checks import check_int, check_one_of
from gpt2edge.runtime.search.answers import Extract, extract_answer
from gpt2edge.runtime.search.arguments import CHOICES, check_arguments, check_verifier
from gpt2edge.runtime.search.budget import Candidate, SearchResult
from gpt2edge.runtime.search.candidates import CandidateScorer, SearchPrompt, candidates_of, highest
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.steps import StepEnd
from gpt2edge.runtime.search.strategies.majority_vote import tally, winner
from gpt2edge.runtime.search.strategies.strategy import Strategy
from gpt2edge.runtime.search.verifiers.verifier import Aggregate, AnyVerifier

Choice: TypeAlias = Literal["best", "weighted", "majority"]
"""Which candidate wins: the one of the highest score, of the answer with the largest sum of
scores, or of the most frequent answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN(Strategy):
    """``n`` samples, among which the verifier's scores r_i choose.

    ``choose`` "best" is argmax_i r_i; "weighted" is argmax_a sum_{i: a_i = a} r_i (Li et
    al. 2023, "verifier voting"); "majority" is a vote among the ``top_k`` of the highest scores
    (Cobbe et al. 2021, section 4.3). With ``top_k`` None all vote. The scores of a step verifier
    are combined by ``aggregate``; steps end at ``step``.
    """

    verifier: AnyVerifier
    n: int = 8
    choose: Choice = "best"
    top_k: int | None = None
    aggregate: Aggregate = "last"
    step: StepEnd = "\n\n"
    answer: Extract = extract_answer

    def __post_init__(self) -> None:
        check_arguments(self, n=1)
        check_verifier("verifier", self.verifier)
        if self.top_k is not None:
            check_int("top_k", self.top_k, 1, 2**31)

    def search(self, work: SearchSession, request: SearchPrompt) -> SearchResult:
        """Sample, score and choose among the complete candidates; among all if none is scored."""
        group = request.begin(work.engine, self.n)
        with work:
            for _ in work.grow(group, keep=False):
                pass
        candidates = self.score(work, candidates_of(group, self.answer))
        judged = [candidate for candidate in candidates if candidate.score is not None]
        return SearchResult(
            best=pick(judged or candidates, self.choose, self.top_k),
            candidates=tuple(candidates),
            cost=work.cost,
            stopped=work.stopped,
        )

    def score(self, work: SearchSession, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates, the complete ones with scores unless Ctrl-C was pressed."""
        complete = [candidate for candidate in candidates if candidate.is_whole]
        scorer = CandidateScorer(self.verifier, self.aggregate, self.step)
        scored: list[Candidate] = []
        with work, work.verifying(self.verifier, len(complete)):
            scored = scorer(candidates[0].completion.prompt, complete)
        remaining = iter(scored)
        return [next(remaining, c) if c.is_whole else c for c in candidates]


def pick(candidates: Sequence[Candidate], choose: Choice, top_k: int | None = None) -> Candidate:
    """Return the candidate that wins by ``choose`` among the ``top_k`` of the highest scores.

    For an answer, its candidate of the highest score is returned. Raises ValueError for a weighted
    vote with a score below 0, where many votes would count less than one.
    """
    if choose == "best":
        return highest(candidates)
    check_one_of("choose", choose, CHOICES)
    ranked = sorted(candidates, key=lambda c: -(c.score or 0.0))[:top_k]
    voters = [candidate for candidate in candidates if any(c is candidate for c in ranked)]
    lowest = min(candidate.score or 0.0 for candidate in voters)
    if choose == "weighted" and lowest < 0:
        raise ValueError(
            f"a score is {lowest}; a weighted vote needs scores of 0 or more, such as probabilities"
        )
    weigh = choose == "weighted"
    answer = winner(tally((c.answer, (c.score or 0.0) if weigh else 1.0) for c in voters))
    return highest([candidate for candidate in voters if candidate.answer == answer])


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Estimate, without bias, the probability that at least one of ``k`` samples is right.

    1 - C(samples - correct, k) / C(samples, k), as a product (Chen et al. 2021, section 2.1).
    """
    check_int("samples", samples, 1, 2**31)
    check_int("k", k, 1, samples)
    check_int("correct", correct, 0, samples)
    wrong = 1.0
    for count in range(samples - correct + 1, samples + 1):
        wrong *= max(0.0, 1 - k / count)
    return 1 - wrong
