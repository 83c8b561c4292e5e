"""An evaluation as a table: cells for people, Markdown, and CSV with every digit."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from gpt2edge._checks import check_type
from gpt2edge.evaluate.estimates import Estimate
from gpt2edge.evaluate.records import EvaluatedModel, Evaluation, Spread

_MOST_DIGITS: Final = 6
_MINUS: Final = "-"
ESTIMATE: Final = {"value": "", "standard_error": "_se"}
SPREAD: Final = {"value": "", "low": "_low", "high": "_high"}
"""Columns of CSV: what is added to the name of a record, by its field."""


def cells(evaluation: Evaluation) -> list[list[str]]:
    """Return the table: a row of titles, then a row for each model.

    A column that no model has is left out; a missing value is ``-``. An error has two digits, and
    the values of a column the same number after the point.
    """
    models = evaluation.models
    ranges = len(evaluation.machines) > 1
    columns = [
        ["model", *(each.name for each in models)],
        ["recipe", *(each.recipe for each in models)],
        ["size MB", *(_size(each.nbytes) for each in models)],
        ["perplexity", *_estimates(_quality(models, "perplexity"))],
        ["increase %", *_estimates(_quality(models, "increase"), scale=100, signed=True)],
        ["KL nats", *_means(_quality(models, "kl"))],
        ["top-1 %", *_means(_quality(models, "top1"), scale=100, shown=1)],
        ["bits/byte", *_means(_quality(models, "bits_per_byte"), shown=3)],
        ["LAMBADA %", *_estimates([each.lambada for each in models], scale=100)],
        ["BLiMP %", *_estimates([each.blimp for each in models], scale=100)],
        ["prefill t/s", *_spreads([each.prefill_ts for each in models], ranges)],
        ["decode t/s", *_spreads([each.decode_ts for each in models], ranges)],
        ["first token ms", *_spreads([each.first_token_ms for each in models], ranges)],
        ["peak MB", *(_memory(each.peak_rss_bytes) for each in models)],
    ]
    shown = [column for column in columns if any(cell != _MINUS for cell in column[1:])]
    if [each.name for each in models] == [each.recipe for each in models]:
        shown.pop(1)
    return [list(row) for row in zip(*shown, strict=True)]


def caption(evaluation: Evaluation) -> list[str]:
    """Return sentences that say how the figures were taken."""
    first = evaluation.models[0]
    sentences = []
    if first.quality is not None:
        sentences.append(
            f"on {evaluation.text}: {first.quality.tokens:,} tokens, windows of "
            f"{evaluation.context} moved by {evaluation.stride}"
            + f"; increase, KL and top-1 against {first.name}"
            * (len(evaluation.models) > 1)
        )
    if evaluation.passages or evaluation.pairs:
        counts = ((evaluation.passages, "passages"), (evaluation.pairs, "minimal pairs"))
        sentences.append(" and ".join(f"{count:,} {name}" for count, name in counts if count))
    if evaluation.decode:
        prompt, decode = _decode(evaluation.decode)
        sentences.append(
            f"prefill of {(evaluation.prefill or '').removeprefix('pp')} tokens; first token and "
            f"{decode} more after a prompt of {prompt}; medians of {evaluation.repetitions} turns"
        )
    machines = [
        f"{each.cpu}, {each.threads} threads, onnxruntime {each.onnxruntime}"
        for each in evaluation.machines
    ]
    if len(machines) > 1:
        sentences.append(f"means over {len(machines)} machines, in brackets the extremes")
    return [*sentences, *machines]


def markdown_table(evaluation: Evaluation) -> str:
    """Return the table and its caption in Markdown."""
    check_type("evaluation", evaluation, Evaluation, "an Evaluation")
    head, *rows = cells(evaluation)
    words = {"model", "recipe"}
    rule = ["---" if title in words else "---:" for title in head]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]
    return "\n".join([*lines, "", f"{_sentence(caption(evaluation))}", ""])


def csv_table(evaluation: Evaluation) -> str:
    """Return a line for each model with every digit; errors and extremes have their columns."""
    check_type("evaluation", evaluation, Evaluation, "an Evaluation")
    rows = [dict(_flat(model)) for model in evaluation.models]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(model: EvaluatedModel) -> Iterator[tuple[str, Any]]:
    for name in ("name", "path", "recipe", "digest", "nbytes"):
        yield name, getattr(model, name)
    quality = model.quality
    yield "tokens", quality and quality.tokens
    for name in ("perplexity", "increase", "kl", "top1", "bits_per_byte"):
        yield from _fields(name, quality and getattr(quality, name), ESTIMATE)
    for name in ("lambada", "blimp"):
        yield from _fields(name, getattr(model, name), ESTIMATE)
    for name in ("prefill_ts", "decode_ts", "first_token_ms"):
        yield from _fields(name, getattr(model, name), SPREAD)
    yield "peak_rss_bytes", model.peak_rss_bytes


def _fields(name: str, record: object, suffixes: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for field, suffix in suffixes.items():
        yield name + suffix, None if record is None else getattr(record, field)


def _quality(models: Sequence[EvaluatedModel], name: str) -> list[Estimate | None]:
    return [None if each.quality is None else getattr(each.quality, name) for each in models]


def _estimates(
    values: Sequence[Estimate | None], *, scale: float = 1, signed: bool = False
) -> list[str]:
    """Format values with their errors, all with as many digits as the least error needs."""
    errors = [scale * each.standard_error for each in values if each]
    digits = _digits(errors)
    sign = "+" if signed else ""

    def cell(each: Estimate) -> str:
        value = f"{scale * each.value:{sign}.{digits}f}"
        error = scale * each.standard_error
        return f"{value} ± {error:.{digits}f}" if math.isfinite(error) else value

    return _formatted(values, cell)


def _means(values: Sequence[Estimate | None], *, scale: float = 1, shown: int = 2) -> list[str]:
    """Format values without their errors, down to ``shown`` digits of the least error."""
    digits = _digits([scale * each.standard_error for each in values if each], shown)
    return _formatted(values, lambda each: f"{scale * each.value:.{digits}f}")


def _digits(errors: Sequence[float], shown: int = 2) -> int:
    """Return how many digits after the point show so many digits of the least error."""
    known = [error for error in errors if math.isfinite(error) and error > 0]
    if not known:
        return 2
    return min(max(0, shown - 1 - math.floor(math.log10(min(known)))), _MOST_DIGITS)


def _spreads(values: Sequence[Spread | None], ranges: bool) -> list[str]:
    def number(value: float) -> str:
        return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"

    def cell(each: Spread) -> str:
        shown = number(each.value)
        return f"{shown} ({number(each.low)} to {number(each.high)})" if ranges else shown

    return _formatted(values, cell)


def _formatted(values: Sequence[Any], cell: Callable[[Any], str]) -> list[str]:
    return [_MINUS if each is None else cell(each) for each in values]


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.1f}" if nbytes >= 1e6 else f"{nbytes / 1e6:.3f}"


def _memory(nbytes: int | None) -> str:
    return _MINUS if nbytes is None else f"{nbytes / 1e6:,.0f}"


def _decode(name: str) -> tuple[str, str]:
    """Return the prompt and the new tokens of a test such as ``tg64 @ d128``."""
    new, _, prompt = name.partition(" @ d")
    return prompt, new.removeprefix("tg")


def _sentence(parts: Sequence[str]) -> str:
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)
