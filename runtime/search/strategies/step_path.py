"""StepPath: a generation that grows step by step, branches and is scored."""

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

    ``key`` identifies its random stream: sample i of the prompt has (i,), as in
    ``generate_batch``. The first child continues its parent's stream, so that a path that never
    branches equals a plain sample; child j after d steps has the parent's key followed by (d, j).
    """

    def __init__(self, generation: Generation, key: tuple[int, ...]) -> None:
        self.generation = generation
        self.key = key
        self.marks: list[int] = []  # lengths in tokens at which steps ended
        self._ends: list[int] = []  # the same in characters, computed on demand by steps()
        self.scores: tuple[float, ...] = ()
        self.value: float | None = None

    @property
    def is_finished(self) -> bool:
        """Return whether its text is complete."""
        return self.generation.finish_reason is not None

    def branch(self, child: int, attempt: int = 0) -> "StepPath":
        """Return child number ``child``; another ``attempt`` samples all children again."""
        number = child + _ATTEMPTS * attempt
        key = (*self.key, len(self.marks), number) if number else self.key
        return self._copy(self.generation.fork(key if number else None), key)

    def rollout(self, sampling: SamplingParams) -> "StepPath":
        """Return a copy that continues with ``sampling``."""
        return self._copy(self.generation.fork(sampling=sampling), self.key)

    def steps(self, work: SearchSession) -> list[str]:
        """Return the text as steps, the incomplete last one included, without a stop string."""
        token_ids = self.generation.token_ids
        decode = work.tokenizer.decode
        text = self.generation.completion().text if self.is_finished else decode(token_ids)
        fresh = self.marks[len(self._ends) :]
        self._ends += [len(decode(token_ids[:mark])) for mark in fresh]
        borders = [0, *self._ends, len(text)]
        pieces = [text[start:end] for start, end in pairwise(borders)]
        return [piece for piece in pieces if piece] or [""]

    def candidate(self, extract: Extract) -> Candidate:
        """Return the text so far as a candidate; cancel the generation if it has not ended."""
        self.generation.cancel()
        completion = self.generation.completion()
        return Candidate(
            completion=completion,
            score=self.value,
            step_scores=self.scores,
            answer=extract(completion.text),
        )

    def _copy(self, generation: Generation, key: tuple[int, ...]) -> "StepPath":
        path = StepPath(generation, key)
        path.marks, path.scores, path.value = list(self.marks), self.scores, self.value
        path._ends = list(self._ends)
        return path


def advance(
    work: SearchSession,
    paths: Sequence[StepPath],
    step: StepEnd,
    *,
    steps: int = 1,
    keep: bool = True,
) -> None:
    """Grow every unfinished path by ``steps`` steps, all paths together."""
    by_generation = {id(path.generation): path for path in paths}
    goals = {id(path.generation): len(path.marks) + steps for path in paths}
    # A separator is complete with its last character; an ASCII character is within one token.
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

    A verifier of whole texts scores the text so far, once per step.
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
