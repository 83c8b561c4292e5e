"""stepmath: problems, their checker, and the wall between training and test."""

import random
import re
from itertools import permutations

import pytest

from tasks.stepmath import drills
from tasks.stepmath import problems as stepmath
from tasks.stepmath.problems import Problem, judge_steps, split_solution
from tasks.stepmath.stories import Equation, calculate, is_held_out
from tasks.stepmath.words import DAYS, HE, ITEMS, PACKS, SHE, WORDS

TRAINING = [stepmath.training_problem(number) for number in range(600)]
TEST = stepmath.heldout_problems()

TREE = Problem(
    "",
    (
        Equation(3, "*", 4, 12),
        Equation(5, "*", 7, 35),
        Equation(12, "+", 35, 47, (0, 1)),
        Equation(100, "-", 47, 53, (2,)),
    ),
    story="shop",
    size="small",
    new_words=False,
)


def labels(text: str, problem: Problem = TREE) -> list[bool]:
    return judge_steps(problem, split_solution(text))


def test_reference_solutions_are_right() -> None:
    for problem in TRAINING[:500] + TEST:
        assert all(judge_steps(problem, split_solution(problem.solution)))
        assert stepmath.is_right(problem, problem.solution)


def test_equations_follow_from_the_text() -> None:
    """Operands are numbers of the text or results; recomputed here with integers alone."""
    for problem in TRAINING[:500] + TEST:
        given = [int(word) for word in re.findall(r"\d+", problem.text)]
        for number, equation in enumerate(problem.equations):
            assert calculate(equation.left, equation.sign, equation.right) == equation.value
            assert all(source < number for source in equation.needs)
            results = [problem.equations[source].value for source in equation.needs]
            for operand in (equation.left, equation.right):
                assert operand in results or operand in given
        used = {source for equation in problem.equations for source in equation.needs}
        assert used == set(range(len(problem.equations) - 1))  # no step is idle


def test_any_valid_order_is_right() -> None:
    first, second = "3 * 4 = 12", "7 * 5 = 35"  # the second with its operands swapped
    rest = ["35 + 12 = 47", "100 - 47 = 53"]
    for pair in permutations([first, second]):
        lines = [f"{at}. {line}\n" for at, line in enumerate([*pair, *rest], 1)]
        assert labels("".join(lines) + "Answer: 53\n") == [True] * 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. 3 * 4 = 13\n2. 5 * 7 = 35\n", [False, False]),
        ("1. 3 * 4 = 12\n2. 3 * 4 = 12\n", [True, False]),
        ("1. 3 * 4 = 12\n2. 5 + 7 = 12\n", [True, False]),
        ("1. 3 * 4 = 12\n2. 12 + 35 = 47\n", [True, False]),
        ("1. 3 * 4 = 12\n3. 5 * 7 = 35\n", [True, False]),
        ("1. 3 * 4 = 12\n\n2. 5 * 7 = 35\n", [True, False, False]),
        ("1. 3 * 4 = 12\nAnswer: 53\n", [True, False]),
        ("Answer: 53\n", [False]),
        ("1. 6 / 0 = 0\n", [False]),
        ("1. 3 * 4 = 12 \n", [False]),
        ("1. \u0663 * 4 = 12\n", [False]),
        ("", [False]),
    ],
)
def test_wrong_steps(text: str, expected: list[bool]) -> None:
    assert labels(text) == expected


def test_nothing_is_right_after_the_answer() -> None:
    text = TREE.solution
    assert labels(text) == [True] * 5
    assert labels(text + "Answer: 53\n") == [True] * 5 + [False]


def test_no_text_breaks_the_checker() -> None:
    dice = random.Random(0)
    for _ in range(300):
        text = "".join(dice.choices("0123456789.+-*/= \nAnswer:", k=dice.randrange(60)))
        assert len(labels(text)) == len(split_solution(text))
        stepmath.is_right(TREE, text)
    assert labels("1. " + "9" * 10_000 + " + 1 = 1\n") == [False]


def test_the_same_number_is_the_same_problem() -> None:
    assert stepmath.training_problem(7) == TRAINING[7]
    assert TEST[:20] == stepmath.heldout_problems(20)


SLOTS = {
    **dict.fromkeys("ab", r"\d+"),
    **dict.fromkeys("PQF", f"(?:{'|'.join(SHE + HE)})"),
    **dict.fromkeys("SsO", "(?:[Ss]?he|her|him|He|She)"),
    **dict.fromkeys("Ii", f"(?:{'|'.join(ITEMS)})s?"),
    "G": f"(?:{'|'.join(PACKS)})",
    "D": f"(?:{'|'.join(DAYS)})",
}


def pattern(words: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(.)\\\}", lambda slot: SLOTS[slot[1]], re.escape(words)))


def test_training_holds_no_held_out_equation_or_wording() -> None:
    held = [pattern(words) for _, words in WORDS.values()]
    for problem in TRAINING:
        assert not problem.has_new_numbers
        assert not any(words.search(problem.text) for words in held), problem.text
    for problem in TEST:
        assert problem.new_words == any(words.search(problem.text) for words in held)


def test_every_test_problem_is_new() -> None:
    assert len(TEST) >= 1000
    assert len({problem.text for problem in TEST}) == len(TEST)
    assert all(problem.has_new_numbers for problem in TEST)
    assert sum(problem.new_words for problem in TEST) == len(TEST) // 2
    texts = {problem.text for problem in TRAINING}
    texts |= {problem.text for problem in stepmath.validation_problems()}
    assert texts.isdisjoint(problem.text for problem in TEST)


def test_held_out_whatever_the_order_of_a_sum() -> None:
    pairs = [(a, b) for a in range(2, 80) for b in range(2, 80)]
    assert all(is_held_out(a, "+", b) == is_held_out(b, "+", a) for a, b in pairs)
    assert 0.05 < sum(is_held_out(a, "+", b) for a, b in pairs) / len(pairs) < 0.11


def test_drills_are_right_and_hold_nothing_held_out() -> None:
    for number in range(100):
        for given, result in drills.drill(number):
            _, left, sign, right, equals = given.split()
            assert equals == "="
            assert calculate(int(left), sign, int(right)) == int(result)
            assert not is_held_out(int(left), sign, int(right))


def test_half_of_the_judged_lines_are_wrong() -> None:
    lines = [line for number in range(50) for line in drills.judged_drill(number)]
    for given, _, right in lines:
        _, left, sign, operand, _ = given.split()
        assert calculate(int(left), sign, int(operand)) == int(right)
    assert 0.4 < sum(result == right for _, result, right in lines) / len(lines) < 0.6


@pytest.mark.parametrize(
    ("before", "step", "expected"),
    [
        ([], "1. 3 * 4 = 99\n", " 12\n"),
        ([], "1. 4 * 3 = 12\n", " 12\n"),
        ([], "1. 3 + 4 = 7\n", None),  # not what is asked
        ([], "2. 3 * 4 = 12\n", None),  # the wrong number of a step
        ([], "nonsense", None),
        (["1. 3 * 4 = 12\n", "2. 5 * 7 = 35\n"], "3. 35 + 12 = 1\n", " 47\n"),
        ([], "Answer: 53\n", None),  # not computed yet
        (split_solution(TREE.solution)[:4], "Answer: 5\n", " 53\n"),
    ],
)
def test_right_result(before: list[str], step: str, expected: str | None) -> None:
    assert stepmath.right_result(TREE, before, step) == expected
