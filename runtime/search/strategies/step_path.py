"""Paths: generations that grow step by step, branch and are scored."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.answers import Extract
from gpt2edge.runtime.search.budget import Candidate
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.steps import StepEnd, is_complete
from gpt2edge.runtime.search.verifiers.verifier import (
    Aggregate,
    AnyVerifier,
    StepVerifier,
    aggregate_steps,
    score_all,
    score_all_steps,
)

_ATTEMPTS: Final = 1 << 16


class StepPath:
    """A generation with its steps and their scores.

    ``key`` names its random stream: sample i of the prompt has (i,), as in ``generate_batch``. A
    first child carries its parent's stream on, so a path that never branches is a plain sample;
    child j after d steps has the parent's key with (d, j) added.
    """

    def __init__(self, generation: Generation, key: tuple[int, ...]) -> None:
        self.generation = generation
        self.key = key
        self.marks: list[int] = []  # lengths in tokens at which steps ended
        self._ends: list[int] = []  # and in characters, of as many as somebody asked for
        self.scores: tuple[float, ...] = ()
        self.value: float | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its text has come to its own end."""
        return self.generation.finish_reason is not None

    def branch(self, child: int, attempt: int = 0) -> "StepPath":
        """Child number ``child``; another ``attempt`` draws all of them afresh."""
        number = child + _ATTEMPTS * attempt
        key = (*self.key, len(self.marks), number) if number else self.key
        return self._twin(self.generation.fork(key if number else None), key)

    def rollout(self, sampling: SamplingParams) -> "StepPath":
        """A twin that goes on as ``sampling`` says."""
        return self._twin(self.generation.fork(sampling=sampling), self.key)

    def steps(self, work: SearchSession) -> list[str]:
        """The text by steps, the one in the making included; a stop string is no part of it."""
        token_ids = self.generation.token_ids
        decode = work.tokenizer.decode
        text = self.generation.completion().text if self.is_finished else decode(token_ids)
        fresh = self.marks[len(self._ends) :]
        self._ends += [len(decode(token_ids[:mark])) for mark in fresh]
        borders = [0, *self._ends, len(text)]
        pieces = [text[start:end] for start, end in pairwise(borders)]
        return [piece for piece in pieces if piece] or [""]

    def candidate(self, extract: Extract) -> Candidate:
        """What there is of it, cancelled where it has not ended."""
        self.generation.cancel()
        completion = self.generation.completion()
        return Candidate(
            completion=completion,
            score=self.value,
            step_scores=self.scores,
            answer=extract(completion.text),
        )

    def _twin(self, generation: Generation, key: tuple[int, ...]) -> "StepPath":
        twin = StepPath(generation, key)
        twin.marks, twin.scores, twin.value = list(self.marks), self.scores, self.value
        twin._ends = list(self._ends)
        return twin


def advance(
    work: SearchSession,
    paths: Sequence[StepPath],
    step: StepEnd,
    *,
    steps: int = 1,
    keep: bool = True,
) -> None:
    """Grow every unfinished path by so many steps, all of them together."""
    by_generation = {id(path.generation): path for path in paths}
    goals = {id(path.generation): len(path.marks) + steps for path in paths}
    # a separator is complete with its last character, which, in ASCII, is in one token
    is_plain = isinstance(step, str) and step.isascii() and work.tokenizer.is_byte_level
    last = step[-1:] if isinstance(step, str) and is_plain else ""

    def until(generation: Generation) -> bool:
        path = by_generation[id(generation)]
        if last not in work.tokenizer.piece(generation.token_ids[-1]):
            return False
        start = path.marks[-1] if path.marks else 0
        read = work.tokenizer.decode if callable(step) else work.tokenizer.spelled
        if is_complete(read(generation.token_ids[start:]), step):
            path.marks.append(len(generation.token_ids))
        return len(path.marks) >= goals[id(generation)]

    for _ in work.grow([path.generation for path in paths], until, keep=keep):
        pass


def score_paths(
    work: SearchSession, paths: Sequence[StepPath], verifier: AnyVerifier, aggregate: Aggregate
) -> None:
    """Give every path the scores of its steps, and their aggregate as its value.

    A verifier of whole texts is asked once a step, for the text so far.
    """
    if not paths:
        return
    prompt = paths[0].generation.prompt
    solutions = [path.steps(work) for path in paths]
    with work.verifying(verifier, len(paths)):
        if isinstance(verifier, StepVerifier):
            read = score_all_steps(verifier, prompt, solutions)
        else:
            newest = score_all(verifier, prompt, ["".join(steps) for steps in solutions])
            read = [
                [*path.scores[: len(steps) - 1], score]
                for path, steps, score in zip(paths, solutions, newest, strict=True)
            ]
    for path, scores in zip(paths, read, strict=True):
        path.scores = tuple(scores)
        path.value = aggregate_steps(path.scores, aggregate)
