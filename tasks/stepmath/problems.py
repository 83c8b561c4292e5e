"""stepmath: word problems whose every step can be checked.

A problem is made of a number alone, so that a split is a range of numbers. Its solution is one
equation a line, then the answer:

    1. 12 + 7 = 19
    Answer: 19
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tasks.stepmath.stories import (
    SIZES,
    STORIES,
    DeadEndError,
    Equation,
    Teller,
    calculate,
    is_held_out,
)

STEP = "\n"
STEPS = range(2, 9)
TEST_SIZE = 1000
TEST_SIZES = {"small": 0.15, "medium": 0.3, "large": 0.45, "huge": 0.1}
TRAIN_SIZES = {"small": 0.34, "medium": 0.3, "large": 0.32, "huge": 0.04}
TRAIN_STEPS = (0.20, 0.19, 0.17, 0.14, 0.12, 0.10, 0.08)  # more of those that are soon read
LONGEST = 192  # tokens of a problem and its solution

_LINE = re.compile(r"(\d{1,2})\. (\d{1,9}) ([-+*/]) (\d{1,9}) = (\d{1,9})\n?", re.ASCII)
_ANSWER = re.compile(r"Answer: (\d{1,9})\n?", re.ASCII)


@dataclass(frozen=True)
class Problem:
    """A story, and the equations that solve it."""

    text: str
    equations: tuple[Equation, ...]
    story: str
    size: str
    new_words: bool

    @property
    def prompt(self) -> str:
        """What a model is given."""
        return self.text + "\n"

    @property
    def answer(self) -> int:
        """What the last equation comes to."""
        return self.equations[-1].value

    @cached_property
    def solution(self) -> str:
        """The reference solution."""
        lines = [f"{number}. {equation}\n" for number, equation in enumerate(self.equations, 1)]
        return "".join(lines) + f"Answer: {self.answer}\n"

    @property
    def has_new_numbers(self) -> bool:
        """Whether an equation is held out."""
        return any(is_held_out(e.left, e.sign, e.right) for e in self.equations)


def training_problem(number: int, *, size: str | None = None, steps: int | None = None) -> Problem:
    """Training problem of this number: usual wordings, no held-out equation."""
    return _make(random.Random(f"train {number}"), train=True, size=size, steps=steps)


def heldout_problems(count: int = TEST_SIZE) -> list[Problem]:
    """The test: a held-out equation in each, and held-out wordings in every other one."""
    return list(_fresh("test", count, set()))


def validation_problems(count: int = 500) -> list[Problem]:
    """Like the test and other than it: for choices made while training."""
    return list(_fresh("validation", count, {problem.text for problem in heldout_problems()}))


def _fresh(name: str, count: int, seen: set[str]) -> Iterator[Problem]:
    for number in range(count):
        dice = random.Random(f"{name} {number}")
        steps = STEPS[number % len(STEPS)]
        while True:
            problem = _make(dice, train=False, new_words=number % 2 == 1, steps=steps)
            if problem.has_new_numbers and problem.text not in seen:
                seen.add(problem.text)
                yield problem
                break


def _make(
    dice: random.Random,
    *,
    train: bool,
    new_words: bool = False,
    size: str | None = None,
    steps: int | None = None,
) -> Problem:
    shares = TRAIN_SIZES if train else TEST_SIZES
    size = size or dice.choices([*shares], [*shares.values()])[0]
    steps = steps or dice.choices(STEPS, TRAIN_STEPS)[0]
    while True:
        story = dice.choice([*STORIES])
        teller = Teller(dice, SIZES[size], train=train, new_words=new_words)
        try:
            STORIES[story](teller, steps)
        except DeadEndError:
            continue
        if len(teller.equations) == steps and teller.has_new_words == new_words:
            text = " ".join(teller.sentences)
            return Problem(text, tuple(teller.equations), story, size, new_words)


def judge_steps(problem: Problem, steps: Sequence[str]) -> list[bool]:
    """Whether each step is right, in a solution that was right until then.

    An equation is right when it holds, and computes a quantity of the reference solution that
    was not computed yet from such as were: any order in which that can be done will do, and the
    operands of + and * may change places. The answer is right when it is, and was computed.
    Nothing is right after the first error.
    """
    done: set[int] = set()
    answered = False
    labels: list[bool] = []
    for number, step in enumerate(steps, 1):
        found = None
        if not answered and (line := _LINE.fullmatch(step)) and int(line[1]) == number:
            found = _matching(problem, done, line)
            done |= set() if found is None else {found}
        elif not answered and (line := _ANSWER.fullmatch(step)):
            answered = True
            finished = len(problem.equations) - 1 in done
            found = 0 if finished and int(line[1]) == problem.answer else None
        if found is None:
            return labels + [False] * (len(steps) - len(labels))
        labels.append(True)
    return labels


def _matching(problem: Problem, done: set[int], line: re.Match[str]) -> int | None:
    """The reference equation that a line is."""
    left, sign, right, value = int(line[2]), line[3], int(line[4]), int(line[5])
    if calculate(left, sign, right) != value:
        return None
    for number, equation in enumerate(problem.equations):
        same = (left, right) == (equation.left, equation.right)
        swapped = sign in "+*" and (right, left) == (equation.left, equation.right)
        open_now = number not in done and done.issuperset(equation.needs)
        if open_now and sign == equation.sign and (same or swapped):
            return number
    return None


def right_result(problem: Problem, before: Sequence[str], step: str) -> str | None:
    """What should stand behind the equals sign of a step, with the newline, where all is right
    until then; None where something is not. `before` are the steps before it, all right."""
    if step.startswith("Answer:"):
        whole = step.partition(":")[0] + f": {problem.answer}\n"
    elif line := _LINE.fullmatch(step):
        value = calculate(int(line[2]), line[3], int(line[4]))
        whole = f"{step.rpartition('=')[0]}= {value}\n"
    else:
        return None
    right = judge_steps(problem, [*before, whole])[-1]
    return whole[len(whole.rpartition("=" if "=" in whole else ":")[0]) + 1 :] if right else None


def split_solution(text: str) -> list[str]:
    """The lines of a solution, each with its newline."""
    return text.splitlines(keepends=True) or [""]


def given_answer(text: str) -> int | None:
    """The number behind the last "Answer:" of a solution."""
    found = re.findall(r"^Answer: (\d{1,9})$", text, re.MULTILINE | re.ASCII)
    return int(found[-1]) if found else None


def is_right(problem: Problem, text: str) -> bool:
    """The outcome: whether a solution gives the right answer, however it came by it."""
    return given_answer(text) == problem.answer
