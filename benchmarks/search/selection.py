"""What each way to choose makes of many samples of a problem, over random subsets of them.

One pool of samples serves every N: a method's accuracy at N is its mean over random orders of the
pool, of which it sees the first N. That is unbiased, and takes all samples into account.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ORDERS: Final = 64
RESAMPLES: Final = 2000
AGGREGATES: Final = ("last", "min", "prod", "mean")


@dataclass(frozen=True)
class Pool:
    """Samples of one problem: ``answers`` [samples] by number, -1 for none; what is right is 0.

    ``scores`` [samples] by name; ``tokens`` [samples] generated.
    """

    answers: Ints
    scores: Mapping[str, Floats]
    tokens: Ints

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Pool":
        """From a row that ``search_pool`` wrote."""
        numbers = {row["expected"]: 0, None: -1}
        answers = [numbers.setdefault(answer, len(numbers) - 1) for answer in row["answers"]]
        names = ("likelihood", "check", "orm")
        scores = {name: np.array(row[name]) for name in names if row.get(name) is not None}
        if "check" in scores:  # all that fail it are better than nothing, and equal
            scores["check"] = scores["check"] + 1e-6
        if row.get("prm") is not None:
            for how in AGGREGATES:
                scores[f"prm {how}"] = np.array([_aggregate(steps, how) for steps in row["prm"]])
        return cls(np.array(answers), scores, np.array(row["tokens"]))

    def orders(self, problem: int) -> Ints:
        """Random orders [orders, samples] of the samples, the same each time."""
        random = np.random.default_rng((41, problem))
        every = np.tile(np.arange(len(self.answers)), (ORDERS, 1))
        return random.permuted(every, axis=1)


def _aggregate(steps: Sequence[float], how: str) -> float:
    values = np.array(steps)
    chosen = {"last": values[-1], "min": values.min(), "mean": values.mean()}
    return float(chosen[how] if how in chosen else np.exp(np.log(np.maximum(values, 1e-12)).sum()))


def best(answers: Ints, scores: Floats) -> NDArray[np.bool_]:
    """Whether the sample of the highest score, the first of equals, is right, in each row."""
    rows = np.arange(len(answers))
    right: NDArray[np.bool_] = answers[rows, scores.argmax(axis=1)] == 0
    return right


def elected(answers: Ints, weights: Floats) -> NDArray[np.bool_]:
    """Whether the answer of the largest summed weight, the first seen of equals, is right."""
    rows, count = len(answers), int(answers.max(initial=0)) + 1
    sums = np.zeros((rows, count))
    first = np.full((rows, count), answers.shape[1])
    for at in range(answers.shape[1] - 1, -1, -1):
        voting = answers[:, at] >= 0
        chosen = answers[voting, at]
        first[voting, chosen] = at
        sums[voting, chosen] += weights[voting, at]
    largest = sums.max(axis=1, keepdims=True)
    voted = first < answers.shape[1]
    # of equals, up to rounding, the one seen first
    leads = (sums >= largest - 1e-12 * np.maximum(1.0, largest)) & voted
    place = np.where(leads, first, answers.shape[1] + 1).argmin(axis=1)
    right: NDArray[np.bool_] = leads.any(axis=1) & (place == 0)
    return right


def outcomes(pool: Pool, method: str, orders: Ints, n: int) -> NDArray[np.bool_]:
    """Whether ``method`` is right on the first ``n`` of each order.

    A method is "majority", "pass" (some sample is right), "best by SCORE" or "weighted by SCORE".
    """
    chosen = orders[:, :n]
    answers = pool.answers[chosen]
    if method == "pass":
        some: NDArray[np.bool_] = (answers == 0).any(axis=1)
        return some
    if method == "majority":
        return elected(answers, np.ones(answers.shape))
    how, _, score = method.partition(" by ")
    scores = pool.scores[score][chosen]
    return best(answers, scores) if how == "best" else elected(answers, scores)


def accuracy(pools: Sequence[Pool], method: str, n: int) -> Floats:
    """Each problem's chance that ``method`` with ``n`` samples is right."""
    return np.array(
        [
            outcomes(pool, method, pool.orders(problem), n).mean()
            for problem, pool in enumerate(pools)
        ]
    )


def interval(values: Floats) -> tuple[float, float]:
    """95 % of the means of problems drawn again (percentile bootstrap)."""
    random = np.random.default_rng(5)
    draws = random.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
