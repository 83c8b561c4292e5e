"""The search benchmark: subsets are chosen from as the library chooses; a small run, end to end."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.runtime.search.best_of_n import pass_at_k, pick
from gpt2edge.runtime.search.candidates import gather
from tests.runtime.models import KEYS, make_engine

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from search_selection import Pool, accuracy, elected, interval, outcomes  # noqa: E402


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A small random model."""
    return make_engine(tmp_path_factory.mktemp("engine"), KEYS)


def pool_row(seed: int, samples: int = 24) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {
        "expected": "right",
        "answers": draw.choice(np.array(["right", "a", "b", None], object), samples).tolist(),
        "tokens": draw.integers(5, 20, samples).tolist(),
        "likelihood": (draw.integers(0, 8, samples) / 8).tolist(),  # with ties, and exact sums
        "orm": (draw.integers(0, 64, samples) / 64).tolist(),
        "prm": [draw.random(3).tolist() for _ in range(samples)],
    }


@pytest.mark.parametrize("seed", range(8))
def test_it_chooses_as_the_library_does(engine: Engine, seed: int) -> None:
    row = pool_row(seed)
    pool = Pool.of(row)
    (stem,) = gather(
        engine.generations(["he"], sampling=SamplingParams(seed=1))[0], lambda text: text
    )
    orders = pool.orders(seed)[:16]
    for n in (1, 3, 8, 24):
        for method in ("majority", "best by orm", "weighted by orm", "weighted by likelihood"):
            how, _, score = method.partition(" by ")
            found = outcomes(pool, method, orders, n)
            for order, right in zip(orders, found, strict=True):
                candidates = [
                    replace(stem, answer=row["answers"][at], score=row[score or "orm"][at])
                    for at in order[:n]
                ]
                choice: Any = how
                assert (pick(candidates, choice).answer == "right") == right


def test_steps_are_aggregated() -> None:
    row = {**pool_row(1, 2), "prm": [[0.9, 0.2, 0.8], [0.5]]}
    scores = Pool.of(row).scores
    assert scores["prm last"] == pytest.approx([0.8, 0.5])
    assert scores["prm min"] == pytest.approx([0.2, 0.5])
    assert scores["prm prod"] == pytest.approx([0.144, 0.5])
    assert scores["prm mean"] == pytest.approx([1.9 / 3, 0.5])


def test_no_vote_is_not_right() -> None:
    answers = np.array([[-1, -1], [0, -1], [1, 0], [0, 1]])
    assert elected(answers, np.ones((4, 2))).tolist() == [False, True, False, True]
    assert elected(np.array([[0, -1]]), np.zeros((1, 2))).tolist() == [True]


def test_subsets_are_unbiased() -> None:
    pools = [Pool.of(pool_row(seed, 64)) for seed in range(30)]
    for n in (1, 4, 16):
        exact = [pass_at_k(64, int((pool.answers == 0).sum()), n) for pool in pools]
        assert accuracy(pools, "pass", n) == pytest.approx(exact, abs=0.2)
        assert accuracy(pools, "pass", n).mean() == pytest.approx(np.mean(exact), abs=0.02)
    every = accuracy(pools, "pass", 64)
    assert every.tolist() == [float((pool.answers == 0).any()) for pool in pools]


def test_the_interval_holds_the_mean() -> None:
    values = (np.arange(400) % 4 == 0).astype(float)
    low, high = interval(values)
    assert low < 0.25 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 * 0.75 / 400), rel=0.15)
