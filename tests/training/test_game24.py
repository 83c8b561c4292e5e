"""Game of 24, the data: no test puzzle in it, exact values, a tokenizer that loses nothing."""

import json
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest

from tasks.game24.game import can_win
from tasks.game24.notation import is_solved, read_step
from tasks.game24.puzzles import problems, solutions
from tasks.game24.puzzles import test_puzzles as puzzles_of_the_test
from training.solvers import game24_rows as game24
from training.solvers.game24_tokenizer import build_tokenizer

pytestmark = pytest.mark.slow
DRAWN = 3000


@pytest.fixture(scope="module")
def source() -> Any:
    return game24.Source(seed=7)


def numbers_of(prompt: str) -> tuple[int, tuple[int, ...]]:
    target, numbers = prompt.split(":")
    return int(target), tuple(map(int, numbers.split()))


def test_no_puzzle_of_the_test_is_ever_drawn(source: Any) -> None:
    aside = {*puzzles_of_the_test(), *source.valid}
    assert len(puzzles_of_the_test()) == 100
    assert len(aside) == 200
    prompts = [source.example().prompt for _ in range(DRAWN)]
    prompts += [source.rollout().steps[0] for _ in range(DRAWN)]
    drawn = {tuple(sorted(numbers_of(prompt)[1])) for prompt in prompts}
    assert not drawn & aside
    assert not set(source.numbers) & aside
    assert {len(numbers) for numbers in drawn} == {2, 3, 4}


def test_every_example_is_a_solution(source: Any) -> None:
    for _ in range(DRAWN // 10):
        example = source.example()
        target, numbers = numbers_of(example.prompt)
        assert is_solved(numbers, example.solution, target)


def test_solutions_are_equally_likely(source: Any) -> None:
    """(4, 6, 8, 8): drawn as often as one another, and all of them."""
    count = solutions((4, 6, 8, 8), 24)
    drawn = Counter("".join(source.solution((4, 6, 8, 8), 24)) for _ in range(100 * count))
    assert len(drawn) == count > 1
    assert all(40 < times < 180 for times in drawn.values())


def test_labels_say_what_can_be_reached(source: Any) -> None:
    seen: Counter[tuple[bool, float]] = Counter()
    for _ in range(DRAWN // 10):
        rollout = source.rollout()
        prompt, *lines = rollout.steps
        target, left = numbers_of(prompt)
        sound = True
        for place, label in enumerate(rollout.labels):
            if place:
                step = read_step(left, lines[place - 1]) if sound else None
                sound = step is not None
                left = step.left if step else ()
            reachable = sound and reaches(left, target)
            assert label == float(reachable)
            seen[sound, label] += 1
    assert min(seen[True, 1.0], seen[True, 0.0], seen[False, 0.0]) > 10


def reaches(left: tuple[int, ...], target: int) -> bool:
    """By trying everything; can_win knows 24 alone, and fractions besides."""
    from tasks.game24.notation import legal_steps

    if len(left) == 1:
        return left[0] == target
    won = any(reaches(step.left, target) for step in legal_steps(left))
    if won and target == 24:
        assert can_win(tuple(map(Fraction, left)))
    return won


def test_the_tokenizer_loses_nothing(source: Any) -> None:
    tokenizer = build_tokenizer()
    for example in (source.example() for _ in range(200)):
        text = example.prompt + example.solution
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids) == text
        assert len(ids) < game24.ROW
        parts = [example.prompt, *example.solution.splitlines(keepends=True)]
        assert [i for part in parts for i in tokenizer.encode(part).ids] == ids
    assert tokenizer.decode(tokenizer.encode("8 % 8 é\n ２").ids) == "8 % 8 é\n ２"  # noqa: RUF001


def test_the_same_seed_gives_the_same_data() -> None:
    first, second = (game24.Source(seed=3) for _ in range(2))
    assert [first.example() for _ in range(50)] == [second.example() for _ in range(50)]
    assert first.rollout() == second.rollout()
    assert first.valid == second.valid


def test_the_list_of_test_puzzles_is_as_published() -> None:
    """Each can be solved in whole numbers; the problems say so."""
    lines = list(problems(puzzles_of_the_test()))
    facts = [json.loads(line) for line in lines]
    assert all(fact["solutions"] > 0 for fact in facts)
    assert facts[0] == {"prompt": "24: 4 5 6 10\n", "numbers": [4, 5, 6, 10], "solutions": 8}
