"""Tasks for tree search: propose the next thoughts and evaluate states."""

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
"""Marks the state of a complete text, to distinguish it from one that continues."""


@dataclass(frozen=True, slots=True)
class Thought:
    """A proposal: its ``text``, the ``state`` that it leads to, and its ``prior``."""

    state: str
    text: str
    prior: float = 1.0


class Task(Protocol):
    """A problem for tree search. A state is a text that the task itself can read.

    States come in batches, so that a model can grow or score them together. ``work`` is the
    model within the search's budget; a task need not use it.
    """

    @property
    def root(self) -> str:
        """Return the state in which the search begins."""
        ...

    def is_terminal(self, state: str) -> bool:
        """Return whether nothing follows ``state``."""
        ...

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:
        """Return each state's next thoughts, none at a dead end; siblings' priors sum to 1."""
        ...

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return each state's value; Monte Carlo tree search needs values in [0, 1]."""
        ...


@dataclass(slots=True, kw_only=True)
class SampledSteps:
    """A task whose thoughts are sampled steps of a text, evaluated by the verifier.

    The thoughts of a state are up to ``branches`` samples of its next step, equal ones merged.
    The prior is the probability of the step's tokens divided by the sum over its siblings. The
    state is the text so far; its cache is forked, never recomputed.
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
        """Return the empty text."""
        return ""

    def is_terminal(self, state: str) -> bool:
        """Return whether the text is complete."""
        return state.endswith(END)

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:
        """Sample each state's next steps."""
        families = [self._family(state) for state in states]
        advance(work, [path for family in families for path in family], self.step)
        return [
            self._thoughts(state, family, work)
            for state, family in zip(states, families, strict=True)
        ]

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return the verifier's score of each text, aggregated over its steps."""
        paths = [self._paths[state] for state in states]
        begun = [path for path in paths if path.generation.token_ids]
        score_paths(work, begun, self.verifier, self.aggregate)
        return [path.value or 0.0 for path in paths]

    def text(self, state: str) -> str:
        """Return the text of a state."""
        return state.removesuffix(END)

    def _family(self, state: str) -> list[StepPath]:
        """Return children of a state, each with its own random stream."""
        parent = self._paths[state]
        if state:
            return [parent.branch(child) for child in range(self.branches)]
        roots = [StepPath(parent.generation.fork((i,)), (i,)) for i in range(self.branches)]
        return [parent.branch(0), *roots[1:]]

    def _thoughts(
        self, state: str, family: Sequence[StepPath], work: SearchSession
    ) -> list[Thought]:
        steps_by_state: dict[str, tuple[str, float]] = {}
        before = len(self._paths[state].generation.token_ids)
        for path in family:
            steps = path.steps(work)
            text = "".join(steps)
            after = text + END if path.is_finished else text
            if after not in steps_by_state:
                self._paths.setdefault(after, path)
                logprob = math.fsum(path.generation.logprobs[before:])
                steps_by_state[after] = (text[len(state) :], logprob)
        top = max(logprob for _, logprob in steps_by_state.values())
        weights = {key: math.exp(logprob - top) for key, (_, logprob) in steps_by_state.items()}
        mass = sum(weights.values())
        return [
            Thought(key, steps_by_state[key][0], weight / mass) for key, weight in weights.items()
        ]


def tree_of(task: Task) -> Tree:
    """Return a tree of the task's root alone. Raises ArgumentError if ``task`` is not a task."""
    methods = ("is_terminal", "propose", "evaluate")
    if isinstance(task, type) or not all(callable(getattr(task, name, None)) for name in methods):
        raise argument_error("task", task, f"a task, with root, {', '.join(methods)}")
    return Tree(task.root)
