"""Small float32 models with random weights, exported once a session."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir

Tensors = dict[str, NDArray[np.float32]]

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


@pytest.fixture(scope="session")
def odd_tied(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """A tied model with a width of no whole block."""
    return _export(tmp_path_factory.mktemp("odd_tied"), ODD, tied=True)


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """The even model, but token 7 is far larger than all others, in a single channel.

    As first tokens are in trained models (Sun et al. 2024, arXiv:2402.17762).
    """
    tensors = _tensors(SHAPE, tied=True)
    tensors["wte.weight"][7] = 0
    tensors["wte.weight"][7, 5] = 1000
    return _export(tmp_path_factory.mktemp("uneven"), SHAPE, tied=True, tensors=tensors)


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """The even model's function; some LayerNorm channels are 64 times as large, rows as small."""
    tensors = _tensors(SHAPE, tied=True)
    for norm, rows in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")):
        for layer in range(SHAPE["n_layer"]):
            for part in ("weight", "bias"):
                tensors[f"h.{layer}.{norm}.{part}"][[3, 40]] *= 64
            tensors[f"h.{layer}.{rows}.weight"][[3, 40]] /= 64
    return _export(tmp_path_factory.mktemp("twin"), SHAPE, tied=True, tensors=tensors)


def _export(
    folder: Path, shape: dict[str, int], *, tied: bool, tensors: Tensors | None = None
) -> ModelDir:
    from safetensors.numpy import save_file

    keys = {"model_type": "gpt2", **shape, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(keys))
    save_file(tensors or _tensors(shape, tied=tied), folder / "model.safetensors")
    return export_checkpoint(folder, folder / "fp32")


def _tensors(shape: dict[str, int], *, tied: bool) -> Tensors:
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
