"""Prompted tasks: a language model proposes, evaluates and votes (Yao et al. 2023, section 3)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from gpt2edge._checks import check_int, check_optional
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.arguments import check_arguments
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.task import Thought
from gpt2edge.runtime.text.stopping import StopParams

GAME24_WORDS: Final[Mapping[str, float]] = {"sure": 20.0, "likely": 1.0, "impossible": 0.001}
"""The answers to the paper's value prompt for Game of 24, with the values of its code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """How to complete a prompt: ``n`` completions of at most ``max_new_tokens``."""

    n: int = 1
    max_new_tokens: int | None = None
    sampling: SamplingParams | None = None
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_arguments(self, n=1)
        if self.max_new_tokens is not None:
            check_int("max_new_tokens", self.max_new_tokens, 1, 2**31)
        check_optional("sampling", self.sampling, SamplingParams, "SamplingParams")
        StopParams.of(self.stop)

    def __call__(self, prompts: Sequence[str], work: SearchSession) -> list[list[str]]:
        """Return the texts of each prompt's completions."""
        groups = work.sample(
            prompts,
            n=self.n,
            max_new_tokens=self.max_new_tokens,
            sampling=self.sampling,
            stop=self.stop,
        )
        return [[completion.text for completion in group] for group in groups]


class Evaluate(Protocol):
    """A function that evaluates states with a model."""

    def __call__(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return one number per state."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WordValues:
    """An evaluation of each state separately: the summed values of the last word per answer.

    The last word of an answer is the last of ``words`` that occurs in it.
    """

    prompt: Callable[[str], str]
    words: Mapping[str, float] = field(default_factory=lambda: GAME24_WORDS)
    ask: Ask = field(default_factory=lambda: Ask(n=3))

    def __call__(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return the sums; an answer without any of the words adds nothing."""
        pattern = re.compile("|".join(map(re.escape, self.words)), re.IGNORECASE)
        answers = self.ask([self.prompt(state) for state in states], work)
        work.count_verified(len(states))
        occurrences = [[pattern.findall(text) for text in texts] for texts in answers]
        values = {word.lower(): value for word, value in self.words.items()}
        return [sum(values[words[-1].lower()] for words in texts if words) for texts in occurrences]


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """An evaluation of all states in one prompt: the share of answers that chose each state.

    ``read`` returns the index of the chosen state in an answer, from 0, or None.
    """

    prompt: Callable[[Sequence[str]], str]
    read: Callable[[str], int | None]
    ask: Ask = field(default_factory=lambda: Ask(n=5))

    def __call__(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return the share of each state."""
        (answers,) = self.ask([self.prompt(states)], work)
        work.count_verified(len(states))
        chosen = [self.read(answer) for answer in answers]
        return [chosen.count(index) / len(chosen) for index in range(len(states))]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptedThoughts:
    """A task in which a language model writes the thoughts and values, by few-shot prompts.

    ``prompt`` turns a state into the prompt for its next thoughts; ``read`` turns the state and an
    answer into the next states, one or many. Equal states are merged. ``ends`` tells terminal
    states.
    """

    root: str
    prompt: Callable[[str], str]
    read: Callable[[str, str], Sequence[str]]
    ends: Callable[[str], bool]
    values: Evaluate
    ask: Ask = field(default_factory=Ask)

    def is_terminal(self, state: str) -> bool:
        """Return the result of ``ends``."""
        return self.ends(state)

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:
        """Return the model's proposals; a prior is the proposal's share of all proposals."""
        answers = self.ask([self.prompt(state) for state in states], work)
        return [
            self._thoughts([after for text in texts for after in self.read(state, text)])
            for state, texts in zip(states, answers, strict=True)
        ]

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return the result of ``values``."""
        return self.values(states, work)

    def _thoughts(self, states: Sequence[str]) -> list[Thought]:
        shares = {state: states.count(state) / len(states) for state in states}
        return [Thought(state, state, share) for state, share in shares.items()]
