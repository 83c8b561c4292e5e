"""Scales of an int8 KV cache: one for every channel of every head, from what a text puts there.

``GroupQueryAttention`` rounds keys and values to int8 as they enter the cache, by scales that the
graph holds; so they must be known beforehand, and values beyond them are cut off.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from gpt2edge.model_dir import ModelDir
from gpt2edge.quant.calibrate import Progress
from gpt2edge.quant.graph import CacheScales
from gpt2edge.quant.probe import Probe

FloatArray = NDArray[np.float32]

# KL of the bundled model in windows of 512: 1.02e-4 without a margin, 0.94e-4 with 1.1, 1.13e-4
# with 1.25; 3.8e-4 with 0.9, which cuts off too much.
_MARGIN: Final = 1.1
_LIMIT: Final = 127
_CACHE: Final = ("past_key_values.", "present.")


def measure_cache_scales(
    model: ModelDir,
    windows: Sequence[Sequence[int]],
    value_factors: Mapping[str, FloatArray],
    progress: Progress | None = None,
) -> dict[str, CacheScales]:
    """Scales by the name of the attention node, "h.{layer}/attn".

    The tokens of ``windows`` are read in one row, cut at the model's context and repeated until
    they fill it, so that every position has been seen. ``value_factors`` [n_head * head_dim], by
    the name of the projection's weight, divide the values in the model that is being written.
    """
    nodes = [f"h.{layer}/attn" for layer in range(model.config.n_layer)]
    names = [f"{node}/qkv" for node in nodes]
    probe = Probe(model, names)
    largest: dict[str, FloatArray] = {}
    texts = _full_windows(windows, model.config.n_positions)
    for done, text in enumerate(texts, 1):
        for node, qkv in zip(nodes, probe.run(text, names), strict=True):
            found = np.abs(qkv).max(axis=0)  # [3 * n_head * head_dim]
            largest[node] = np.maximum(largest.get(node, found), found)
        if progress:
            progress(done, len(texts))
    scales = {}
    for node in nodes:
        _, key, value = np.split(largest[node], 3)
        factors = value_factors.get(f"{node.replace('/', '.')}.c_proj.weight")
        divided = value if factors is None else value / factors
        n_head = model.config.n_head
        scales[node] = CacheScales(_scales(key, n_head), _scales(divided, n_head))
    return scales


def declare_int8_cache(model: ModelProto) -> None:
    """Make the cache entering and leaving the graph int8."""
    for value in (*model.graph.input, *model.graph.output):
        if value.name.startswith(_CACHE):
            value.type.tensor_type.elem_type = TensorProto.INT8


def _full_windows(windows: Sequence[Sequence[int]], context: int) -> list[list[int]]:
    ids = np.concatenate([np.asarray(window, np.int64) for window in windows])
    whole = np.resize(ids, max(1, len(ids) // context) * context)
    return [[int(token_id) for token_id in text] for text in whole.reshape(-1, context)]


def _scales(largest: FloatArray, n_head: int) -> FloatArray:
    """[n_head * head_dim] -> [1, n_head, 1, head_dim]; 1 where a channel is always 0."""
    scales = np.where(largest > 0, largest * np.float32(_MARGIN / _LIMIT), 1).astype(np.float32)
    return scales.reshape(1, n_head, 1, -1)
