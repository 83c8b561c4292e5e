"""Drills of stepmath: lines of a solution without a story, for what is hard to learn from stories.

Of the tokens of a story and its solution only one in ten is a digit of a result. In a drill it is
one in four.
"""

from __future__ import annotations

import random

from tasks.stepmath.stories import SIZES, DeadEndError, Equation, Teller, change

LINES = 12
TRAIN_SIZES = {"small": 0.26, "medium": 0.3, "large": 0.4, "huge": 0.04}


def drill(number: int) -> list[tuple[str, str]]:
    """The lines of the drill of this number, each cut behind its equals sign. They have nothing
    to do with each other, and none is held out."""
    dice = random.Random(f"drill {number}")
    return [written(at, equation(dice)) for at in range(LINES)]


def judged_drill(number: int) -> list[tuple[str, str, str]]:
    """The same with every other result, at random, wrong; then the right one."""
    dice = random.Random(f"judged drill {number}")
    lines = []
    for at in range(LINES):
        asked = equation(dice)
        given, right = written(at, asked)
        wrong = dice.random() < 0.5
        lines.append((given, f" {misread(asked.value, dice)}\n" if wrong else right, right))
    return lines


def written(at: int, asked: Equation) -> tuple[str, str]:
    """Line `at` of a solution; solutions have up to eight."""
    left, sign, result = str(asked).rpartition("=")
    return f"{at % 8 + 1}. {left}{sign}", f"{result}\n"


def equation(dice: random.Random) -> Equation:
    """One that may occur in training: a number changed, or two added or multiplied."""
    size = SIZES[dice.choices([*TRAIN_SIZES], [*TRAIN_SIZES.values()])[0]]
    teller = Teller(dice, size, train=True, words=dict.fromkeys("PFSsOI", ""))
    while True:
        teller.equations.clear()
        most = size.most if dice.random() < 0.6 else 2 * size.addend
        try:
            total = teller.draw(2, min(most, size.most))
            if dice.random() < 0.2:
                teller.solve(total, "+", teller.draw(2, size.most - total.value))
            else:
                change(teller, total, dice.choice("+-*/"))
        except DeadEndError:
            continue
        return teller.equations[0]


def misread(value: int, dice: random.Random) -> int:
    """A number near `value`, and not it: a digit is another, or the whole a little off."""
    while True:
        digits = [*str(value)]
        kind = dice.random()
        if kind < 0.4:
            off = dice.choice((1, 1, 2, 3, 4, 9, 10, 10, 11, 20, 100))
            other = value + dice.choice((-off, off))
        elif kind < 0.8:
            digits[dice.randrange(len(digits))] = dice.choice("0123456789")
            other = int("".join(digits))
        elif kind < 0.9:
            other = dice.randint(1, 2 * value)
        else:
            dice.shuffle(digits)
            other = int("".join(digits))
        if other > 0 and other != value and not str(other).startswith("0"):
            return other
