"""The puzzles that models are tested on, and all solutions of a puzzle in whole numbers."""

import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from tasks.game24.notation import Numbers, Step, legal_steps, prompt_of

TARGET: Final = 24
TEST_FILE: Final = Path(__file__).with_name("test_puzzles.txt")


@cache
def moves(numbers: Numbers) -> tuple[Step, ...]:
    """All moves, each once."""
    return tuple(legal_steps(numbers))


@cache
def solutions(numbers: Numbers, target: int) -> int:
    """How many solutions there are, as sequences of moves."""
    if len(numbers) == 1:
        return int(numbers[0] == target)
    return sum(solutions(step.left, target) for step in moves(numbers))


def random_solution(dice: random.Random, left: Numbers, target: int) -> Iterator[str]:
    """The lines of a solution, all solutions equally likely."""
    while len(left) > 1:
        steps = moves(left)
        weights = [solutions(step.left, target) for step in steps]
        step = dice.choices(steps, weights)[0]
        yield step.text
        left = step.left


def test_puzzles() -> list[Numbers]:
    """Ranks 901 to 1000 of the list, which Tree of Thoughts was tested on."""
    lines = TEST_FILE.read_text(encoding="utf-8").splitlines()
    return [tuple(sorted(map(int, line.split()))) for line in lines]


def problems(puzzles: Sequence[Numbers]) -> Iterator[str]:
    """JSON lines with what a solver needs, and how many solutions there are."""
    for numbers in puzzles:
        count = solutions(numbers, TARGET)
        facts = {"prompt": prompt_of(numbers), "numbers": numbers, "solutions": count}
        yield json.dumps(facts) + "\n"
