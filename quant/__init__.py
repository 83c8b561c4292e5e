"""Quantization: int8 and int4 variants of an exported model, with measures of their loss."""

from typing import TYPE_CHECKING

from gpt2edge._extras import require
from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.evaluate.compare import Comparison, compare, layer_errors
    from gpt2edge.evaluate.estimates import Estimate
    from gpt2edge.quant.auto import Choice, MeasuredRecipe, Speed, quantize_auto
    from gpt2edge.quant.by_name import quantize_by_name
    from gpt2edge.quant.calibration.calibration import Calibration
    from gpt2edge.quant.calibration.sensitivity import mixed_recipe
    from gpt2edge.quant.quantizer import quantize
    from gpt2edge.quant.recipes import (
        AUTO,
        INT4,
        INT4_DECODE,
        INT8,
        INT8_BLOCK,
        INT8_DECODE,
        MIXED,
        RECIPES,
        QuantRecipe,
        named_recipe,
    )

__all__ = [
    "AUTO",
    "INT4",
    "INT4_DECODE",
    "INT8",
    "INT8_BLOCK",
    "INT8_DECODE",
    "MIXED",
    "RECIPES",
    "Calibration",
    "Choice",
    "Comparison",
    "Estimate",
    "MeasuredRecipe",
    "QuantRecipe",
    "Speed",
    "compare",
    "layer_errors",
    "mixed_recipe",
    "named_recipe",
    "quantize",
    "quantize_auto",
    "quantize_by_name",
]

require("quant", "onnx")  # one line that says what to install, before anything is used

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "AUTO": "gpt2edge.quant.recipes",
            "Calibration": "gpt2edge.quant.calibration.calibration",
            "Choice": "gpt2edge.quant.auto",
            "Comparison": "gpt2edge.evaluate.compare",
            "Estimate": "gpt2edge.evaluate.estimates",
            "INT4": "gpt2edge.quant.recipes",
            "INT4_DECODE": "gpt2edge.quant.recipes",
            "INT8": "gpt2edge.quant.recipes",
            "INT8_BLOCK": "gpt2edge.quant.recipes",
            "INT8_DECODE": "gpt2edge.quant.recipes",
            "MIXED": "gpt2edge.quant.recipes",
            "MeasuredRecipe": "gpt2edge.quant.auto",
            "QuantRecipe": "gpt2edge.quant.recipes",
            "RECIPES": "gpt2edge.quant.recipes",
            "Speed": "gpt2edge.quant.auto",
            "compare": "gpt2edge.evaluate.compare",
            "layer_errors": "gpt2edge.evaluate.compare",
            "mixed_recipe": "gpt2edge.quant.calibration.sensitivity",
            "named_recipe": "gpt2edge.quant.recipes",
            "quantize": "gpt2edge.quant.quantizer",
            "quantize_auto": "gpt2edge.quant.auto",
            "quantize_by_name": "gpt2edge.quant.by_name",
        },
    )
