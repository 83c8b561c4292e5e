"""Graphs as they are written today: every profile, and every recipe without a calibration text."""

from dataclasses import replace
from pathlib import Path

import pytest

from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import RECIPES, quantize
from tests.checkpoints import write_checkpoint

Written = dict[str, ModelDir]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Folders by profile or recipe, of a model of two layers."""
    return write_all(tmp_path_factory.mktemp("written"))


def write_all(folder: Path) -> Written:
    """Export a small model in both profiles and quantize it by every named recipe."""
    write_checkpoint(folder / "hf")
    written = {
        profile: export_checkpoint(folder / "hf", folder / profile, profile=profile)
        for profile in ("cpu", "portable")
    }
    for name, recipe in RECIPES.items():
        own = replace(recipe, rounding="nearest")  # no calibration: the same graph everywhere
        written[name] = quantize(written["cpu"], folder / name, recipe=own)
    return written
