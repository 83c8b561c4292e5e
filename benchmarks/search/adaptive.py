"""Adaptive search judged fairly: fitted on one half of the problems, measured on the other."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.search.selection import Pool, interval, outcomes
from gpt2edge.runtime.search import Allocation, Trial, fit

PROBE: Final = 4
"""Samples that tell how hard a problem is."""
BINS: Final = 5
ARMS: Final = tuple(
    Allocation(method=method, n=n)
    for n in (4, 8, 16, 32, 64, 128, 256)
    for method in ("majority", "best-of-n")
)
CHOICE: Final = {"majority": "majority", "best-of-n": "weighted by check"}


def adaptive_rows(pools: Sequence[Pool]) -> Iterator[Any]:
    """A row for each mean of tokens, that of N samples each: what fitted policies come to.

    The ease of a problem is the share of its first samples that the calculator passes.
    """
    arms = [arm for arm in ARMS if arm.n <= len(pools[0].answers)]
    trials = [_trials(number, pool, arms) for number, pool in enumerate(pools)]
    per_sample = float(np.mean([pool.tokens.mean() for pool in pools]))
    for n in (8, 16, 32, 64):
        if n <= len(pools[0].answers):
            right, tokens = _cross_validated(trials, n * per_sample)
            low, high = interval(right)
            yield {
                "method": "adaptive",
                "n": n,
                "accuracy": float(right.mean()),
                "low": low,
                "high": high,
                "problems": len(right),
                "tokens": round(float(tokens.mean()), 1),
                "verifier_tokens": 0.0,
                "right": [round(float(value), 4) for value in right],
            }


def _trials(number: int, pool: Pool, arms: Sequence[Allocation]) -> list[Trial]:
    orders = pool.orders(number)
    return [
        Trial(
            problem=str(number),
            easiness=float(pool.scores["check"][:PROBE].mean()),
            arm=arm,
            accuracy=float(outcomes(pool, CHOICE[arm.method], orders, arm.n).mean()),
            tokens=arm.n * float(pool.tokens.mean()),
        )
        for arm in arms
    ]


def _cross_validated(trials: Sequence[Sequence[Trial]], tokens: float) -> tuple[Any, Any]:
    """Accuracy and tokens [problems] of the policy that the other half of the problems gave."""
    right, spent = np.zeros(len(trials)), np.zeros(len(trials))
    for fold in (0, 1):
        seen = [trial for own in trials[1 - fold :: 2] for trial in own]
        policy = fit(seen, tokens=tokens, bins=BINS, measure="score", probe=PROBE)
        for number in range(fold, len(trials), 2):
            arm = policy.arm(trials[number][0].easiness)
            (trial,) = [trial for trial in trials[number] if trial.arm == arm]
            right[number], spent[number] = trial.accuracy, trial.tokens
    return right, spent
