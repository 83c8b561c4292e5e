"""The yardstick of the Game of 24 benchmark: blind search in random order."""

import random

import pytest

from benchmarks.search import game24 as bench

MANY = 10_000


def test_with_enough_states_blind_search_solves_what_can_be_solved() -> None:
    rng = random.Random(1)
    for moves, fractions in ((bench.whole_moves, False), (bench.all_moves, True)):
        for numbers in ((4, 6, 8, 8), (1, 1, 4, 6), (4, 5, 6, 10)):
            states = bench.states_until_solved(numbers, MANY, moves, rng)
            assert 4 <= states < MANY
        assert bench.states_until_solved((1, 1, 1, 1), MANY, moves, rng) == MANY + 1
        found = bench.states_until_solved((3, 3, 8, 8), MANY, moves, rng)
        assert (found <= MANY) is fractions


def test_one_way_is_found_in_as_many_states_as_it_has() -> None:
    """Of 12 and 2: 14, 10, 24, 6, in random order: on average 24 is the second or third."""
    rng = random.Random(2)
    counts = [bench.states_until_solved((12, 2), 9, bench.whole_moves, rng) for _ in range(400)]
    assert set(counts) == {2, 3, 4, 5}
    assert 3.3 < sum(counts) / len(counts) < 3.7
    assert bench.by_chance([(12, 2)] * 20, [3] * 20, bench.whole_moves) == pytest.approx(
        0.5, abs=0.1
    )
    assert bench.by_chance([(12, 2)], [1], bench.whole_moves) == 0


def test_the_puzzles_are_the_papers() -> None:
    puzzles = bench.puzzles(bench.PUZZLES)
    assert (len(puzzles), puzzles[0], puzzles[-1]) == (100, (4, 5, 6, 10), (4, 9, 10, 13))
    assert bench.share(100, 100)["low"] == pytest.approx(0.963, abs=1e-3)
