"""Checkpoints for tests: random weights of realistic scale, written as upstream would save them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from gpt2edge.config import ModelConfig
from gpt2edge.export.sources.tensor_layout import transformer_shapes

Tensors = dict[str, NDArray[Any]]

SMALL: Final[Mapping[str, Any]] = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 32,
    "n_positions": 64,
    "vocab_size": 97,
}
"""The smallest configuration that still has every part; tests change keys of it."""

_DTYPES: Final = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def random_tensors(keys: Mapping[str, Any], *, seed: int = 0) -> Tensors:
    """Float32 tensors of the configuration ``keys``, by upstream name without a prefix.

    The scale is that of a trained model: attention neither flat nor one-hot, logits of about ±10.
    Heads follow ``architectures``, ``tie_word_embeddings`` and ``lm_head_bias`` (a key of ours).
    """
    config = ModelConfig.from_dict(keys)
    rng = np.random.default_rng(seed)
    shapes = {**transformer_shapes(config), **_head_shapes(keys, config)}
    return {name: _random(rng, name, shape) for name, shape in shapes.items()}


def write_checkpoint(
    folder: Path,
    keys: Mapping[str, Any] = SMALL,
    *,
    seed: int = 0,
    dtype: str = "float32",
    prefix: str = "transformer.",
    shards: int = 1,
) -> Tensors:
    """Write ``config.json`` and safetensors into ``folder``; returns the float32 tensors.

    ``prefix`` goes before the transformer's own names, never before a head's. The returned values
    are those that ``dtype`` can hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in keys.items() if key != "lm_head_bias"}
    (folder / "config.json").write_text(json.dumps(kept))
    tensors = {
        name: tensor.astype(_DTYPES[dtype])
        for name, tensor in random_tensors(keys, seed=seed).items()
    }
    named = {
        prefix * name.startswith(("h.", "w", "ln_f")) + name: tensors[name] for name in tensors
    }
    save_tensors(folder, named, shards=shards)
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def save_tensors(folder: Path, tensors: Mapping[str, NDArray[Any]], *, shards: int = 1) -> None:
    """Write ``model.safetensors``, or shards of it with their index."""
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors")
        return
    weight_map = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in list(tensors)[shard::shards]}
        save_file(part, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _head_shapes(keys: Mapping[str, Any], config: ModelConfig) -> dict[str, tuple[int, ...]]:
    architecture = (keys.get("architectures") or ["GPT2LMHeadModel"])[0]
    labels = len(keys.get("id2label", (0, 1)))
    if architecture == "GPT2ForSequenceClassification":
        return {"score.weight": (labels, config.n_embd)}
    if architecture == "GPT2ForTokenClassification":
        return {"classifier.weight": (labels, config.n_embd), "classifier.bias": (labels,)}
    shapes: dict[str, tuple[int, ...]] = {}
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, config.n_embd)
    if keys.get("lm_head_bias"):
        shapes["lm_head.bias"] = (config.vocab_size,)
    return shapes


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    normal = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("bias"):
        return 0.1 * normal
    if name == "ln_f.weight":
        return 3 + 0.6 * normal
    if "ln_" in name:
        return 1 + 0.2 * normal
    if name == "wpe.weight":  # large beside wte, so that greedy text does not repeat one token
        return normal * float(6 / shape[-1] ** 0.5)
    fan_in = shape[0] if name.startswith("h.") else shape[-1]  # Conv1D keeps [in, out]
    return normal / float(fan_in**0.5)
