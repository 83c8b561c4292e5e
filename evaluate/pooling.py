"""Pool evaluations of the same models on several machines into one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from gpt2edge._checks import check_list, check_type
from gpt2edge.evaluate.estimates import Estimate
from gpt2edge.evaluate.quality import Quality
from gpt2edge.evaluate.records import EvaluatedModel, Evaluation, Spread

_SAME: tuple[str, ...] = ("text_sha256", "context", "stride", "passages", "pairs")
_SAME_SPEED: tuple[str, ...] = ("prefill", "decode")


def pool(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return one evaluation of all machines: the same models, asked the same questions.

    Speeds and times are geometric means over the evaluations, with the least and the largest of
    all; peak memory is the largest. Figures of quality differ between processors by rounding alone:
    they are means, and their errors too, since the same tokens were read. Raises ValueError where
    models or questions differ.
    """
    for each in check_list("evaluations", evaluations, "a list of Evaluation"):
        check_type("evaluations", each, Evaluation, "a list of Evaluation")
    if not evaluations:
        raise ValueError("evaluations is empty; give at least one")
    first, *others = evaluations
    if not others:
        return first
    for other in others:
        _check_alike(first, other)
    rows = zip(*(each.models for each in evaluations), strict=True)
    return replace(
        first,
        models=tuple(_pooled(row) for row in rows),
        machines=tuple(machine for each in evaluations for machine in each.machines),
    )


def _check_alike(a: Evaluation, b: Evaluation) -> None:
    if [model.digest for model in a.models] != [model.digest for model in b.models]:
        raise ValueError(
            f"the models differ: {_names(a)} and {_names(b)}; pool evaluations of the same models, "
            "in the same order"
        )
    for name in (*_SAME, *_SAME_SPEED):
        if getattr(a, name) != getattr(b, name):
            raise ValueError(
                f"{name} is {getattr(a, name)} in one evaluation and {getattr(b, name)} in "
                "another; pool only what was measured in the same way"
            )


def _names(evaluation: Evaluation) -> str:
    return ", ".join(model.name for model in evaluation.models)


def _pooled(rows: Sequence[EvaluatedModel]) -> EvaluatedModel:
    """Return the row of one model from its rows on every machine."""
    first = rows[0]
    changes: dict[str, Any] = {
        name: _each(rows, name, _mean_spread)
        for name in ("prefill_ts", "decode_ts", "first_token_ms")
    }
    changes |= {name: _each(rows, name, _mean_estimate) for name in ("lambada", "blimp")}
    changes["peak_rss_bytes"] = _each(rows, "peak_rss_bytes", max)
    changes["quality"] = _each(rows, "quality", _mean_quality)
    return replace(first, **changes)


def _each(rows: Sequence[Any], name: str, join: Callable[[Sequence[Any]], Any]) -> Any:
    """Join the values of a field; None where a row has none."""
    values = [getattr(row, name) for row in rows]
    return None if any(value is None for value in values) else join(values)


def _mean_spread(values: Sequence[Spread]) -> Spread:
    mean = math.exp(fmean(math.log(each.value) for each in values))
    return Spread(mean, min(each.low for each in values), max(each.high for each in values))


def _mean_estimate(values: Sequence[Estimate]) -> Estimate:
    errors = fmean(each.standard_error for each in values)
    return Estimate(fmean(each.value for each in values), errors)


def _mean_quality(values: Sequence[Quality]) -> Quality:
    names = ("perplexity", "bits_per_byte", "increase", "kl", "top1")
    return replace(values[0], **{name: _each(values, name, _mean_estimate) for name in names})
