"""A search by the name of its method: what a command, a server or a batch is asked for in words."""

from dataclasses import dataclass, replace
from typing import Final

from gpt2edge._checks import argument_error, check_int, check_one_of, check_optional
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.search.answers import extract_answer
from gpt2edge.runtime.search.arguments import check_arguments
from gpt2edge.runtime.search.budget import Budget, Candidate, Cost, StopReason
from gpt2edge.runtime.search.candidates import SearchPrompt
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.strategies.adaptive import Adaptive
from gpt2edge.runtime.search.strategies.best_of_n import BestOfN, Choice
from gpt2edge.runtime.search.strategies.compute_policy import Policy
from gpt2edge.runtime.search.strategies.majority_vote import MajorityVote
from gpt2edge.runtime.search.strategies.step_beam import StepBeam
from gpt2edge.runtime.search.strategies.strategy import Strategy
from gpt2edge.runtime.search.trees.mcts import MCTS
from gpt2edge.runtime.search.trees.task import SampledSteps
from gpt2edge.runtime.search.trees.tree import TreeResult
from gpt2edge.runtime.search.trees.tree_of_thoughts import TreeOfThoughts
from gpt2edge.runtime.search.verifiers.verifier import Aggregate, AnyVerifier

UNVERIFIED: Final = ("greedy", "majority")
"""Methods that use no verifier."""

TREES: Final = ("tot", "mcts")
"""Methods that search a tree, which their outcome holds."""

METHODS: Final = (*UNVERIFIED, "best-of-n", "beam", "dvts", "adaptive", *TREES)
"""The methods' names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One problem's result, of whatever method; ``tree`` is that of a method in ``TREES``."""

    prompt: Prompt
    text: str
    answer: str | None
    score: float | None
    candidates: tuple[Candidate, ...]
    cost: Cost
    stopped: StopReason
    tree: TreeResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSearch:
    """A method by its name, with the options of all methods; each reads those that it has.

    ``n`` counts candidates, for "adaptive" at most so many, for "tot" states kept at each level,
    for "mcts" simulations. ``width`` counts the samples of each next step. ``policy`` None is the
    default one of "adaptive". ``early_stop`` ends a vote that is decided. All methods but those in
    ``UNVERIFIED`` and "adaptive" need a ``verifier``.
    """

    method: str = "majority"
    n: int = 8
    width: int = 4
    verifier: AnyVerifier | None = None
    aggregate: Aggregate = "last"
    policy: Policy | None = None
    choose: Choice = "best"
    step: str = "\n\n"
    lookahead: int = 0
    early_stop: bool = True

    def __post_init__(self) -> None:
        check_one_of("method", self.method, METHODS)
        check_arguments(self, n=1, width=1)
        check_int("lookahead", self.lookahead, 0, 2**31)
        check_optional("policy", self.policy, Policy, "a Policy")
        if self.verifier is None and self.method not in (*UNVERIFIED, "adaptive"):
            raise argument_error("verifier", None, f"a verifier where method is {self.method!r}")

    def run(
        self, engine: Engine, request: SearchPrompt, *, budget: Budget | None = None
    ) -> Outcome:
        """Search for one completion of ``request``, within ``budget``."""
        if self.method == "greedy":
            sampling = request.sampling or engine.defaults.sampling
            request = replace(request, sampling=replace(sampling, temperature=0.0))
        if self.method in TREES:
            return self._search_tree(engine, request, budget)
        result = self._strategy().search(SearchSession(engine, budget), request)
        best = result.best
        return Outcome(
            prompt=request.prompt,
            text=best.text,
            answer=best.answer,
            score=best.score,
            candidates=result.candidates,
            cost=result.cost,
            stopped=result.stopped,
        )

    def _strategy(self) -> Strategy:
        if self.method in UNVERIFIED:
            n = 1 if self.method == "greedy" else self.n
            return MajorityVote(n=n, early_stop=self.early_stop)
        if self.method == "adaptive":
            policy = self.policy or Policy.default(self.n, verified=self.verifier is not None)
            return Adaptive(
                policy=policy, verifier=self.verifier, aggregate=self.aggregate, step=self.step
            )
        assert self.verifier is not None
        if self.method == "best-of-n":
            return BestOfN(
                n=self.n,
                verifier=self.verifier,
                aggregate=self.aggregate,
                step=self.step,
                choose=self.choose,
            )
        return StepBeam(
            n=self.n,
            width=min(self.width, self.n),
            diverse=self.method == "dvts",
            lookahead=self.lookahead,
            verifier=self.verifier,
            aggregate=self.aggregate,
            step=self.step,
            choose=self.choose,
        )

    def _search_tree(self, engine: Engine, request: SearchPrompt, budget: Budget | None) -> Outcome:
        assert self.verifier is not None
        task = SampledSteps(
            engine=engine,
            request=request,
            verifier=self.verifier,
            branches=self.width,
            step=self.step,
            aggregate=self.aggregate,
        )
        bfs, mcts = TreeOfThoughts(breadth=self.n), MCTS(simulations=self.n)
        search = bfs if self.method == "tot" else mcts
        result = search.run(engine, task, budget=budget)
        text = task.text(result.best.state)
        return Outcome(
            prompt=request.prompt,
            text=text,
            answer=extract_answer(text),
            score=result.best.value,
            candidates=(),
            cost=result.cost,
            stopped=result.stopped,
            tree=result,
        )
