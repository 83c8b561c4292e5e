"""Game of 24 in writing: lines are read as moves or not at all."""

from fractions import Fraction
from itertools import combinations_with_replacement

import pytest

from tasks.game24.game import can_win, is_solution
from tasks.game24.notation import (
    Numbers,
    expression_of,
    is_solved,
    legal_steps,
    prompt_of,
    read_step,
    read_steps,
)

SOLUTION = "8 / 8 = 1 (left: 1 4 6)\n4 * 1 = 4 (left: 4 6)\n6 * 4 = 24 (left: 24)\n"


def solve(numbers: Numbers, target: int = 24) -> str | None:
    """The first solution by trying every legal move."""
    if len(numbers) == 1:
        return "" if numbers[0] == target else None
    for step in legal_steps(numbers):
        rest = solve(step.left, target)
        if rest is not None:
            return step.text + rest
    return None


def test_the_prompt_is_sorted() -> None:
    assert prompt_of((8, 4, 8, 6)) == "24: 4 6 8 8\n"
    assert prompt_of((1, 2), 13) == "13: 1 2\n"


def test_a_solution_is_read_and_joined() -> None:
    steps = read_steps((4, 6, 8, 8), SOLUTION)
    assert "".join(step.text for step in steps) == SOLUTION
    assert expression_of((4, 6, 8, 8), steps) == "6 * (4 * (8 / 8))"
    assert expression_of((4, 6, 8, 8), steps[:1]) == "4, 6, (8 / 8)"
    assert is_solution(expression_of((4, 6, 8, 8), steps), (4, 6, 8, 8))
    assert is_solved((8, 8, 6, 4), SOLUTION)
    assert not is_solved((8, 8, 6, 4), SOLUTION, target=25)


@pytest.mark.parametrize(
    "line",
    [
        "8 / 8 = 1 (left: 1 4 6",  # no end
        "8 / 8 = 2 (left: 2 4 6)",  # wrong result
        "8 / 8 = 1 (left: 1 4 7)",  # wrong rest
        "8 / 8 = 1 (left: 1 4 6 6)",  # a number too many
        "6 + 6 = 12 (left: 8 8 12)",  # one 6 used twice
        "9 - 8 = 1 (left: 1 4 6)",  # no such number
        "4 - 6 = -2 (left: -2 8 8)",
        "4 ** 6 = 4096 (left: 8 8 4096)",
        "4 // 4 = 1 (left: 1 8 8)",
        "__import__('os') = 1 (left: 1 4 6)",
        "8/8=1 (left: 1 4 6)",
        "٨ / 8 = 1 (left: 1 4 6)",
        "9" * 5000,
        "",
    ],
)
def test_what_is_no_move(line: str) -> None:
    assert read_step((4, 6, 8, 8), line) is None


def test_division_by_zero_is_no_move() -> None:
    assert read_step((0, 4, 6), "4 / 0 = 0 (left: 0 6)") is None
    assert all(step.b for step in legal_steps((0, 4, 6)) if step.sign == "/")


@pytest.mark.parametrize(
    "text",
    [
        SOLUTION[: SOLUTION.index("6 * 4")],  # too early
        SOLUTION + "24 * 1 = 24 (left: 24)\n",  # too late
        SOLUTION + "and so on\n",
        "\n" + SOLUTION,
        SOLUTION.replace("6 * 4 = 24 (left: 24)", "6 + 4 = 10 (left: 10)"),
        "",
    ],
)
def test_what_is_no_solution(text: str) -> None:
    assert not is_solved((4, 6, 8, 8), text)


def test_every_legal_move_is_read_back() -> None:
    for numbers in ((4, 6, 8, 8), (1, 1, 1, 1), (0, 3), (2, 13, 100)):
        steps = list(legal_steps(numbers))
        assert steps
        assert [read_step(numbers, step.text) for step in steps] == steps
        assert len(set(steps)) == len(steps)


def test_whole_numbers_win_only_what_fractions_win() -> None:
    """Against the exhaustive solver in fractions; three need fractions."""
    lost = []
    for numbers in combinations_with_replacement((1, 3, 4, 6, 8), 4):
        text = solve(numbers)
        if text is not None:
            assert is_solved(numbers, text)
        elif can_win(tuple(map(Fraction, numbers))):
            lost.append(numbers)
    assert lost == [(1, 3, 4, 6), (1, 6, 6, 8), (3, 3, 8, 8)]
