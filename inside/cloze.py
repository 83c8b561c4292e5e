"""Cloze tests: what a model puts into a blank, after Gary Marcus's six kinds of questions.

A row is {"prompt", "expected": [...], "alternatives"?: [...], "kind"?}. The rank of the best
expected first token, from 1, gives precision at 1 and 10 and the mean reciprocal rank. Where there
are alternatives, whole continuations are compared in pairs. A row {"sentence": "... ___ ...",
"expected", "alternatives"} compares whole sentences, as minicons and BLiMP do.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from gpt2edge._checks import check_callable, check_list, check_text
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.runtime.engine import Engine

BLANK: Final = "___"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClozeRow:
    """What the model said to one row.

    ``rank`` (from 1) and ``likeliest`` are of the first token after a prompt, None for a sentence.
    ``pairs_right`` of ``pairs`` of an expected text and an alternative are in the right order.
    """

    kind: str
    prompt: str
    expected: tuple[str, ...]
    rank: int | None
    likeliest: tuple[str, ...]
    pairs_right: int
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClozeFigures:
    """Figures over rows; NaN where no row has what they need."""

    rows: int
    precision_1: float
    precision_10: float
    mrr: float
    pairwise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClozeReport:
    """Figures of all rows and by kind, and the rows."""

    figures: ClozeFigures
    kinds: dict[str, ClozeFigures]
    rows: tuple[ClozeRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def probe(
    engine: Engine,
    rows: Sequence[Mapping[str, Any]],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ClozeReport:
    """Ask every row. Raises ValueError for a row that is of neither form."""
    check_callable("progress", progress)
    engine.model.require_language_model()
    given = check_list("rows", rows, "a list of rows")
    if not given:
        raise ArgumentError(Argument("rows"), " is empty; give one row or more")
    for number, row in enumerate(given, 1):
        _check(row, number)
    found = []
    for row in given:
        found.append(_sentence(engine, row) if "sentence" in row else _prompt(engine, row))
        if progress is not None:
            progress(len(found), len(given))
    kinds = dict.fromkeys(row.kind for row in found)
    return ClozeReport(
        figures=_figures(found),
        kinds={kind: _figures([row for row in found if row.kind == kind]) for kind in kinds},
        rows=tuple(found),
    )


def _check(row: Mapping[str, Any], number: int) -> None:
    for key in ("expected", "alternatives"):
        for text in check_list(f"{key} of row {number}", row.get(key, ()), "a list of texts"):
            check_text(f"{key} of row {number}", text, empty=False, part="a text in ")
    if not row.get("expected"):
        raise ArgumentError(f"row {number} has no 'expected'; give a list of texts")
    if "sentence" in row:
        check_text(f"sentence of row {number}", row["sentence"])
        if row["sentence"].count(BLANK) != 1 or not row.get("alternatives"):
            raise ArgumentError(f"row {number}: a sentence needs one {BLANK} and alternatives")
    elif not row.get("prompt"):
        raise ArgumentError(f"row {number} has neither 'prompt' nor 'sentence'")
    else:
        check_text(f"prompt of row {number}", row["prompt"], empty=False)


def _prompt(engine: Engine, row: Mapping[str, Any]) -> ClozeRow:
    """Rank the first tokens of the expected texts, and compare them with the alternatives."""
    prompt, expected = row["prompt"], tuple(row["expected"])
    others = tuple(row.get("alternatives", ()))
    logits = engine.logits(prompt)[-1]
    first = {engine.encode(text, add_special_tokens=False)[0] for text in expected}
    rank = min(int((logits > logits[token]).sum()) + 1 for token in first)
    best = np.argsort(-logits, kind="stable")[:5]
    sums = [score.logprob for score in engine.score(prompt, [*expected, *others])] if others else []
    right = _in_order(sums[: len(expected)], sums[len(expected) :])
    return ClozeRow(
        kind=str(row.get("kind", "")),
        prompt=prompt,
        expected=expected,
        rank=rank,
        likeliest=tuple(engine.decode([int(token)]) for token in best),
        pairs_right=right,
        pairs=len(expected) * len(others),
    )


def _sentence(engine: Engine, row: Mapping[str, Any]) -> ClozeRow:
    """Compare whole sentences by the sum of their log-probabilities."""
    expected, others = tuple(row["expected"]), tuple(row["alternatives"])
    sums = [_logprob(engine, row["sentence"].replace(BLANK, text)) for text in (*expected, *others)]
    return ClozeRow(
        kind=str(row.get("kind", "")),
        prompt=row["sentence"],
        expected=expected,
        rank=None,
        likeliest=(),
        pairs_right=_in_order(sums[: len(expected)], sums[len(expected) :]),
        pairs=len(expected) * len(others),
    )


def _logprob(engine: Engine, text: str) -> float:
    """Return the log-probability of a text after the begin-of-text token."""
    measured = engine.perplexity(text)
    return -measured.mean_nll * measured.tokens


def _in_order(expected: Sequence[float], others: Sequence[float]) -> int:
    return sum(mine > other for mine in expected for other in others)


def _figures(rows: Sequence[ClozeRow]) -> ClozeFigures:
    ranks = [row.rank for row in rows if row.rank is not None]
    pairs = sum(row.pairs for row in rows)
    return ClozeFigures(
        rows=len(rows),
        precision_1=_mean([rank == 1 for rank in ranks]),
        precision_10=_mean([rank <= 10 for rank in ranks]),
        mrr=_mean([1 / rank for rank in ranks]),
        pairwise=sum(row.pairs_right for row in rows) / pairs if pairs else math.nan,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
