"""Bits by measured sensitivity, within a budget."""

from pathlib import Path

import pytest

from gpt2edge.graph.products import Product
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT4, Calibration, mixed_recipe, quantize
from gpt2edge.quant.calibration.sensitivity import sensitivities, widened

TEXT = Calibration(token_ids=list(range(1, 100)))


def _product(name: str, size: int) -> Product:
    return Product(name, name, "", size, 1, transposed=False)


def test_the_budget_goes_where_a_byte_gains_most() -> None:
    products = [_product("a", 100), _product("b", 100), _product("c", 50)]
    losses = {"a": 1.0, "b": 3.0, "c": 1.0}
    assert widened(products, losses, 4, 4) == ()
    assert widened(products, losses, 4, 5.7) == ("b",)  # 42.5 % of 250 weights
    assert widened(products, losses, 4, 6.4) == ("b", "c")
    assert widened(products, losses, 4, 8) == ("a", "b", "c")


def test_every_product_is_measured(fp32: ModelDir) -> None:
    losses = sensitivities(fp32, INT4, TEXT.windows(fp32))
    assert len(losses) == 4 * fp32.config.n_layer
    assert all(loss > 0 for loss in losses.values())


def test_the_mean_is_kept(fp32: ModelDir, tmp_path: Path) -> None:
    recipe = mixed_recipe(fp32, INT4, mean_bits=6, calibration=TEXT)
    assert recipe.name == "int4-mixed"
    assert 0 < len(recipe.wide) < 8
    model = quantize(fp32, tmp_path / "out", recipe=recipe, calibration=TEXT)
    assert model.manifest.recipe is not None
    assert tuple(model.manifest.recipe["wide"]) == recipe.wide


@pytest.mark.parametrize("mean_bits", [3.9, 8.1])
def test_an_impossible_mean_is_refused(fp32: ModelDir, mean_bits: float) -> None:
    with pytest.raises(ValueError, match=r"it must be a number in \[4, 8\]"):
        mixed_recipe(fp32, INT4, mean_bits=mean_bits, calibration=TEXT)
