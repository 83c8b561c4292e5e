"""Quantization: int8 and int4 variants of an exported model, with measures of their loss."""

from gpt2edge._extras import require

require("quant", "onnx")  # before the modules below import it

from gpt2edge.evaluate.compare import Comparison, Estimate, compare, layer_errors  # noqa: E402
from gpt2edge.quant.auto import Choice, MeasuredRecipe, quantize_auto  # noqa: E402
from gpt2edge.quant.calibration.calibration import Calibration  # noqa: E402
from gpt2edge.quant.calibration.sensitivity import mixed_recipe  # noqa: E402
from gpt2edge.quant.quantizer import quantize  # noqa: E402
from gpt2edge.quant.recipes import (  # noqa: E402
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
    "compare",
    "layer_errors",
    "mixed_recipe",
    "named_recipe",
    "quantize",
    "quantize_auto",
]
