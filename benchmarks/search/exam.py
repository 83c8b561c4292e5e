"""What a solver answers on the test of its task, greedily; the task's own checker decides."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gpt2edge
from benchmarks.quality.fidelity import Logits, Window, mean_and_error
from tasks.game24.notation import is_solved, prompt_of

Writer = Callable[[Sequence[str], int], list[str]]
"""Greedy completions of prompts, of so many tokens at most."""


@dataclass(frozen=True, slots=True)
class Exam:
    """Prompts, a right solution of each, and whether a text solves the prompt of a number."""

    prompts: Sequence[str]
    solutions: Sequence[str]
    is_right: Callable[[int, str], bool]
    new_tokens: int

    def windows(self, encode: Callable[[str], Sequence[int]]) -> list[Window]:
        """Every problem with its solution, of which alone the tokens are scored."""
        return [
            ([*encode(prompt), *encode(solution)], len(encode(prompt)))
            for prompt, solution in zip(self.prompts, self.solutions, strict=True)
        ]

    def marks(self, write: Writer) -> NDArray[np.float64]:
        """1 for every problem that is solved, else 0."""
        texts = write(self.prompts, self.new_tokens)
        return np.array([self.is_right(*item) for item in enumerate(texts)], np.float64)


class Solved:
    """An exam, and what the float32 model solves of it."""

    def __init__(self, exam: Exam, write: Writer) -> None:
        self._exam = exam
        self._expected = exam.marks(write)

    def compare(self, write: Writer) -> dict[str, Any]:
        """Share of problems solved, and its paired difference from float32."""
        marks = self._exam.marks(write)
        share, error = mean_and_error(marks)
        change, change_error = mean_and_error(marks - self._expected)
        return {
            "solved": share,
            "solved_se": error,
            "solved_fp32": float(self._expected.mean()),
            "solved_change": change,
            "solved_change_se": change_error,
            "problems": len(marks),
        }


def exam_of(name: str, count: int) -> Exam:
    """The first ``count`` test problems of the task that the model ``name`` solves."""
    return {"stepmath": _stepmath, "game24": _game24}[name.partition("-")[0]](count)


def _stepmath(count: int) -> Exam:
    from tasks.stepmath.problems import heldout_problems, is_right

    problems = heldout_problems(count)
    prompts, solutions = zip(*[(item.prompt, item.solution) for item in problems], strict=True)
    return Exam(prompts, solutions, lambda at, text: is_right(problems[at], text), new_tokens=128)


def _game24(count: int) -> Exam:
    from tasks.game24.puzzles import TARGET, random_solution, test_puzzles

    puzzles, dice = test_puzzles()[:count], random.Random(0)
    solutions = ["".join(random_solution(dice, numbers, TARGET)) for numbers in puzzles]
    return Exam(
        [prompt_of(numbers) for numbers in puzzles],
        solutions,
        lambda at, text: is_solved(puzzles[at], text),
        new_tokens=34,
    )


def engine_writer(engine: gpt2edge.Engine) -> Writer:
    """Greedy completions by one of our engines, all prompts in one batch."""

    def write(prompts: Sequence[str], new_tokens: int) -> list[str]:
        done = engine.generate_batch(prompts, max_new_tokens=new_tokens, sampling=gpt2edge.GREEDY)
        return [completion.text for completion in done]

    return write


def logits_writer(logits: Logits, engine: gpt2edge.Engine) -> Writer:
    """Greedy completions by whatever gives logits; ``engine`` lends its tokenizer and limits."""
    config, tokenizer = engine.config, engine.tokenizer
    assert tokenizer is not None, "a solver has its tokenizer"

    def complete(prompt: str, new_tokens: int) -> str:
        ids = list(engine.encode(prompt))
        start = len(ids)
        while len(ids) < min(start + new_tokens, config.n_positions):
            token_id = int(logits(ids)[-1].argmax())
            if token_id in config.eos_token_ids:
                break
            ids.append(token_id)
        return tokenizer.decode(ids[start:])

    return lambda prompts, new_tokens: [complete(prompt, new_tokens) for prompt in prompts]
