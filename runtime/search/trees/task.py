"""Tasks for tree search: what the next thoughts are, and how good a state is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from gpt2edge._checks import argument_error, check_type
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.search.arguments import check_arguments, check_verifier
from gpt2edge.runtime.search.candidates import SearchPrompt
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.steps import StepEnd
from gpt2edge.runtime.search.strategies.step_path import StepPath, advance, score_paths
from gpt2edge.runtime.search.trees.tree import Tree
from gpt2edge.runtime.search.verifiers.verifier import (
    Aggregate,
    AnyVerifier,
)

END: Final = "\x04"
"""Ends the state of a text that has come to its own end, which tells it from one that goes on."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A proposal: the ``state`` that it leads to, its own ``text``, and its ``prior``."""

    state: str
    text: str
    prior: float = 1.0


class Task(Protocol):
    """What a tree search needs to know. A state is a text that the task itself can read.

    States come in batches, so that a model can grow or score them together. ``work`` is the
    model within the search's budget; a task may do without it.
    """

    @property
    def root(self) -> str:
        """The state in which the search begins."""
        ...

    def is_terminal(self, state: str) -> bool:
        """Whether nothing follows."""
        ...

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:
        """The next thoughts of each state, none at a dead end. Priors add up to 1 over siblings."""
        ...

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """How good each state is; for Monte Carlo tree search a number in [0, 1]."""
        ...


@dataclass(slots=True, kw_only=True)
class SampledSteps:
    """A text that grows by sampled steps, each of which is a thought; the verifier values them.

    The thoughts of a state are up to ``branches`` samples of its next step, equal ones joined.
    The prior is the policy's: the probability of the step's tokens, over that of all siblings.
    The state is the text so far; its cache is forked, never computed again.
    """

    engine: Engine
    request: SearchPrompt
    verifier: AnyVerifier
    branches: int = 4
    step: StepEnd = "\n\n"
    aggregate: Aggregate = "last"
    _paths: dict[str, StepPath] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("engine", self.engine, Engine, "an Engine, such as load returns")
        check_type("request", self.request, SearchPrompt, "a SearchPrompt")
        check_arguments(self, branches=1)
        check_verifier("verifier", self.verifier)
        (generation,) = self.request.begin(self.engine, 1, logprobs=0)
        self._paths[""] = StepPath(generation, (0,))

    @property
    def root(self) -> str:
        """The empty text."""
        return ""

    def is_terminal(self, state: str) -> bool:
        """Whether the text has come to its own end."""
        return state.endswith(END)

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:
        """Samples of each state's next step."""
        families = [self._family(state) for state in states]
        advance(work, [path for family in families for path in family], self.step)
        return [
            self._thoughts(state, family, work)
            for state, family in zip(states, families, strict=True)
        ]

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """The verifier's score of each text, aggregated over its steps."""
        paths = [self._paths[state] for state in states]
        begun = [path for path in paths if path.generation.token_ids]
        score_paths(work, begun, self.verifier, self.aggregate)
        return [path.value or 0.0 for path in paths]

    def text(self, state: str) -> str:
        """The text of a state."""
        return state.removesuffix(END)

    def _family(self, state: str) -> list[StepPath]:
        """Children of a state that draw from streams of their own."""
        parent = self._paths[state]
        if state:
            return [parent.branch(child) for child in range(self.branches)]
        roots = [StepPath(parent.generation.fork((at,)), (at,)) for at in range(self.branches)]
        return [parent.branch(0), *roots[1:]]

    def _thoughts(
        self, state: str, family: Sequence[StepPath], work: SearchSession
    ) -> list[Thought]:
        found: dict[str, tuple[str, float]] = {}
        before = len(self._paths[state].generation.token_ids)
        for path in family:
            steps = path.steps(work)
            text = "".join(steps)
            after = text + END if path.is_finished else text
            if after not in found:
                self._paths.setdefault(after, path)
                logprob = math.fsum(path.generation.logprobs[before:])
                found[after] = (text[len(state) :], logprob)
        top = max(logprob for _, logprob in found.values())
        weights = {key: math.exp(logprob - top) for key, (_, logprob) in found.items()}
        mass = sum(weights.values())
        return [Thought(key, found[key][0], weight / mass) for key, weight in weights.items()]


def tree_of(task: Task) -> Tree:
    """A tree of the task's root alone. Raises ArgumentError for what is no task."""
    methods = ("is_terminal", "propose", "evaluate")
    if isinstance(task, type) or not all(callable(getattr(task, name, None)) for name in methods):
        raise argument_error("task", task, f"a task, with root, {', '.join(methods)}")
    return Tree(task.root)
