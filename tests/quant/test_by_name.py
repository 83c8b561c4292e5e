"""Quantization by name: what ``quantize`` makes of the same recipe, and the model's own one."""

from dataclasses import replace
from pathlib import Path

import pytest

from gpt2edge.errors import QuantizationError
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT4, INT8, MIXED, quantize, quantize_by_name
from gpt2edge.quant.by_name import check_recipe_name


def test_a_name_and_changes_are_a_recipe(fp32: ModelDir, tmp_path: Path) -> None:
    found, choice = quantize_by_name(
        fp32, tmp_path / "a", "int4", changes={"rounding": "nearest", "block_size": 64}
    )
    recipe = replace(INT4, rounding="nearest", block_size=64)
    expected = quantize(fp32, tmp_path / "b", recipe=recipe)
    assert choice is None
    assert found.manifest.recipe == expected.manifest.recipe
    assert found.manifest.files == expected.manifest.files  # with their sha256


def test_the_mixed_recipe_is_made_for_the_model(fp32: ModelDir, tmp_path: Path) -> None:
    found, _ = quantize_by_name(fp32, tmp_path / "a", MIXED, changes={"rounding": "nearest"})
    recipe = found.manifest.recipe
    assert recipe is not None
    assert (recipe["name"], recipe["rounding"]) == (MIXED, "nearest")
    assert recipe["wide"]


def test_an_unknown_name_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for name in (INT8.name, MIXED, "auto"):
        check_recipe_name(name)
    with pytest.raises(QuantizationError, match="there are int8"):
        quantize_by_name(tmp_path / "none", tmp_path / "out", "int3")
