"""Game of 24 as text: the steps that a model writes, and their checker.

A puzzle is the prompt "24: 4 6 8 8", and a solution is three lines of "a op b = c (left: ...)", as
in Tree of Thoughts (Yao et al. 2023). All numbers are whole and none is below 0; the larger number
is first and the remaining numbers ascend, so that equal positions are equal texts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Final, NamedTuple, TypeAlias

from tasks.game24.game import evaluate

Numbers: TypeAlias = tuple[int, ...]

_STEP: Final = re.compile(
    r"(\d{1,6}) ([-+*/]) (\d{1,6}) = (\d{1,6}) \(left: (\d{1,6}(?: \d{1,6}){0,9})\)", re.ASCII
)


class Step(NamedTuple):
    """One move: ``a sign b = result``, and the numbers that are ``left``, in ascending order."""

    a: int
    sign: str
    b: int
    result: int
    left: Numbers

    @property
    def text(self) -> str:
        """Return the line that a model writes, with its newline."""
        return f"{self.a} {self.sign} {self.b} = {self.result} (left: {_spaced(self.left)})\n"


def prompt_of(numbers: Sequence[int], target: int = 24) -> str:
    """Return the model's prompt: "24: 4 6 8 8" and a newline."""
    return f"{target}: {_spaced(sorted(numbers))}\n"


def legal_steps(numbers: Numbers) -> Iterator[Step]:
    """Yield all moves from ``numbers``, each once."""
    ordered = sorted(numbers)
    seen = set()
    for low, high in combinations(range(len(ordered)), 2):
        b, a = ordered[low], ordered[high]
        if (a, b) in seen:
            continue
        seen.add((a, b))
        rest = [number for index, number in enumerate(ordered) if index not in (low, high)]
        for sign, result in (("+", a + b), ("-", a - b), ("*", a * b)):
            yield Step(a, sign, b, result, tuple(sorted([*rest, result])))
        if b and a % b == 0:
            yield Step(a, "/", b, a // b, tuple(sorted([*rest, a // b])))


def read_step(numbers: Sequence[int], line: str) -> Step | None:
    """Return ``line`` as a move from ``numbers``; None if any of its parts is wrong."""
    match = _STEP.fullmatch(line.rstrip("\n"))
    if match is None:
        return None
    a, b, result = int(match[1]), int(match[3]), int(match[4])
    left = tuple(sorted(map(int, match[5].split())))
    used = Counter((a, b))
    rest = Counter(numbers) - used
    if used - Counter(numbers) or rest + Counter((result,)) != Counter(left):
        return None
    if match[2] == "/" and not b:
        return None
    value, _ = evaluate(f"{a} {match[2]} {b}")
    return Step(a, match[2], b, result, left) if value == result else None


def read_steps(numbers: Sequence[int], text: str) -> list[Step]:
    """Return the moves of ``text`` up to the first line that is not a move."""
    left, steps = tuple(sorted(numbers)), []
    for line in text.splitlines():
        step = read_step(left, line)
        if step is None:
            break
        steps.append(step)
        left = step.left
    return steps


def expression_of(numbers: Sequence[int], steps: Sequence[Step]) -> str:
    """Return the moves as one expression, such as "(4 + (8 / 8)) * 6".

    If several numbers are left, their expressions are joined by ", ".
    """
    items = [(number, str(number)) for number in numbers]
    for step in steps:
        parts = []
        for wanted in (step.a, step.b):
            index = next(i for i, (value, _) in enumerate(items) if value == wanted)
            parts.append(items.pop(index)[1])
        items.append((step.result, f"({parts[0]} {step.sign} {parts[1]})"))
    texts = [text for _, text in items]
    return texts[0][1:-1] if len(texts) == 1 and steps else ", ".join(texts)


def is_solved(numbers: Sequence[int], text: str, target: int = 24) -> bool:
    """Return whether ``text`` is a solution: every line is a move, and the last leaves the target.

    The lines are joined into one expression, and its value and numbers decide.
    """
    steps = read_steps(numbers, text)
    if len(steps) != len(numbers) - 1 or len(text.splitlines()) != len(steps):
        return False
    value, used = evaluate(expression_of(numbers, steps))
    return value == Fraction(target) and Counter(used) == Counter(numbers)


def _spaced(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
