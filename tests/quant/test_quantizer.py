"""quantize: what it writes, what it keeps, what it refuses."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import gpt2edge
from gpt2edge.errors import ModelDirError, QuantizationError
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT4, INT8, INT8_BLOCK, Calibration, QuantRecipe, quantize
from gpt2edge.quant.recipes import Rounding
from gpt2edge.quant.rewriting.operators import GELU_REACH

TOKENS = list(range(3, 40))
PLAIN = QuantRecipe(name="plain", bits=4, rounding="search")


def test_logits_stay_close(fp32: ModelDir, tmp_path: Path) -> None:
    expected = gpt2edge.load(fp32.path).logits(TOKENS)
    for recipe, allowed in ((INT8_BLOCK, 0.03), (INT8, 0.04), (PLAIN, 0.35)):
        model = quantize(fp32, tmp_path / recipe.name, recipe=recipe)
        found = gpt2edge.load(model.path).logits(TOKENS)
        assert np.linalg.norm(found - expected) < allowed * np.linalg.norm(expected)


@pytest.mark.parametrize("recipe", [INT4, INT8])
def test_the_same_input_gives_the_same_bytes(
    fp32: ModelDir, tmp_path: Path, recipe: QuantRecipe
) -> None:
    text = Calibration(token_ids=TOKENS)
    first, second = (
        quantize(fp32, tmp_path / name, recipe=recipe, calibration=text) for name in "ab"
    )
    assert first.manifest == second.manifest


@pytest.mark.slow
def test_a_row_that_stands_out_gets_a_scale_of_its_own(
    uneven: ModelDir, fp32: ModelDir, tmp_path: Path
) -> None:
    """Also in products that the recipe does not name, where calibration shows it."""
    recipe, text = replace(INT8, equalize=False), Calibration(token_ids=[7, *TOKENS])
    scaled = _row_scaled(quantize(uneven, tmp_path / "uneven", recipe=recipe, calibration=text))
    even = _row_scaled(quantize(fp32, tmp_path / "even", recipe=recipe, calibration=text))
    assert even == {"h.0/mlp/c_proj", "h.1/attn/c_proj", "h.1/mlp/c_proj"}
    assert scaled == even | {"h.0/mlp/c_fc", "h.1/attn/c_attn", "h.1/mlp/c_fc"}

    def error(rounding: Rounding) -> float:
        own = replace(recipe, rounding=rounding)
        model = quantize(uneven, tmp_path / rounding, recipe=own, calibration=text)
        found, expected = (gpt2edge.load(it.path).logits([7, *TOKENS]) for it in (model, uneven))
        return float(np.linalg.norm(found[1:] - expected[1:]) / np.linalg.norm(expected[1:]))

    assert error("compensate") < 0.75 * error("nearest")


def _row_scaled(model: ModelDir) -> set[str]:
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    return {node.name.removesuffix("/row/scale") for node in graph.node if node.op_type == "Max"}


def test_gelu_is_never_below_what_row_scales_assume() -> None:
    x = np.linspace(-6, 6, 100_001)
    exact = x * np.array([math.erfc(-value / math.sqrt(2)) for value in x]) / 2
    by_tanh = x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    assert -GELU_REACH < min(exact.min(), by_tanh.min()) < -0.99 * GELU_REACH


@pytest.mark.slow
def test_activations_are_flattened_only_for_gemm(fp32: ModelDir, tmp_path: Path) -> None:
    def reshapes(model: ModelDir) -> int:
        graph = onnx.load(model.graph_path, load_external_data=False).graph
        return sum(node.op_type == "Reshape" for node in graph.node)

    some = replace(INT8_BLOCK, exclude=("h.1.mlp.c_fc",))
    assert reshapes(quantize(fp32, tmp_path / "some", recipe=some)) == reshapes(fp32)
    assert reshapes(quantize(fp32, tmp_path / "all", recipe=INT8_BLOCK)) == 0
    float_head = replace(INT8_BLOCK, lm_head=32, embedding=32)
    assert reshapes(quantize(fp32, tmp_path / "head", recipe=float_head)) == 1  # the logits


@pytest.mark.slow
def test_a_model_can_write_its_own_calibration_text(fp32: ModelDir, tmp_path: Path) -> None:
    own = Calibration(tokens=64)
    model = quantize(fp32, tmp_path / "own", recipe=INT4, calibration=own)
    again = quantize(fp32, tmp_path / "again", recipe=INT4, calibration=own)
    assert model.manifest == again.manifest


def test_the_manifest_says_how(fp32: ModelDir, tmp_path: Path) -> None:
    manifest = quantize(fp32, tmp_path / "out", recipe=PLAIN).manifest
    assert manifest.variant == "int4"
    assert manifest.recipe is not None
    assert manifest.recipe["name"] == "plain"
    assert "config.json" in manifest.files


@pytest.mark.parametrize(("name", "refine"), [("fp32", 64), ("odd_tied", 8), ("odd_tied", 200)])
def test_a_refined_head_takes_its_largest_logits_from_the_embedding(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, refine: int
) -> None:
    source = request.getfixturevalue(name)

    def logits(lm_head: int, refine: int) -> NDArray[np.float32]:
        recipe = replace(PLAIN, lm_head=lm_head, refine=refine)
        model = quantize(source, tmp_path / f"{lm_head}-{refine}", recipe=recipe)
        return gpt2edge.load(model.path).logits(TOKENS)  # [tokens, vocab_size]

    coarse, fine, refined = logits(4, 0), logits(8, 0), logits(4, refine)
    largest = np.zeros(coarse.shape, bool)
    order = np.argsort(-coarse, axis=1, kind="stable")[:, :refine]
    np.put_along_axis(largest, order, values=True, axis=1)
    assert np.array_equal(refined[~largest], coarse[~largest])
    assert np.abs(refined - fine)[largest].max() < 0.1 * np.abs(coarse - fine)[largest].max()


def test_an_untied_head_is_not_refined(odd: ModelDir, tmp_path: Path) -> None:
    recipe = replace(PLAIN, lm_head=4, refine=8)
    model = quantize(odd, tmp_path / "out", recipe=recipe)
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    assert "TopK" not in {node.op_type for node in graph.node}


def test_odd_widths_untied_heads_and_biases(odd: ModelDir, tmp_path: Path) -> None:
    expected = gpt2edge.load(odd.path).logits(TOKENS)
    model = quantize(odd, tmp_path / "out", recipe=INT8_BLOCK)
    found = gpt2edge.load(model.path).logits(TOKENS)
    assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)


def test_excluded_parts_stay_float32(fp32: ModelDir, tmp_path: Path) -> None:
    recipe = QuantRecipe(name="own", bits=4, lm_head=32, embedding=32, exclude=("c_fc",))
    model = quantize(fp32, tmp_path / "out", recipe=recipe)
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    kept = {tensor.name for tensor in graph.initializer if tensor.data_type == 1}
    assert {"wte.weight", "h.0.mlp.c_fc.weight"} <= kept
    assert "h.0.mlp.c_proj.weight" not in kept


def test_refuses_a_quantized_model(fp32: ModelDir, tmp_path: Path) -> None:
    model = quantize(fp32, tmp_path / "out", recipe=PLAIN)
    with pytest.raises(QuantizationError, match="quantized already"):
        quantize(model, tmp_path / "again", recipe=PLAIN)
    assert not (tmp_path / "again").exists()


def test_refuses_a_portable_model(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = export_checkpoint(tiny_checkpoint, tmp_path / "portable", profile="portable")
    with pytest.raises(
        QuantizationError, match=r"of profile portable: .* export the checkpoint with that profile"
    ):
        quantize(model, tmp_path / "out", recipe=PLAIN)


def test_refuses_an_existing_folder(fp32: ModelDir, tmp_path: Path) -> None:
    quantize(fp32, tmp_path / "out", recipe=PLAIN)
    with pytest.raises(ModelDirError, match="overwrite=True"):
        quantize(fp32, tmp_path / "out", recipe=PLAIN)
    quantize(fp32, tmp_path / "out", recipe=INT8_BLOCK, overwrite=True)
    assert ModelDir.open(tmp_path / "out").manifest.variant == "int8"


def test_a_full_disk_leaves_nothing(
    fp32: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt2edge.graph.weights_file.WeightsFile.attach", full)
    with pytest.raises(ModelDirError, match="No space left"):
        quantize(fp32, tmp_path / "out", recipe=PLAIN)
    assert list(tmp_path.iterdir()) == []
