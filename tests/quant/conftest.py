"""Small float32 models with random weights, exported once a session."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir

SHAPE = {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 128, "vocab_size": 512}
ODD = {"n_layer": 1, "n_head": 3, "n_embd": 36, "n_positions": 64, "vocab_size": 97}


@pytest.fixture(scope="session")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """A tied model of even shape."""
    return _export(tmp_path_factory.mktemp("even"), SHAPE, tied=True)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """An untied model with a head bias, head_dim 12 and a width of no whole block."""
    return _export(tmp_path_factory.mktemp("odd"), ODD, tied=False)


def _export(folder: Path, shape: dict[str, int], *, tied: bool) -> ModelDir:
    from safetensors.numpy import save_file

    keys = {"model_type": "gpt2", **shape, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(keys))
    save_file(_tensors(shape, tied=tied), folder / "model.safetensors")
    return export_checkpoint(folder, folder / "fp32")


def _tensors(shape: dict[str, int], *, tied: bool) -> dict[str, NDArray[np.float32]]:
    n = shape["n_embd"]
    rng = np.random.default_rng(7)

    def normal(*size: int) -> NDArray[np.float32]:
        return rng.normal(0, 0.1, size).astype(np.float32)

    tensors = {"wte.weight": normal(shape["vocab_size"], n)}
    tensors["wpe.weight"] = normal(shape["n_positions"], n)
    for name in [*_norms(shape["n_layer"]), "ln_f"]:
        tensors[f"{name}.weight"] = 1 + normal(n)
        tensors[f"{name}.bias"] = normal(n)
    products = {"attn.c_attn": (n, 3 * n), "attn.c_proj": (n, n)}
    products |= {"mlp.c_fc": (n, 4 * n), "mlp.c_proj": (4 * n, n)}
    for layer in range(shape["n_layer"]):
        for name, size in products.items():
            tensors[f"h.{layer}.{name}.weight"] = normal(*size)
            tensors[f"h.{layer}.{name}.bias"] = normal(size[1])
    if not tied:
        tensors["lm_head.weight"] = normal(shape["vocab_size"], n)
        tensors["lm_head.bias"] = normal(shape["vocab_size"])
    return tensors


def _norms(n_layer: int) -> list[str]:
    return [f"h.{layer}.ln_{part}" for layer in range(n_layer) for part in (1, 2)]
