"""Scales of an int8 KV cache: one for every channel of every head, from what a text puts there.

``GroupQueryAttention`` rounds keys and values to int8 as they enter the cache, by scales that the
graph holds; so they must be known beforehand, and values beyond them are cut off. A text is not
enough: what a model writes itself may be nothing like its prompts, on which it need not be trained.
So a scale is never smaller than what the weights would make of any other text.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from gpt2edge._progress import Progress, silent
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant.equalize import EqualizedTensors
from gpt2edge.quant.graph import CacheScales
from gpt2edge.quant.probe import Probe

FloatArray = NDArray[np.float32]

# KL of the bundled model in windows of 512: 1.02e-4 without a margin, 0.94e-4 with 1.1, 1.13e-4
# with 1.25; 3.8e-4 with 0.9, which cuts off too much.
_MARGIN: Final = 1.1
_LIMIT: Final = 127
# KL of stepmath-0.5m is 0.0019 without an int8 cache, 0.068 with own text alone, 0.0092 with 5
# deviations, 0.0031 with 6 and 0.0041 with 8; of the storyteller 2.3, 3.3, 3.5, 3.9 and 5.0e-4.
_DEVIATIONS: Final = 6.0
_CACHE: Final = ("past_key_values.", "present.")


def measure_cache_scales(
    model: ModelDir,
    windows: Sequence[Sequence[int]],
    tensors: EqualizedTensors,
    progress: Progress = silent,
) -> dict[str, CacheScales]:
    """Scales by the name of the attention node, "h.{layer}/attn".

    The tokens of ``windows`` are read in one row, cut at the model's context and repeated until
    they fill it, so that every position has been seen. ``tensors`` are those of the model that is
    being written, whose values may be divided by factors.
    """
    nodes = [f"h.{layer}/attn" for layer in range(model.config.n_layer)]
    names = [f"{node}/qkv" for node in nodes]
    probe = Probe(model, names)
    largest: dict[str, FloatArray] = {}
    texts = _full_windows(windows, model.config.n_positions)
    for done, text in enumerate(texts):
        progress("measuring keys and values", done, len(texts))
        for node, qkv in zip(nodes, probe.run(text, names), strict=True):
            found = np.abs(qkv).max(axis=0)  # [3 * n_head * head_dim]
            largest[node] = np.maximum(largest.get(node, found), found)
    scales = {}
    for node in nodes:
        block = node.removesuffix("/attn")
        factors = tensors.input_factors.get(f"{block}.attn.c_proj.weight")
        found = largest[node]
        if factors is not None:
            found = found / np.concatenate([np.ones(2 * len(factors), np.float32), factors])
        reach = np.maximum(np.float32(_MARGIN) * found, expected_range(tensors, block))
        _, key, value = (_scales(part, model.config.n_head) for part in np.split(reach, 3))
        scales[node] = CacheScales(key, value)
    return scales


def expected_range(tensors: EqualizedTensors, block: str) -> FloatArray:
    """How large queries, keys and values become [3 * n_head * head_dim], from the weights alone.

    LayerNorm gives inputs of deviation 1 whose sum is 0: six deviations of what a channel makes
    of independent ones, or the utmost where that is less.
    """
    gain, offset = (tensors.read(f"{block}.ln_1.{part}") for part in ("weight", "bias"))
    weight, bias = (tensors.read(f"{block}.attn.c_attn.{part}") for part in ("weight", "bias"))
    scaled = gain[:, None] * weight  # [n_embd, 3 * n_head * head_dim]
    scaled -= scaled.mean(axis=0)
    deviation = np.sqrt(np.square(scaled).sum(axis=0))
    utmost = math.sqrt(len(gain))  # the length of every input
    reach: FloatArray = np.abs(offset @ weight + bias) + min(_DEVIATIONS, utmost) * deviation
    return reach.astype(np.float32)


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
    scales = np.where(largest > 0, largest / np.float32(_LIMIT), 1).astype(np.float32)
    return scales.reshape(1, n_head, 1, -1)
