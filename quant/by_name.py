"""Quantization by any recipe's name, those that depend on the model included."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from gpt2edge._checks import check_optional
from gpt2edge._progress import Progress
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant.auto import CANDIDATES, Choice, quantize_auto
from gpt2edge.quant.calibration.calibration import Calibration
from gpt2edge.quant.calibration.sensitivity import mixed_recipe
from gpt2edge.quant.quantizer import opened, quantize
from gpt2edge.quant.recipes import AUTO, INT4, MIXED, named_recipe

MIXED_BITS: Final = 5
"""Bits of a weight, on average, of the recipe called ``MIXED``."""


def check_recipe_name(name: str) -> None:
    """Raise QuantizationError, which lists the names, where there is no recipe ``name``."""
    if name not in (AUTO, MIXED):
        named_recipe(name)


def quantize_by_name(
    model: ModelDir | str | os.PathLike[str],
    out: str | os.PathLike[str],
    name: str,
    *,
    changes: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
    check: Callable[[ModelDir], None] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[ModelDir, Choice | None]:
    """Quantize ``model`` to ``out`` by a name in ``RECIPES``, or ``MIXED`` or ``AUTO``.

    ``changes`` are fields of ``QuantRecipe`` to set in that recipe, of ``AUTO`` in all candidates.
    The second result says why ``AUTO`` chose as it did. Other arguments and errors are those of
    ``quantize``.
    """
    check_recipe_name(name)
    check_optional("changes", changes, Mapping, "a mapping of QuantRecipe's fields")
    source, fields = opened("model", model), dict(changes or {})
    options: dict[str, Any] = {
        "calibration": calibration,
        "check": check,
        "overwrite": overwrite,
        "progress": progress,
    }
    if name == AUTO:
        candidates = [replace(recipe, **fields) for recipe in CANDIDATES]
        return quantize_auto(source, out, candidates=candidates, **options)
    if name == MIXED:
        recipe = mixed_recipe(
            source, INT4, mean_bits=MIXED_BITS, calibration=calibration, progress=progress
        )
    else:
        recipe = named_recipe(name)
    return quantize(source, out, recipe=replace(recipe, **fields), **options), None
