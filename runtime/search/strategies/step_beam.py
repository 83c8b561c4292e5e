"""Step beam search: beams or diverse subtrees (DVTS) guided by a verifier.

Snell et al. 2024, "Scaling LLM test-time compute optimally", section 5.1 (beam search,
lookahead), and Beeching et al. 2024, "Scaling test-time compute with open models" (DVTS).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt2edge._checks import check_float
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.answers import Extract, extract_answer
from gpt2edge.runtime.search.arguments import check_arguments, check_verifier
from gpt2edge.runtime.search.budget import SearchResult
from gpt2edge.runtime.search.candidates import SearchPrompt, default_sampling, whole_first
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.steps import StepEnd
from gpt2edge.runtime.search.strategies.best_of_n import Choice, pick
from gpt2edge.runtime.search.strategies.step_path import StepPath, advance, score_paths
from gpt2edge.runtime.search.strategies.strategy import Strategy
from gpt2edge.runtime.search.verifiers.verifier import Aggregate, AnyVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBeam(Strategy):
    """Beam search over steps: of ``n`` paths the best n / width continue, with width samples each.

    A path that ends leaves the beam and is a candidate; the search ends with ``n`` candidates,
    with no path left to grow or after ``max_steps``. With ``diverse`` it is DVTS: n / width
    independent subtrees, each of which keeps the best of its ``width`` samples and returns all
    samples of its last step. With ``lookahead`` k, a step is scored after k more greedy steps,
    which are then discarded. A path whose newest step scores below ``prune_below`` is dropped; if
    no path is left, the step is sampled again.
    """

    verifier: AnyVerifier
    n: int = 16
    width: int = 4
    diverse: bool = False
    lookahead: int = 0
    prune_below: float | None = None
    max_steps: int = 40
    step: StepEnd = "\n\n"
    aggregate: Aggregate = "last"
    choose: Choice = "best"
    answer: Extract = extract_answer

    def __post_init__(self) -> None:
        check_arguments(self, n=1, width=1, lookahead=0, max_steps=1)
        check_verifier("verifier", self.verifier)
        if self.prune_below is not None:
            check_float("prune_below", self.prune_below, -math.inf, math.inf)
        if self.n % self.width:
            n, width = Argument("n"), Argument("width")
            raise ArgumentError(
                *(n, f" is {self.n} and ", width, f" {self.width}; ", n),
                *(" must be a multiple of ", width),
            )

    def search(self, work: SearchSession, request: SearchPrompt) -> SearchResult:
        """Search; ``candidates`` are the paths that ended, else the unfinished ones at the stop."""
        roots = [StepPath(item, (i,)) for i, item in enumerate(request.begin(work.engine, self.n))]
        size = self.width if self.diverse else self.n
        pools = [_Pool(self, roots[start : start + size]) for start in range(0, self.n, size)]
        with work:
            for _ in range(self.max_steps):
                growing = [path for pool in pools for path in pool.growing]
                if not growing:
                    break
                advance(work, growing, self.step)
                self._score(work, growing, request.sampling or default_sampling(work.engine))
                for pool in pools:
                    if pool.growing:
                        pool.select()
        paths = [path for pool in pools for path in pool.results()]
        candidates = [path.candidate(self.answer) for path in paths]
        return SearchResult(
            best=pick(whole_first(candidates), self.choose),
            candidates=tuple(candidates),
            cost=work.cost,
            stopped=work.stopped,
        )

    def _score(
        self, work: SearchSession, paths: Sequence[StepPath], sampling: SamplingParams
    ) -> None:
        """Score paths; an unfinished one by its text after ``lookahead`` more greedy steps."""
        if not self.lookahead:
            score_paths(work, paths, self.verifier, self.aggregate)
            return
        greedy = replace(sampling, temperature=0.0)
        ahead = [path if path.is_finished else path.rollout(greedy) for path in paths]
        rolled = [path for path in ahead if not path.is_finished]
        advance(work, rolled, self.step, steps=self.lookahead, keep=False)
        score_paths(work, ahead, self.verifier, self.aggregate)
        for path, scored in zip(paths, ahead, strict=True):
            path.scores = scored.scores[: max(1, len(path.steps(work)))]
            path.value = scored.value


class _Pool:
    """Paths that compete with each other: the whole beam, or one subtree of DVTS."""

    def __init__(self, beam: StepBeam, roots: Sequence[StepPath]) -> None:
        self._beam = beam
        self._slots = len(roots)
        self._keep = 1 if beam.diverse else beam.n // beam.width
        self._parents: list[StepPath] = []
        self._origins = [root.branch(0) for root in roots]
        self._ended: list[StepPath] = []
        self._attempt = 0
        self.growing = list(roots)

    def select(self) -> None:
        """Set aside the paths that ended with this step, keep the best others and branch them."""
        sound = [path for path in self.growing if not self._is_pruned(path)]
        if not sound:
            self._retry()
            return
        self._attempt = 0
        if self._beam.diverse:
            best = max(sound, key=_value)
            if best.is_finished:
                self._ended, self.growing = self.growing, []
                return
            self._parents = [best]
        else:
            self._ended += [path for path in sound if path.is_finished]
            going = [path for path in sound if not path.is_finished]
            if len(self._ended) >= self._slots:
                going = []
            self._parents = sorted(going, key=_value, reverse=True)[: self._keep]
        self.growing = self._branches()

    def results(self) -> list[StepPath]:
        """Return the ended paths, the best ones if too many; without any, the unfinished paths."""
        if self._beam.diverse or len(self._ended) <= self._slots:
            return self._ended or self.growing
        best = sorted(self._ended, key=_value, reverse=True)[: self._slots]
        return [path for path in self._ended if path in best]

    def _branches(self) -> list[StepPath]:
        """Return branches of the kept paths that fill the slots; the best get the remainder."""
        parents = self._parents
        if not parents:
            return []
        share, left = divmod(self._slots, len(parents))
        return [
            parent.branch(child, self._attempt)
            for rank, parent in enumerate(parents)
            for child in range(share + (rank < left))
        ]

    def _retry(self) -> None:
        """Sample the step again from its beginning."""
        self._attempt += 1
        if self._parents:
            self.growing = self._branches()
        else:
            self.growing = [origin.branch(0, self._attempt) for origin in self._origins]

    def _is_pruned(self, path: StepPath) -> bool:
        limit = self._beam.prune_below
        return limit is not None and path.scores[-1] < limit


def _value(path: StepPath) -> float:
    assert path.value is not None
    return path.value
