"""What the verifiers are taught: wrong beside right, and where a result goes wrong."""

import pytest

from tasks.stepmath import problems as stepmath
from tasks.stepmath.stories import Equation
from training.solvers.labels import judged_lines, judged_steps, judged_whole
from training.solvers.rows import IGNORE, Judged
from training.solvers.tasks import TASKS

TASK = TASKS["stepmath"]
PROBLEM = stepmath.Problem(
    "",
    (
        Equation(3, "*", 4, 12),
        Equation(5, "*", 7, 35),
        Equation(12, "+", 35, 47, (0, 1)),
    ),
    story="shop",
    size="small",
    new_words=False,
)
RIGHT = PROBLEM.solution


def told(judged: Judged) -> list[tuple[str, float]]:
    """The labelled parts."""
    pairs = zip(judged.steps, judged.labels, strict=True)
    return [(part, label) for part, label in pairs if label != IGNORE]


@pytest.mark.parametrize(
    ("step", "wrong", "labels", "partner"),
    [
        (" 47", " 48", [(" 4", 1), ("8", 0), ("\n", 0)], [(" 4", 1), ("7", 1), ("\n", 1)]),
        (" 47", " 4", [(" 4", 1), ("\n", 0)], [(" 4", 1), ("7", 1), ("\n", 1)]),
        (
            " 47",
            " 477",
            [(" 4", 1), ("7", 1), ("7", 0), ("\n", 0)],
            [(" 4", 1), ("7", 1), ("\n", 1)],
        ),
        (
            "12 + 35 = 47",
            "12 * 4 = 48",  # the wrong thing is computed: its result cannot be right
            [(" 4", 0), ("8", 0), ("\n", 0)],
            [(" 4", 1), ("7", 1), ("\n", 1)],
        ),
    ],
)
def test_first_wrong_step(
    step: str, wrong: str, labels: list[tuple[str, float]], partner: list[tuple[str, float]]
) -> None:
    text = RIGHT.replace(step, wrong, 1)
    bad, good = judged_steps(TASK, PROBLEM, [text])
    before = [(" 1", 1), ("2", 1), ("\n", 1), (" 3", 1), ("5", 1), ("\n", 1)]
    assert told(bad) == before + labels
    assert told(good) == before + partner
    assert "".join(bad.steps) == text[: text.index("\n", text.index("3. ")) + 1]


def test_a_right_solution_teaches_nothing_about_steps() -> None:
    assert not list(judged_steps(TASK, PROBLEM, [RIGHT]))


def test_a_text_that_is_no_solution() -> None:
    bad, good = judged_steps(TASK, PROBLEM, ["What?\n"])
    assert {label for _, label in told(bad)} == {0.0}
    assert told(good)[-1] == ("\n", 1.0)


def test_wrong_solutions_stand_beside_as_many_right_ones() -> None:
    swapped = RIGHT.replace("3 * 4", "4 * 3")
    wrong = [RIGHT.replace("Answer: 47", f"Answer: {number}") for number in (1, 2, 3)]
    rows = list(judged_whole(TASK, PROBLEM, [*wrong, RIGHT, swapped]))
    assert [row.labels for row in rows] == [[0.0], [1.0]] * 2
    assert [row.steps[0] for row in rows] == [wrong[0], RIGHT, wrong[1], swapped]
    assert [row.steps for row in judged_whole(TASK, PROBLEM, wrong)] == [[wrong[0]], [RIGHT]]


def test_lines_of_a_drill() -> None:
    row = judged_lines([("1. 9 + 4 =", " 13\n", " 13\n"), ("2. 9 - 4 =", " 3\n", " 5\n")])
    assert told(row) == [(" 1", 1), ("3", 1), ("\n", 1), (" 3", 0), ("\n", 0)]
