"""Equalization: exact, bit for bit, and enough to undo outliers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import gpt2edge
from gpt2edge.graph.tensors import TensorReader
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT8, INT8_BLOCK, Calibration, QuantRecipe, compare, quantize
from gpt2edge.quant.calibration.equalization import EqualizedTensors, balancing_factors, equalize

TOKENS = list(range(3, 90))


def test_factors_are_powers_of_two() -> None:
    activations = np.array([1, 60, 0, 1, 1], np.float32)
    weights = np.array([1, 1 / 60, 1, 0, 1], np.float32)
    assert balancing_factors(activations, weights).tolist() == [1, 64, 1, 1, 1]


def test_the_function_keeps_every_bit(twin: ModelDir, tmp_path: Path) -> None:
    """Only the last MLP's c_proj is quantized, which no factor touches."""
    kept = ("c_attn", "c_fc", "attn.c_proj", "h.0.mlp.c_proj")
    recipe = QuantRecipe(name="own", bits=8, lm_head=32, embedding=32, exclude=kept)
    recipes = [replace(recipe, equalize=on) for on in (False, True)]
    models = [quantize(twin, tmp_path / str(r.equalize), recipe=r) for r in recipes]
    assert (
        models[0].manifest.files["model.onnx_data"] != models[1].manifest.files["model.onnx_data"]
    )
    plain, equalized = (gpt2edge.load(model.path).logits(TOKENS) for model in models)
    assert np.array_equal(plain, equalized)


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("recipe", [INT8, INT8_BLOCK])
def test_outliers_cost_nothing(
    fp32: ModelDir, twin: ModelDir, tmp_path: Path, recipe: QuantRecipe, calibrated: bool
) -> None:
    calibration = Calibration(token_ids=TOKENS) if calibrated else None
    model = quantize(twin, tmp_path / "out", recipe=recipe, calibration=calibration)
    loss = compare(gpt2edge.load(fp32.path), gpt2edge.load(model.path), TOKENS, context=64)
    assert loss.kl.value < 0.002


def test_every_exact_place_is_reached(fp32: ModelDir) -> None:
    graph = onnx.load(fp32.graph_path, load_external_data=False).graph
    tensors = EqualizedTensors(TensorReader(graph.initializer, fp32.path))
    equalize(tensors, fp32.config)
    places = {name.split(".", 2)[2] for name in tensors.input_factors}
    assert places == {"attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight"}
