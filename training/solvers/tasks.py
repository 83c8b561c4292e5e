"""What the solvers' training needs to know of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.stepmath import drills, problems


class Problem(Protocol):
    """A problem with its reference solution."""

    @property
    def prompt(self) -> str:
        """What a model is given; it ends with a newline."""

    @property
    def solution(self) -> str:
        """What it should write."""


@dataclass(frozen=True, slots=True)
class Task:
    """A maker of problems, and a judge of solutions."""

    name: str
    training_problem: Callable[[int], Problem]
    is_right: Callable[..., bool]  # (problem, text)
    judge_steps: Callable[..., list[bool]]  # (problem, steps)
    split: Callable[[str], Sequence[str]]
    drill: Callable[[int], list[tuple[str, str]]]  # lines: what is given, what should follow
    judged_drill: Callable[[int], list[tuple[str, str, str]]]  # the same, and the right result
    right_result: Callable[..., str | None]  # (problem, steps before, step): of a right question
    vocab_size: int = 512
    n_positions: int = 256
    max_new_tokens: int = 128


TASKS = {
    "stepmath": Task(
        "stepmath",
        problems.training_problem,
        problems.is_right,
        problems.judge_steps,
        problems.split_solution,
        drills.drill,
        drills.judged_drill,
        problems.right_result,
    )
}
