"""Adaptive: estimate a problem's difficulty from a few samples, then follow a policy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gpt2edge._checks import check_type
from gpt2edge.runtime.search.answers import Extract, extract_answer
from gpt2edge.runtime.search.arguments import check_arguments
from gpt2edge.runtime.search.budget import Candidate, SearchResult
from gpt2edge.runtime.search.candidates import SearchPrompt, candidates_of, whole_first
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.steps import StepEnd
from gpt2edge.runtime.search.strategies.best_of_n import BestOfN, pick
from gpt2edge.runtime.search.strategies.compute_policy import Allocation, Policy
from gpt2edge.runtime.search.strategies.step_beam import StepBeam
from gpt2edge.runtime.search.strategies.strategy import Strategy
from gpt2edge.runtime.search.verifiers.verifier import Aggregate, AnyVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive(Strategy):
    """Spend the computation that ``policy`` allots to the problem's difficulty.

    The method is that of Snell et al. 2024, section 3. The first samples, the policy's probe, are
    scored by the verifier, if there is one, or compared with each other. The probe samples stay in
    the candidate pool, together with further samples or the results of a search over steps.
    """

    policy: Policy = field(default_factory=lambda: Policy.default(16, verified=False))
    verifier: AnyVerifier | None = None
    aggregate: Aggregate = "last"
    step: StepEnd = "\n\n"
    answer: Extract = extract_answer

    def __post_init__(self) -> None:
        check_arguments(self)
        check_type("policy", self.policy, Policy, "a Policy")
        if self.verifier is None and self.policy.needs_verifier:
            raise ValueError("this policy needs a verifier: give one")

    def search(self, work: SearchSession, request: SearchPrompt) -> SearchResult:
        """Sample the probe, then follow the policy; ``candidates`` are those of both."""
        arms = [arm.n for arm in self.policy.arms if not arm.samples_steps]
        group = request.begin(work.engine, max([self.policy.probe, *arms]))
        candidates = self._sample(work, group[: self.policy.probe])
        choose: Any = "majority"
        if work.stopped == "done":
            arm = self.policy.arm(self.policy.easiness(candidates))
            choose = arm.choose if arm.needs_verifier else "majority"
            if arm.samples_steps:
                candidates += self._beam(arm).search(work, request).candidates
            elif more := group[self.policy.probe : arm.n]:
                candidates += self._sample(work, more)
        judged = [candidate for candidate in candidates if candidate.score is not None]
        return SearchResult(
            best=pick(whole_first(judged or candidates), choose),
            candidates=tuple(candidates),
            cost=work.cost,
            stopped=work.stopped,
        )

    def _sample(self, work: SearchSession, group: Sequence[Any]) -> list[Candidate]:
        with work:
            for _ in work.grow(group, keep=False):
                pass
        candidates = candidates_of(group, self.answer)
        if self.verifier is None:
            return candidates
        scorer = BestOfN(verifier=self.verifier, aggregate=self.aggregate, step=self.step)
        return scorer.score(work, candidates)

    def _beam(self, arm: Allocation) -> StepBeam:
        assert self.verifier is not None
        return StepBeam(
            verifier=self.verifier,
            n=arm.n,
            width=arm.width,
            diverse=arm.method == "dvts",
            choose=arm.choose,
            aggregate=self.aggregate,
            step=self.step,
            answer=self.answer,
        )
