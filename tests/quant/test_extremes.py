"""Models at the edge: contexts of a few tokens, weights that are hardly numbers."""

from pathlib import Path

import numpy as np
import pytest

from gpt2edge.errors import QuantizationError
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import Calibration, mixed_recipe, quantize, quantize_auto
from gpt2edge.quant.rounding.blocks import quantize_values
from tests.checkpoints import SMALL, random_tensors, save_tensors, write_checkpoint


def _model(folder: Path, n_positions: int) -> ModelDir:
    write_checkpoint(folder / "hf", {**SMALL, "n_positions": n_positions})
    return export_checkpoint(folder / "hf", folder / "model")


@pytest.mark.slow
@pytest.mark.parametrize("n_positions", [2, 3])
def test_a_context_of_a_few_tokens(tmp_path: Path, n_positions: int) -> None:
    model = _model(tmp_path, n_positions)
    for recipe in ("int8", "int4"):
        quantize(model, tmp_path / recipe, recipe=recipe)
    quantize(model, tmp_path / "mixed", recipe=mixed_recipe(model, "int4", mean_bits=5))
    assert quantize_auto(model, tmp_path / "auto", candidates=["int8"])[1].recipe == "int8"


def test_a_context_of_one_token_needs_a_text(tmp_path: Path) -> None:
    model = _model(tmp_path, 1)
    with pytest.raises(QuantizationError, match=r"a context of 1 token.* give a calibration text"):
        quantize(model, tmp_path / "out", recipe="int8")
    text = Calibration(token_ids=list(range(50)))
    quantize(model, tmp_path / "out", recipe="int8", calibration=text)


@pytest.mark.parametrize("recipe", ["int8", "int8-block", "int4", "int4-decode"])
def test_weights_below_the_normal_numbers_become_zero(tmp_path: Path, recipe: str) -> None:
    tensors = random_tensors(SMALL)
    for name in tensors:
        if name.endswith("weight") and "ln" not in name:
            tensors[name] = (tensors[name] * np.float32(1e-42)).astype(np.float32)
    write_checkpoint(tmp_path / "hf")
    save_tensors(tmp_path / "hf", tensors)
    quantize(  # a warning of numpy's would be an error here
        export_checkpoint(tmp_path / "hf", tmp_path / "model"), tmp_path / "out", recipe=recipe
    )


def test_their_blocks_hold_the_zero_point() -> None:
    blocks = np.full((1, 1, 32), 1e-42, np.float32)
    values = quantize_values(blocks, np.array([[-1e-43]], np.float32), 4)
    assert (values == 8).all()
    blocks[:] = np.float32(1.2e-38)  # a normal number
    values = quantize_values(blocks, np.array([[1.2e-38]], np.float32), 4)
    assert (values == 9).all()
