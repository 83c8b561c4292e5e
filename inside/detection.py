"""Detection scores: was a text written by cutting the tail of a language model's distribution?

    likelihood        mean log p                                             higher: machine
    rank, logrank     -mean r, -mean log r; ranks from 1                      higher
    entropy           mean entropy of the distributions                       weak
    LRR               sum of -log p over sum of log r (Su et al. 2023)        higher
    GLTR              shares of tokens of rank <= 10, 100, 1,000 (Gehrmann et al. 2019)   higher
    Fast-DetectGPT    (sum log p - sum mu) / sqrt(sum var), mu and var of log q under
                      the model's own q (Bao et al. 2024)                     higher
    Binoculars        mean -log p of the performer over the mean cross-entropy of the observer's
                      distribution under the performer (Hans et al. 2024)     lower

What they find is the cutting of the tail (top-k, top-p, a low temperature), not the machine: text
drawn from a model's whole distribution does not stand out. No score is evidence about a person.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int
from gpt2edge.errors import InsideError
from gpt2edge.inside.statistics import TokenStatistics, distributions
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine

FEWEST: Final = 50
"""Tokens below which a text is too short to score."""
GLTR_RANKS: Final = (10, 100, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScores:
    """Scores of one text; see the module for each. ``lrr`` is infinite where every rank is 1."""

    tokens: int
    likelihood: float
    rank: float
    logrank: float
    entropy: float
    lrr: float
    gltr_10: float
    gltr_100: float
    gltr_1000: float
    fast_detect_gpt: float

    def as_dict(self) -> dict[str, Any]:
        """Return the scores by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Where a text stands among windows of a human text, for each score.

    ``values`` are the shares of the reference's windows, each of as many tokens as the text, that
    have a lower score: near 1, the text looks more machine-made than people's.
    """

    windows: int
    tokens: int
    values: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def detection_scores(statistics: TokenStatistics) -> DetectionScores:
    """Return the scores of a text from the statistics of its tokens.

    Raises ValueError for fewer than 50 tokens: of so few, no score means anything.
    """
    if len(statistics) < FEWEST:
        raise ValueError(
            f"the text has {len(statistics)} tokens; give at least {FEWEST}, below which no score "
            "means anything"
        )
    logprobs, logranks = statistics.logprobs, np.log(statistics.ranks)
    spread = float(np.sqrt(statistics.variances.sum()))
    surprise = float(logprobs.sum() - statistics.means.sum())
    shares = [float((statistics.ranks <= rank).mean()) for rank in GLTR_RANKS]
    total = float(logranks.sum())
    return DetectionScores(
        tokens=len(statistics),
        likelihood=float(logprobs.mean()),
        rank=-float(statistics.ranks.mean()),
        logrank=-float(logranks.mean()),
        entropy=float(statistics.entropies.mean()),
        lrr=-float(logprobs.sum()) / total if total else float("inf"),
        gltr_10=shares[0],
        gltr_100=shares[1],
        gltr_1000=shares[2],
        fast_detect_gpt=surprise / spread if spread else 0.0,
    )


def percentiles(text: TokenStatistics, reference: TokenStatistics) -> Percentiles:
    """Compare a text's scores with those of windows of a human text, of as many tokens each.

    Raises ValueError where the reference has fewer than 10 such windows.
    """
    size = len(text)
    starts = range(0, len(reference) - size + 1, size)
    if len(starts) < 10:
        raise ValueError(
            f"the reference has {len(reference):,} tokens, {len(starts)} windows of the text's "
            f"{size:,}; give at least {10 * size:,}, or a shorter text"
        )
    mine = detection_scores(text).as_dict()
    others = [detection_scores(reference.part(at, at + size)).as_dict() for at in starts]
    values = {
        name: float(np.mean([_below(other[name], value) for other in others]))
        for name, value in mine.items()
        if name not in ("tokens", "entropy")
    }
    return Percentiles(windows=len(others), tokens=size, values=values)


def _below(other: float, value: float) -> float:
    return 0.5 if other == value else float(other < value)


def binoculars(observer: Engine, performer: Engine, text: Prompt) -> float:
    """Return the Binoculars score of a text: the lower, the more it looks machine-made.

    Raises InsideError where the two models have different tokenizers, ValueError for fewer than 50
    tokens.
    """
    if (
        observer.tokenizer is None
        or performer.tokenizer is None
        or not (observer.tokenizer.agrees_with(performer.tokenizer))
    ):
        raise InsideError(
            f"{observer.model.path} and {performer.model.path} must have one tokenizer: their "
            "distributions are compared token by token"
        )
    token_ids = observer.encode(text, add_special_tokens=False)
    check_int("tokens of the text", len(token_ids), FEWEST, 2**31)
    bos = performer.config.bos_token_id
    whole = token_ids if bos is None else [bos, *token_ids]
    losses: list[NDArray[np.float64]] = []
    crossed: list[NDArray[np.float64]] = []
    context = min(observer.config.n_positions, performer.config.n_positions)
    both = [distributions(engine, whole, context) for engine in (observer, performer)]
    pairs = zip(*both, strict=True)
    for (seen, _), (written, targets) in pairs:
        losses.append(-written[np.arange(len(targets)), targets])
        crossed.append(-(np.exp(seen) * written).sum(axis=1))
    return float(np.concatenate(losses).mean() / np.concatenate(crossed).mean())


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the share of pairs in which the positive score is the higher; ties count half."""
    first, second = np.asarray(positive, float)[:, None], np.asarray(negative, float)
    return float((first > second).mean() + 0.5 * (first == second).mean())
