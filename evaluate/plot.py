"""An evaluation as a picture: quality against size and against speed, in SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final, TypeAlias

from gpt2edge._checks import check_type
from gpt2edge.evaluate.estimates import Estimate
from gpt2edge.evaluate.records import EvaluatedModel, Evaluation
from gpt2edge.evaluate.table import caption

_PLOT, _HEIGHT, _LEFT, _TOP, _BETWEEN = 330, 240, 62, 66, 40
"""Pixels: width and height of a panel's plot, before the first, above, between two."""
_COLORS: Final = ("#57606a", "#1b6ca8", "#d1721b", "#2f8f4e", "#a23b72", "#7a5cc4", "#a38112")
_INK, _PALE, _GRID = "#24292f", "#57606a", "#e3e6e9"
_LETTER: Final = 0.57
"""Width of a letter in heights; generous for a sans-serif."""
_LOGARITHMIC_FROM: Final = 5.0

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom of a rectangle."""


@dataclass(frozen=True, slots=True)
class Point:
    """A model in a panel: its name, colour, place, and the error of ``y``."""

    name: str
    color: str
    x: float
    y: float
    error: float


@dataclass(frozen=True, slots=True)
class Scale:
    """Places of values on an axis, logarithmic or not."""

    low: float
    high: float
    first: float
    last: float
    logarithmic: bool

    def __call__(self, value: float) -> float:
        """Return the place of ``value`` in pixels."""
        low, high, value = (
            map(math.log, (self.low, self.high, value))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        return self.first + (value - low) / (high - low) * (self.last - self.first)

    def ticks(self) -> list[float]:
        """Return four to eight round values."""
        if self.logarithmic:
            marks = [m * 10.0**e for e in range(-9, 13) for m in (1, 2, 5)]
            return [mark for mark in marks if self.low <= mark <= self.high]
        step = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(step))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= 0.8 * step)
        first = math.ceil(self.low / step)
        return [round(n * step, 12) for n in range(first, math.floor(self.high / step) + 1)]


def svg_plot(evaluation: Evaluation) -> str:
    """Draw perplexity against size and against decode speed, a panel each, as an SVG.

    Several models are compared by the change from the first one's, or by bits per byte where one
    has another vocabulary. Error bars are standard errors, those of the paired difference from the
    first model. Filled points are those that no other model beats in both directions. Raises
    ValueError where no text was read.
    """
    check_type("evaluation", evaluation, Evaluation, "an Evaluation")
    models = evaluation.models
    if any(each.quality is None for each in models):
        raise ValueError("there is nothing to draw: a plot needs a text to measure quality on")
    label, heights = _heights(models)
    panels: list[tuple[str, bool, Callable[[EvaluatedModel], float]]] = [
        ("size, MB", False, lambda each: each.nbytes / 1e6)
    ]
    if all(each.decode_ts is not None for each in models):
        panels.append(("decode, tokens per second", True, _decode_speed))
    width = _LEFT + len(panels) * (_PLOT + _BETWEEN)
    notes = _wrapped(caption(evaluation), (width - 30) / (10 * 0.52))
    height = _TOP + _HEIGHT + 52 + 14 * len(notes) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" '
        'font-size="12">',
        f"<title>{escape(label)} against {' and '.join(words for words, *_ in panels)}</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="white"/>',
        _text(_LEFT, 26, f"{label[0].upper()}{label[1:]}", size=15, weight="bold"),
        _text(_LEFT, 44, _legend(len(panels)), fill=_PALE, size=11),
    ]
    for number, (words, more_is_better, x_of) in enumerate(panels):
        points = [
            Point(each.name, _COLORS[at % len(_COLORS)], x_of(each), *heights[at])
            for at, each in enumerate(models)
        ]
        left = _LEFT + number * (_PLOT + _BETWEEN)
        parts += _panel(left, words, points, more_is_better, heights[0][0])
    for line, note in enumerate(notes):
        parts.append(_text(_LEFT, _TOP + _HEIGHT + 58 + 14 * line, note, fill=_PALE, size=10))
    return "\n".join([*parts, "</svg>", ""])


def _decode_speed(model: EvaluatedModel) -> float:
    assert model.decode_ts is not None
    return model.decode_ts.value


def _legend(panels: int) -> str:
    better = "lower left is better" if panels == 1 else "lower is better"
    return f"{better}; filled: no other model is ahead in both; bars: standard error"


def _heights(models: Sequence[EvaluatedModel]) -> tuple[str, list[tuple[float, float]]]:
    """Return what is drawn upwards, and each model's value with its error."""
    reference, *others = [each.quality for each in models if each.quality]
    changes = [each.increase for each in others]
    if not others:
        estimates = [reference.perplexity]
        words = "perplexity"
    elif all(changes):
        estimates = [Estimate(0.0, 0.0), *(each for each in changes if each)]
        words = f"change in perplexity from {models[0].name}, %"
    else:
        words, estimates = (
            "bits per byte",
            [
                each.quality.bits_per_byte
                for each in models
                if each.quality and each.quality.bits_per_byte
            ],
        )
        if len(estimates) < len(models):
            raise ValueError(
                "models of different vocabularies are compared by bits per byte, and the tokens of "
                "one do not spell the text: plot models of one vocabulary"
            )
    scale = 100 if words.endswith("%") else 1
    return words, [(scale * each.value, scale * each.standard_error) for each in estimates]


