"""What the files hold: read back by other code than wrote them, and run in plain numpy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import gpt2edge
from gpt2edge.export import export_checkpoint
from gpt2edge.export.verify import reference
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE, ModelDir
from gpt2edge.quant import (
    INT4,
    INT8,
    INT8_BLOCK,
    INT8_DECODE,
    MIXED,
    Calibration,
    QuantRecipe,
    quantize,
)
from gpt2edge.runtime.ort import session
from tests.conftest import ROOT

TOKENS: Final = list(range(3, 40))
TEXT: Final = Calibration(token_ids=list(range(3, 90)))
WIDE: Final = ("h.0.attn.", "h.1.mlp.c_proj.", "h.4.attn.c_attn.")
EVERY: Final = (INT8, INT8_BLOCK, INT8_DECODE, INT4, replace(INT4, name=MIXED, wide=WIDE))

Tensors = Callable[[str], NDArray[np.float32]]


def _dequantized(model: ModelDir) -> Tensors:
    """Tensors by upstream's name, from the bytes in the folder and their documented meaning."""
    stored: dict[str, NDArray[Any]] = {
        item.name: onnx.numpy_helper.to_array(item)
        for item in onnx.load(model.graph_path).graph.initializer
    }

    def blocks(name: str, bits: int) -> NDArray[np.float32]:
        scales = stored[f"{name}.scales"]
        packed = stored.get(f"{name}.blocks", stored.get(f"{name}.rows"))
        assert packed is not None
        halves = [packed & 15, packed >> 4] if bits == 4 else [packed]
        values = np.stack(halves, axis=-1).reshape(*scales.shape, -1).astype(np.float32)
        scaled = (values - 2 ** (bits - 1)) * scales[..., None]
        return np.asarray(scaled.reshape(len(packed), -1), np.float32)

    def tensor(name: str) -> NDArray[np.float32]:
        if name in stored:
            return np.asarray(stored[name], np.float32)
        if f"{name}.int8" in stored:
            return np.asarray(stored[f"{name}.int8"] * stored[f"{name}.int8.scales"], np.float32)
        bits = 8 if f"{name}.int8.scales" in stored else 4
        weight = blocks(f"{name}.int{bits}", bits)
        return weight.T if name.startswith("h.") else weight

    return tensor


@pytest.mark.parametrize(
    ("recipe", "allowed"),
    [
        (replace(INT4, accuracy_level=0), 2e-5),
        (replace(INT8_BLOCK, accuracy_level=0), 2e-5),
        (INT4, 0.03),  # activations are rounded too, which the oracle does not do
        (INT8_BLOCK, 0.03),
        (INT8, 0.03),
    ],
)
def test_logits_are_those_of_the_stored_weights(
    twin: ModelDir,
    tmp_path: Path,
    recipe: QuantRecipe,
    allowed: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = quantize(twin, tmp_path / "out", recipe=recipe, calibration=TEXT)
    tensors = _dequantized(model)
    monkeypatch.setattr(session, "library", lambda: None)  # the kernels have oracles of their own
    hidden, _ = reference.forward(model.config, tensors, TOKENS)
    expected = reference.logits(hidden, tensors, "wte.weight", None)
    held = gpt2edge.load(model.path)._session.cache_layout.dtype.name
    cache = "float32" if held == "float16" else None  # half a percent of a logit, else
    found = gpt2edge.load(model.path, kv_cache=cache).logits(TOKENS)
    assert np.linalg.norm(found - expected) < allowed * np.linalg.norm(expected)


@pytest.fixture(scope="module")
def storyteller(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    source = ROOT / "training" / "models" / "storyteller"
    return export_checkpoint(source, tmp_path_factory.mktemp("story") / "fp32")


@pytest.mark.parametrize("recipe", EVERY, ids=lambda recipe: recipe.name)
def test_bytes_are_what_the_bits_say(
    storyteller: ModelDir, tmp_path: Path, recipe: QuantRecipe
) -> None:
    """Graph included; the tied embedding counts once."""
    rounded = replace(recipe, rounding="nearest")
    model = quantize(storyteller, tmp_path / "out", recipe=rounded)
    files: Any = model.manifest.files
    found = files[GRAPH_FILE].bytes + files[WEIGHTS_FILE].bytes
    assert found == pytest.approx(_bits(storyteller, recipe) / 8, rel=0.03)


def _bits(model: ModelDir, recipe: QuantRecipe) -> float:
    """Bits of all weights with their scales, and of gains and biases in float32."""
    c, scale = model.config, 32 / recipe.block_size
    total = (c.vocab_size + c.n_positions) * c.n_embd * (recipe.embedding + scale)
    products = {"attn.c_attn": (c.n_embd, 3 * c.n_embd), "attn.c_proj": (c.n_embd, c.n_embd)}
    products |= {"mlp.c_fc": (c.n_embd, c.n_inner), "mlp.c_proj": (c.n_inner, c.n_embd)}
    for layer in range(c.n_layer):
        total += 4 * c.n_embd * 32  # two LayerNorms
        for name, (k, n) in products.items():
            wide = any(text in f"h.{layer}.{name}.weight" for text in recipe.wide)
            total += 32 * n
            if recipe.scheme == "dynamic" and not wide:
                total += (8 * k + 32) * n
            else:
                scale = 32 / recipe.block_size_of(f"h.{layer}.{name}.weight")
                total += k * n * ((8 if wide else recipe.bits) + scale)
    return total
