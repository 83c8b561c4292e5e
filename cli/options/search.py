"""From the options of ``gpt2edge solve`` to a search and its outcome."""

from dataclasses import asdict, dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpt2edge.cli.options.common import Target
from gpt2edge.cli.options.settings import Settings

if TYPE_CHECKING:
    from gpt2edge.runtime.decoding.request import Prompt
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.sampling.params import SamplingParams
    from gpt2edge.runtime.search import Candidate
    from gpt2edge.runtime.search.methods import Outcome
    from gpt2edge.runtime.search.verifiers.verifier import AnyVerifier

METHODS: Final = ("greedy", "majority", "best-of-n", "beam", "dvts", "adaptive", "tot", "mcts")
UNVERIFIED: Final = ("greedy", "majority")
TREES: Final = ("tot", "mcts")
"""As runtime/search/methods.py has them, which a start for ``--help`` need not load."""


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

    @property
    def votes(self) -> bool:
        """Tell whether the answers are counted, and not the candidates scored."""
        counted = self.choose != "best" if self.verifier else self.method != "greedy"
        return counted and self.method not in TREES


class Solver:
    """Runs the search that the options name on one engine."""

    def __init__(
        self,
        flags: SearchFlags,
        engine: "Engine",
        settings: Settings,
        verifier: "AnyVerifier | None",
        *,
        early_stop: bool,
    ) -> None:
        from gpt2edge.runtime.search import Budget, Policy
        from gpt2edge.runtime.search.methods import NamedSearch

        aggregate: Any = flags.aggregate or "last"
        choose: Any = flags.choose
        self._engine = engine
        self._settings = settings
        self._budget = Budget(tokens=flags.budget_tokens, seconds=flags.budget_seconds)
        self._search = NamedSearch(
            method=flags.method,
            n=flags.n,
            width=flags.width,
            verifier=verifier,
            aggregate=aggregate,
            policy=None if flags.policy is None else Policy.load(flags.policy),
            choose=choose,
            step=flags.step,
            lookahead=flags.lookahead,
            early_stop=early_stop,
        )
        given: SamplingParams | None = settings.sampling
        if flags.method != "greedy" and settings.sampling.is_greedy:
            if settings.origins["temperature"] == "flag":
                raise ValueError("greedy candidates would all be the same: pass --temperature 0.8")
            given = None
        self._sampling = given

    def __call__(self, prompt: "Prompt") -> "Outcome":
        """Solve one problem."""
        from gpt2edge.runtime.search import SearchPrompt

        request = SearchPrompt(
            prompt=prompt,
            sampling=self._sampling,
            max_new_tokens=self._settings.max_new_tokens,
            stop=self._settings.stop,
        )
        return self._search.run(self._engine, request, budget=self._budget)


def outcome_report(outcome: "Outcome") -> dict[str, Any]:
    """Build the object that ``--json`` prints."""
    names = ("prompt", "text", "answer", "score", "stopped")
    values = {name: getattr(outcome, name) for name in names}
    candidates = [_fields(candidate) for candidate in outcome.candidates]
    return {**values, "candidates": candidates, "cost": asdict(outcome.cost)}


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