def _panel(
    left: float, words: str, points: Sequence[Point], more_is_better: bool, reference: float
) -> list[str]:
    """Draw axes, the reference's line, points and labels."""
    x = _scale([point.x for point in points], left, left + _PLOT, from_zero=True)
    tops = [end for point in points for end in (point.y - point.error, point.y + point.error)]
    y = _scale(tops, _TOP + _HEIGHT, _TOP, from_zero=False)
    parts = _axes(left, words, x, y)
    parts.append(
        f'<line x1="{left}" x2="{left + _PLOT}" y1="{y(reference):.1f}" y2="{y(reference):.1f}" '
        f'stroke="{_PALE}" stroke-dasharray="3 4" stroke-width="1"/>'
    )
    places = [(x(point.x), y(point.y)) for point in points]
    taken = [(px - 6, py - 6, px + 6, py + 6) for px, py in places]
    taken += [
        (px - 2, y(point.y + point.error), px + 2, y(point.y - point.error))
        for point, (px, _) in zip(points, places, strict=True)
    ]
    names = []
    for point, (px, py) in zip(points, places, strict=True):
        ahead = not any(_beats(other, point, more_is_better) for other in points)
        top, bottom = y(point.y + point.error), y(point.y - point.error)
        parts += [
            f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" '
            f'stroke="{point.color}" stroke-width="1.5"/>',
            f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4.5" stroke="{point.color}" '
            f'stroke-width="2" fill="{point.color if ahead else "white"}"/>',
        ]
        names.append(_label(point, (px, py), taken, left))
    return parts + names


def _beats(other: Point, point: Point, more_is_better: bool) -> bool:
    """Tell whether ``other`` is as good or better in both directions, and better in one."""
    gain = (other.x - point.x) * (1 if more_is_better else -1)
    return gain >= 0 and other.y <= point.y and (gain > 0 or other.y < point.y)


def _axes(left: float, words: str, x: Scale, y: Scale) -> list[str]:
    bottom, parts = _TOP + _HEIGHT, []
    marks = y.ticks()
    for mark, shown in zip(marks, _numbers(marks), strict=True):
        parts.append(
            f'<line x1="{left}" x2="{left + _PLOT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" '
            f'stroke="{_GRID}"/>'
        )
        if left == _LEFT:
            parts.append(_text(left - 8, y(mark) + 4, shown, fill=_PALE, anchor="end", size=11))
    marks = x.ticks()
    for mark, shown in zip(marks, _numbers(marks), strict=True):
        parts.append(
            f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{_TOP}" y2="{bottom}" '
            f'stroke="{_GRID}"/>'
        )
        place = x(mark)
        parts.append(_text(place, bottom + 16, shown, fill=_PALE, anchor="middle", size=11))
    parts.append(
        f'<line x1="{left}" x2="{left + _PLOT}" y1="{bottom}" y2="{bottom}" stroke="{_PALE}"/>'
    )
    parts.append(_text(left + _PLOT / 2, bottom + 35, words, anchor="middle"))
    return parts


def _label(point: Point, place: tuple[float, float], taken: list[Box], left: float) -> str:
    """Write the name where it covers least of what is ``taken``, and take that place."""
    px, py = place
    width = len(point.name) * 11 * _LETTER
    tries = [
        (px + 9, py + 4), (px - 9 - width, py + 4), (px - width / 2, py - 10),
        (px - width / 2, py + 19), (px + 8, py - 8), (px + 8, py + 16),
        (px - 8 - width, py - 8), (px - 8 - width, py + 16),
        (px - width / 2, py - 24), (px - width / 2, py + 33),
    ]  # fmt: skip

    def box(spot: tuple[float, float]) -> Box:
        return spot[0] - 2, spot[1] - 10, spot[0] + width + 2, spot[1] + 3

    def cost(spot: tuple[float, float]) -> float:
        own = box(spot)
        outside = max(0, left + 2 - own[0]) + max(0, own[2] - left - _PLOT - _BETWEEN + 8)
        outside += max(0, _TOP - 8 - own[1]) + max(0, own[3] - _TOP - _HEIGHT)
        return 20 * outside + sum(_overlap(own, other) for other in taken)

    spot = min(tries, key=cost)
    taken.append(box(spot))
    halo = 'paint-order="stroke" stroke="white" stroke-width="3" stroke-linejoin="round"'
    text = _text(*spot, point.name, fill=point.color, size=11, weight="600")
    return text.replace("<text", f"<text {halo}", 1)


def _overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes (left, top, right, bottom) share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _scale(values: Sequence[float], first: float, last: float, *, from_zero: bool) -> Scale:
    """Return an axis for ``values``, logarithmic where they differ much."""
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOGARITHMIC_FROM and not from_zero:
        return Scale(low / 1.2, high * 1.2, first, last, True)
    if from_zero:
        return Scale(0.0, high * 1.12 or 1.0, first, last, False)
    margin = 0.12 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - margin, high + margin, first, last, False)


def _numbers(marks: Sequence[float]) -> list[str]:
    """Format the marks of an axis, with as many digits as tell them apart."""
    steps = [abs(b - a) for a, b in pairwise(marks) if b != a]
    digits = max(0, -math.floor(math.log10(min(steps)) + 1e-9)) if steps else 0
    return [f"{mark:,.{digits}f}" for mark in marks]


def _wrapped(sentences: Sequence[str], letters: float) -> list[str]:
    """Return lines of whole words of at most so many letters."""
    lines: list[str] = []
    for sentence in sentences:
        line = ""
        for word in sentence.split():
            if line and len(line) + 1 + len(word) > letters:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines


def _text(x: float, y: float, words: str, *, fill: str = _INK, **more: object) -> str:
    names = {"anchor": "text-anchor", "size": "font-size", "weight": "font-weight"}
    rest = "".join(f' {names[name]}="{value}"' for name, value in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}"{rest}>{escape(words)}</text>'
