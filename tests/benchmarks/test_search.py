"""The search benchmark: subsets are chosen from as the library chooses; a small run, end to end."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.search import pool as search_pool
from benchmarks.search.models import Problem
from benchmarks.search.selection import Pool, accuracy, elected, interval, outcomes
from gpt2edge import Engine, SamplingParams
from gpt2edge.runtime.search.candidates import candidates_of
from gpt2edge.runtime.search.strategies.best_of_n import pass_at_k, pick
from tests.conftest import ROOT
from tests.runtime.models import KEYS, make_engine


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
    (stem,) = candidates_of(
        engine.request("he", sampling=SamplingParams(seed=1)).generations, lambda text: text
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
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 * 0.75 / 400), rel=0.08)


def test_a_pool_is_what_the_engine_samples(engine: Engine) -> None:
    problem = Problem(1, "he", "5")
    row = search_pool.pool_row(engine, problem, 12, 1.0)
    assert len(set(row["text"])) == len(row["texts"]) == 12
    fifth = engine.generate_batch(["he"], n=5, max_new_tokens=128, sampling=problem.sampling(1.0))[
        4
    ]
    assert row["texts"][row["text"][4]] == fifth.text
    assert row["tokens"][4] == len(fifth.token_ids)
    greedy = search_pool.pool_row(engine, problem, 3, 0.0)
    (score,) = engine.score("he", [engine.generate("he", max_new_tokens=128).token_ids])
    assert greedy["text"] == [0, 0, 0]
    assert greedy["likelihood"][0] == pytest.approx(
        math.exp(score.logprob / len(score.token_ids)), rel=1e-3
    )


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators and two verifiers of random weights."""
    folder = tmp_path_factory.mktemp("family")
    head = {"architectures": ["GPT2ForTokenClassification"], "id2label": {"0": "right"}}
    for name, keys in {"0.1m": {}, "3m": {}, "outcome": head, "process": head}.items():
        made = make_engine(folder / "made" / name, {**KEYS, **keys})
        made.model.path.rename(folder / f"stepmath-{name}")
    return folder


@pytest.mark.slow
def test_a_small_run(family: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the dependency group bench")
    options = ["--models", family, "--work", tmp_path, "--problems", 2, "--greedy", 3]
    options += ["--samples", 4, 4, "--searches", 4, "--methods", "beam", "dvts"]
    options += ["--step-problems", 2, "--timed", 1]
    for do in ("run", "run", "time", "report"):
        command = [sys.executable, "-m", "benchmarks.search.stepmath", do, *options]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for text in ("| stepmath-3m | greedy | 1 |", "PRM - ORM", "| beam |", "(one is right)"):
        assert text in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "time.jsonl").read_text().splitlines()]
    assert {row["method"] for row in rows} >= {"greedy", "sample", "orm", "prm", "beam", "dvts"}
    lines = (tmp_path / "stepmath-3m.pool.jsonl").read_text().splitlines()
    pool = [json.loads(line) for line in lines]
    assert [row["problem"] for row in pool] == [0, 1]
