"""From the options of ``gpt2edge solve`` to a search and its outcome."""

from dataclasses import asdict, dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt2edge.cli.options.common import Target
from gpt2edge.cli.options.sampling import SamplingFlags
from gpt2edge.cli.options.settings import Settings

if TYPE_CHECKING:
    from gpt2edge.runtime.decoding.request import Prompt
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.search import (
        Budget,
        Candidate,
        Cost,
        Policy,
        SearchPrompt,
        Strategy,
        TreeResult,
    )
    from gpt2edge.runtime.search.verifiers.verifier import AnyVerifier

METHODS: Final = ("greedy", "majority", "best-of-n", "beam", "dvts", "adaptive", "tot", "mcts")
UNVERIFIED: Final = ("greedy", "majority")
TREES: Final = ("tot", "mcts")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFlags:
    """The search options given."""

    method: str
    n: int
    width: int
    verifier: str | None
    aggregate: str | None
    policy: Path | None
    choose: str
    step: str
    lookahead: int
    budget_tokens: int | None
    budget_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One problem's result, by any method."""

    prompt: "Prompt"
    text: str
    answer: str | None
    score: float | None
    candidates: "tuple[Candidate, ...]"
    cost: "Cost"
    stopped: str
    tree: "TreeResult | None" = None

    def report(self) -> dict[str, Any]:
        """Build the object that ``--json`` prints."""
        names = ("prompt", "text", "answer", "score", "stopped")
        values = {name: getattr(self, name) for name in names}
        candidates = [_fields(candidate) for candidate in self.candidates]
        return {**values, "candidates": candidates, "cost": asdict(self.cost)}


def _fields(candidate: "Candidate") -> dict[str, Any]:
    completion = candidate.completion
    return {
        "text": completion.text,
        "answer": candidate.answer,
        "score": candidate.score,
        "step_scores": candidate.step_scores,
        "token_ids": completion.token_ids,
        "finish_reason": completion.finish_reason,
        "seed": completion.seed,
    }


class Solver:
    """Runs one method on one engine."""

    def __init__(
        self,
        flags: SearchFlags,
        engine: "Engine",
        settings: Settings,
        verifier: "AnyVerifier | None",
        sampling: SamplingFlags,
        *,
        early_stop: bool,
    ) -> None:
        self._early_stop = early_stop
        self._flags = flags
        self._engine = engine
        self._settings = settings
        self._verifier = verifier
        given = settings.sampling
        if flags.method == "greedy":
            given = replace(given, temperature=0.0)
        elif given.is_greedy and sampling.temperature is not None:
            raise ValueError("greedy candidates would all be the same: pass --temperature 0.8")
        self._sampling = None if given.is_greedy and flags.method != "greedy" else given

    def __call__(self, prompt: "Prompt") -> Outcome:
        """Solve one problem."""
        from gpt2edge.runtime.search import Budget, SearchPrompt

        flags = self._flags
        budget = Budget(tokens=flags.budget_tokens, seconds=flags.budget_seconds)
        if flags.method in TREES:
            request = SearchPrompt(
                prompt=prompt,
                sampling=self._sampling,
                max_new_tokens=self._settings.max_new_tokens,
                stop=self._settings.stop,
            )
            return self._search_tree(request, budget)
        result = self._strategy().run(
            self._engine,
            prompt,
            sampling=self._sampling,
            max_new_tokens=self._settings.max_new_tokens,
            stop=self._settings.stop,
            budget=budget,
        )
        best = result.best
        return Outcome(
            prompt=prompt,
            text=best.text,
            answer=best.answer,
            score=best.score,
            candidates=result.candidates,
            cost=result.cost,
            stopped=result.stopped,
        )

    def _strategy(self) -> "Strategy":
        from gpt2edge.runtime.search import Adaptive, BestOfN, MajorityVote, StepBeam

        flags = self._flags
        if flags.method in UNVERIFIED:
            n = 1 if flags.method == "greedy" else flags.n
            return MajorityVote(n=n, early_stop=self._early_stop)
        judged: dict[str, Any] = {
            "verifier": self._verifier,
            "aggregate": flags.aggregate or "last",
            "step": flags.step,
        }
        if flags.method == "adaptive":
            return Adaptive(policy=self._policy(), **judged)
        judged["choose"] = flags.choose
        if flags.method == "best-of-n":
            return BestOfN(n=flags.n, **judged)
        return StepBeam(
            n=flags.n,
            width=min(flags.width, flags.n),
            diverse=flags.method == "dvts",
            lookahead=flags.lookahead,
            **judged,
        )

    def _policy(self) -> "Policy":
        from gpt2edge.runtime.search import Policy

        if self._flags.policy is not None:
            return Policy.load(self._flags.policy)
        return Policy.default(self._flags.n, verified=self._verifier is not None)

    def _search_tree(self, request: "SearchPrompt", budget: "Budget") -> Outcome:
        from gpt2edge.runtime.search import MCTS, SampledSteps, TreeOfThoughts, extract_answer

        flags = self._flags
        assert self._verifier is not None
        task = SampledSteps(
            engine=self._engine,
            request=request,
            verifier=self._verifier,
            branches=flags.width,
            step=flags.step,
            aggregate=flags.aggregate or "last",  # type: ignore[arg-type]
        )
        bfs, mcts = TreeOfThoughts(breadth=flags.n), MCTS(simulations=flags.n)
        method = bfs if flags.method == "tot" else mcts
        result = method.run(self._engine, task, budget=budget)
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


def open_verifier(flags: SearchFlags, engine: "Engine", target: Target) -> "AnyVerifier | None":
    """Open the verifier that ``--verifier`` names; None if none is given."""
    from gpt2edge.runtime.search import (
        GenerativeVerifier,
        LikelihoodVerifier,
        OutcomeModel,
        ProcessModel,
    )

    spec = flags.verifier
    if spec is None:
        return None
    if spec == "likelihood":
        return LikelihoodVerifier(engine)
    if spec == "yes":
        return GenerativeVerifier(engine)
    path, colon, name = spec.rpartition(":")
    if colon and path.endswith(".py"):
        verifier: AnyVerifier = _function(Path(path), name)
        return verifier
    model = replace(target, model=Path(spec)).load()
    whole = flags.method == "best-of-n" and flags.aggregate is None
    return OutcomeModel(model) if whole else ProcessModel(model)


def _function(path: Path, name: str) -> Any:
    """Load a function, or an object with ``score`` or ``score_steps``, from a Python file."""
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"no Python file at {str(path)!r} to take the verifier from")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # anything that a user's file may raise
        raise ValueError(f"{path} failed with {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        raise ValueError(f"{path} has no {name!r} to be the verifier")
    return getattr(module, name)
