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
"""Which candidate wins: that of the highest score, that whose answer has the largest sum of
scores, or that whose answer is the most frequent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN(Strategy):
    """``n`` samples, of which the verifier chooses.

    By ``choose`` "best" it is argmax_i r_i; by "weighted" argmax_a sum_{i: a_i = a} r_i (Li et
    al. 2023, "verifier voting"); by "majority" a vote among the ``top_k`` of the highest scores
    (Cobbe et al. 2021, section 4.3). ``top_k`` None lets all vote. A step verifier's scores
    become one by ``aggregate``, with steps that end by ``step``.
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
        """Sample, score, choose. Those cut off by the budget are scored only among themselves."""
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
        """The candidates, those with scores that are whole, unless Ctrl-C came before."""
        complete = [candidate for candidate in candidates if candidate.is_whole]
        judge = CandidateScorer(self.verifier, self.aggregate, self.step)
        judged: list[Candidate] = []
        with work, work.verifying(self.verifier, len(complete)):
            judged = judge(candidates[0].completion.prompt, complete)
        scored = iter(judged)
        return [next(scored, c) if c.is_whole else c for c in candidates]


def pick(candidates: Sequence[Candidate], choose: Choice, top_k: int | None = None) -> Candidate:
    """The candidate that wins by ``choose`` among the ``top_k`` of the highest scores.

    Of an answer's candidates it is the one of the highest score. Raises ValueError where a
    weighted vote meets a score below 0, which would make many votes worse than one.
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
    """Chance that one of ``k`` samples is right, estimated from more of them without bias.

    1 - C(samples - correct, k) / C(samples, k), as a product (Chen et al. 2021, section 2.1).
    """
    check_int("samples", samples, 1, 2**31)
    check_int("k", k, 1, samples)
    check_int("correct", correct, 0, samples)
    wrong = 1.0
    for place in range(samples - correct + 1, samples + 1):
        wrong *= max(0.0, 1 - k / place)
    return 1 - wrong
