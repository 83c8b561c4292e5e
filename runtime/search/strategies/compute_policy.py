"""Policies: which method, and how much of it, for how hard a problem.

The compute-optimal scaling of Snell et al. 2024 (section 3), with the difficulty that a model can
see: no answer is known.
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
"""How easy a problem looks: the share of the first samples that give the most frequent answer, or
the mean of the verifier's scores of them."""

FORMAT: Final = "gpt2edge-policy-1"
_METHODS: Final = ("majority", "best-of-n", "beam", "dvts")
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A method with its size: ``n`` candidates, and for steps ``width`` samples of each."""

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
                f"an arm has n {self.n} and width {self.width}; n must be a multiple of it"
            )

    @property
    def samples_steps(self) -> bool:
        """Whether it searches over steps, and not among whole samples."""
        return self.method in ("beam", "dvts")

    @property
    def needs_verifier(self) -> bool:
        """Whether it asks a verifier."""
        return self.method != "majority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``arms[i]`` for a problem whose ease passes ``i`` of the ``edges``, the hardest first.

    The ease of a problem is that of its first ``probe`` samples, by ``measure``.
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
        """What to do where nothing was measured: up to ``n`` samples, by how far four agree.

        All four: no more are drawn. Three: a quarter of ``n``. Fewer: all ``n``. A verifier
        weighs the votes where there is one. ``fit`` makes a better policy of measured rows.
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
        """Whether a verifier is asked, for the ease or by an arm."""
        return self.measure == "score" or any(arm.needs_verifier for arm in self.arms)

    def easiness(self, candidates: Sequence[Candidate]) -> float:
        """How easy the problem of these samples looks."""
        if self.measure == "score":
            return math.fsum(c.score or 0.0 for c in candidates) / len(candidates)
        return agreement([candidate.answer for candidate in candidates])

    def arm(self, easiness: float) -> Allocation:
        """The arm for a problem of this ease."""
        return self.arms[bisect_right(self.edges, easiness)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy as JSON."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=2)
        write_whole(path, text + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Policy":
        """Read what ``save`` wrote. Raises FileFormatError for anything else."""
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
    """The share of ``answers`` that are the most frequent one; None is no answer."""
    counts = Counter(answer for answer in answers if answer is not None)
    return max(counts.values(), default=0) / len(answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one arm did on one problem: how often it was right, and the tokens that took."""

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
    """The policy of the highest mean accuracy on ``trials`` whose mean cost is within ``tokens``.

    Problems fall into up to ``bins`` of equal size by ease. A price on tokens, the lowest that
    keeps to the mean, chooses the arm of each bin (a Lagrange multiplier): easy problems are given
    what hard ones have more use for. Every bin must have all arms. Judge a policy on problems
    other than these. Raises ValueError where even the cheapest arms cost more.
    """
    for trial in check_list("trials", trials, "a list of Trial"):
        check_type("trials", trial, Trial, "a list of Trial")
    if tokens is not None:
        check_float("tokens", tokens, 0, math.inf)
    eases = {trial.problem: trial.easiness for trial in trials}
    edges = _quantiles(sorted(eases.values()), check_int("bins", bins, 1, 1024))
    table = _means(trials, edges)

    sizes = Counter(bisect_right(edges, easiness) for easiness in eases.values())

    def chosen(price: float) -> list[Allocation]:
        return [
            max(arms, key=lambda arm: (arms[arm][0] - price * arms[arm][1], -arms[arm][1]))
            for arms in table
        ]

    def cost(arms: Sequence[Allocation]) -> float:
        spent = [sizes[at] * table[at][arm][1] for at, arm in enumerate(arms)]
        return math.fsum(spent) / len(eases)

    price = 0.0
    if tokens is not None and cost(chosen(price)) > tokens:
        low, price = 0.0, 1.0  # a token for an answer: more than any arm is worth
        if (least := cost(chosen(price))) > tokens:
            raise ValueError(f"tokens is {tokens}; even the cheapest arms take {least:.1f}")
        for _ in range(_HALVINGS):
            middle = (low + price) / 2
            low, price = (low, middle) if cost(chosen(middle)) <= tokens else (middle, price)
    return Policy(arms=tuple(chosen(price)), edges=edges, measure=measure, probe=probe)


def _quantiles(ascending: Sequence[float], bins: int) -> tuple[float, ...]:
    """Edges between bins of like size, fewer where many values are equal."""
    if not ascending:
        raise ValueError("there are no trials to fit a policy to")
    edges = {ascending[len(ascending) * at // bins] for at in range(1, bins)}
    return tuple(sorted(edges - {ascending[0]}))


def _means(
    trials: Sequence[Trial], edges: tuple[float, ...]
) -> list[Mapping[Allocation, tuple[float, float]]]:
    """Of each bin, each arm's mean accuracy and tokens."""
    table: list[dict[Allocation, list[Trial]]] = [{} for _ in range(len(edges) + 1)]
    for trial in trials:
        table[bisect_right(edges, trial.easiness)].setdefault(trial.arm, []).append(trial)
    every = {trial.arm for trial in trials}
    if any(set(found) != every for found in table):
        raise ValueError("some bins lack some arms: measure every arm on every problem")
    return [
        {
            arm: (
                math.fsum(trial.accuracy for trial in own) / len(own),
                math.fsum(trial.tokens for trial in own) / len(own),
            )
            for arm, own in found.items()
        }
        for found in table
    ]
