"""Sampling options given by a caller, merged over a model's own defaults."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from gpt2edge._checks import check_int
from gpt2edge.runtime.sampling.params import MAX_BEAMS, SamplingParams

NO_DRAW: Final[Mapping[str, Any]] = {
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
}
"""The fields that shape a draw, at the values with which nothing is drawn."""

ONLY_TO_SAMPLE: Final = ("top_k", "top_p", "min_p", "typical_p", "seed")
"""Fields that have no effect on greedy decoding."""


def merge_sampling(
    defaults: SamplingParams, given: Mapping[str, Any]
) -> tuple[SamplingParams, dict[str, str]]:
    """Return ``defaults`` with the fields in ``given`` changed, and those that follow from them.

    A field that only sampling uses implies temperature 1 over greedy defaults. Beams imply the
    values with which nothing is drawn. The second result names, for each implied field, the given
    one that it follows from.
    """
    implied: dict[str, Any] = {}
    cause = next((name for name in ONLY_TO_SAMPLE if name in given), "")
    if check_int("num_beams", given.get("num_beams", 1), 1, MAX_BEAMS) > 1:
        cause = "num_beams"
        implied = {name: value for name, value in NO_DRAW.items() if name not in given}
        implied = {name: v for name, v in implied.items() if getattr(defaults, name) != v}
    elif cause and "temperature" not in given and defaults.temperature == 0:
        implied = {"temperature": 1.0}
    return replace(defaults, **{**implied, **given}), dict.fromkeys(implied, cause)
