"""Policies: choose a search method and its size by the difficulty of the problem.

This is the compute-optimal scaling of Snell et al. 2024 (section 3), with a difficulty estimated
by the model: no answer is known.
"""

import json
import math
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from gpt2edge._checks import (
    check_bool,
    check_float,
    check_int,
    check_list,
    check_one_of,
    check_path,
    check_text,
    check_type,
)
from gpt2edge._files import write_whole
from gpt2edge._text import text_of
from gpt2edge.errors import FileFormatError
from gpt2edge.runtime.search.arguments import CHOICES
from gpt2edge.runtime.search.budget import Candidate
from gpt2edge.runtime.search.strategies.best_of_n import Choice

Measure: TypeAlias = Literal["agreement", "score"]
"""How to estimate easiness: the share of the first samples that give the most frequent answer, or
the mean of the verifier's scores of them."""

FORMAT: Final = "gpt2edge-policy-1"
_METHODS: Final = ("majority", "best-of-n", "beam", "dvts")
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A method and its size: ``n`` candidates, in a search over steps ``width`` samples each."""

    method: Literal["majority", "best-of-n", "beam", "dvts"]
    n: int
    width: int = 4
    choose: Choice = "weighted"

    def __post_init__(self) -> None:
        check_one_of("method", self.method, _METHODS)
        check_one_of("choose", self.choose, CHOICES)
        check_int("n", self.n, 1, 16_384, part="an arm's ")
        check_int("width", self.width, 1, 16_384, part="an arm's ")
        if self.samples_steps and self.n % self.width:
            raise ValueError(
                f"an arm has n {self.n} and width {self.width}; n must be a multiple of width"
            )

    @property
    def samples_steps(self) -> bool:
        """Return whether it searches over steps rather than among whole samples."""
        return self.method in ("beam", "dvts")

    @property
    def needs_verifier(self) -> bool:
        """Return whether it needs a verifier."""
        return self.method != "majority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An allocation for each range of easiness: ``arms[i]`` where it reaches ``i`` of ``edges``.

    ``arms`` go from the hardest problems to the easiest. The easiness of a problem is estimated
    from its first ``probe`` samples, by ``measure``.
    """

    arms: tuple[Allocation, ...]
    edges: tuple[float, ...] = ()
    measure: Measure = "agreement"
    probe: int = 4

    def __post_init__(self) -> None:
        check_one_of("measure", self.measure, ("agreement", "score"))
        check_int("probe", self.probe, 1, 16_384)
        for edge in check_list("edges", self.edges, "a tuple of numbers"):
            check_float("edges", edge, -math.inf, math.inf, part="a number in ")
        for arm in check_list("arms", self.arms, "a tuple of Allocation"):
            check_type("arms", arm, Allocation, "a tuple of Allocation")
        if len(self.arms) != len(self.edges) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise ValueError(
                f"a policy has {len(self.arms)} arms and the edges {list(self.edges)}; there must "
                "be one arm more than edges, and the edges must ascend"
            )

    @classmethod
    def default(cls, n: int, *, verified: bool) -> "Policy":
        """Return a policy for use without measurements: up to ``n`` samples, by agreement.

        If all four probe samples agree, no more are drawn; if three agree, a quarter of ``n``;
        otherwise all ``n``. With ``verified``, a verifier weights the votes. ``fit`` makes a better
        policy from measured trials.
        """
        check_int("n", n, 1, 16_384)
        check_bool("verified", verified)
        probe = min(4, n)
        method: Any = "best-of-n" if verified else "majority"
        sizes = (n, max(probe, n // 4), probe)
        return cls(
            arms=tuple(Allocation(method=method, n=size) for size in sizes),
            edges=(0.6, 0.9),
            probe=probe,
        )

    @property
    def needs_verifier(self) -> bool:
        """Return whether easiness or any arm needs a verifier."""
        return self.measure == "score" or any(arm.needs_verifier for arm in self.arms)

    def easiness(self, candidates: Sequence[Candidate]) -> float:
        """Return the easiness of the problem, estimated from these samples."""
        if self.measure == "score":
            return math.fsum(c.score or 0.0 for c in candidates) / len(candidates)
        return agreement([candidate.answer for candidate in candidates])

    def arm(self, easiness: float) -> Allocation:
        """Return the arm for a problem of this easiness."""
        return self.arms[bisect_right(self.edges, easiness)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy as JSON."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2)
        write_whole(path, text + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Policy":
        """Read a policy that ``save`` wrote. Raises FileFormatError for anything else."""
        check_path("path", path)
        try:
            keys = json.loads(text_of(Path(path).read_bytes(), "it"))
            if keys.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT!r}")
            arms = tuple(Allocation(**arm) for arm in keys.pop("arms"))
            return cls(arms=arms, edges=tuple(keys.pop("edges")), **keys)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FileFormatError(f"{os.fspath(path)} is not a saved policy: {error}") from None


def agreement(answers: Sequence[str | None]) -> float:
    """Return the share of ``answers`` equal to the most frequent one; None is no answer."""
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts.values(), default=0) / len(answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The measurement of one arm on one problem: its accuracy, and its cost in tokens."""

    problem: str
    easiness: float
    arm: Allocation
    accuracy: float
    tokens: float

    def __post_init__(self) -> None:
        check_text("problem", self.problem)
        check_type("arm", self.arm, Allocation, "an Allocation")
        check_float("easiness", self.easiness, -math.inf, math.inf)
        check_float("accuracy", self.accuracy, 0, 1)
        check_float("tokens", self.tokens, 0, math.inf)


def fit(
    trials: Sequence[Trial],
    *,
    tokens: float | None = None,
    bins: int = 5,
    measure: Measure = "agreement",
    probe: int = 4,
) -> Policy:
    """Fit the policy of the highest mean accuracy on ``trials`` at a mean cost within ``tokens``.

    Problems are sorted by easiness into up to ``bins`` bins of equal size. A price per token (a
    Lagrange multiplier), the lowest that keeps the mean cost within the limit, chooses the arm of
    each bin, so that tokens go where they raise accuracy most. Every bin must have all arms.
    Evaluate a policy on other problems. Raises ValueError where even the cheapest arms cost more.
    """
    for trial in check_list("trials", trials, "a list of Trial"):
        check_type("trials", trial, Trial, "a list of Trial")
    if tokens is not None:
        check_float("tokens", tokens, 0, math.inf)
    easiness = {trial.problem: trial.easiness for trial in trials}
    edges = _quantiles(sorted(easiness.values()), check_int("bins", bins, 1, 1024))
    table = _means(trials, edges)

    sizes = Counter(bisect_right(edges, value) for value in easiness.values())

    def chosen(price: float) -> list[Allocation]:
        return [
            max(arms, key=lambda arm: (arms[arm][0] - price * arms[arm][1], -arms[arm][1]))
            for arms in table
        ]

    def cost(arms: Sequence[Allocation]) -> float:
        spent = [sizes[index] * table[index][arm][1] for index, arm in enumerate(arms)]
        return math.fsum(spent) / len(easiness)

    price = 0.0
    if tokens is not None and cost(chosen(price)) > tokens:
        low, price = 0.0, 1.0  # at one answer per token every bin takes its cheapest arm
        if (least := cost(chosen(price))) > tokens:
            raise ValueError(
                f"tokens is {tokens}; even the cheapest arms take {least:.1f}: allow more"
            )
        for _ in range(_HALVINGS):
            middle = (low + price) / 2
            low, price = (low, middle) if cost(chosen(middle)) <= tokens else (middle, price)
    return Policy(arms=tuple(chosen(price)), edges=edges, measure=measure, probe=probe)


def _quantiles(ascending: Sequence[float], bins: int) -> tuple[float, ...]:
    """Return the edges between bins of equal size, fewer where many values are equal."""
    if not ascending:
        raise ValueError("there are no trials to fit a policy to: give one or more")
    edges = {ascending[len(ascending) * index // bins] for index in range(1, bins)}
    return tuple(sorted(edges - {ascending[0]}))


def _means(
    trials: Sequence[Trial], edges: tuple[float, ...]
) -> list[Mapping[Allocation, tuple[float, float]]]:
    """Return, for each bin, each arm's mean accuracy and mean tokens."""
    table: list[dict[Allocation, list[Trial]]] = [{} for _ in range(len(edges) + 1)]
    for trial in trials:
        table[bisect_right(edges, trial.easiness)].setdefault(trial.arm, []).append(trial)
    every = {trial.arm for trial in trials}
    if any(set(by_arm) != every for by_arm in table):
        raise ValueError("some bins lack some arms: measure every arm on every problem")
    return [
        {
            arm: (
                math.fsum(trial.accuracy for trial in measured) / len(measured),
                math.fsum(trial.tokens for trial in measured) / len(measured),
            )
            for arm, measured in by_arm.items()
        }
        for by_arm in table
    ]
