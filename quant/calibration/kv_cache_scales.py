"""Scales of an int8 KV cache, one for every channel of every head, from a calibration text.

``GroupQueryAttention`` rounds keys and values to int8 as they enter the cache, by constant scales
in the graph, and clips larger values. A text alone is not enough: a model's own text may differ
from its prompts, on which it need not be trained. So a scale is never smaller than the range
expected from the weights for any text.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from onnx import ModelProto, TensorProto

from gpt2edge._progress import Progress, silent
from gpt2edge.evaluate.probe import Probe
from gpt2edge.graph import names
from gpt2edge.graph.names import Block
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant.calibration.equalization import EqualizedTensors
from gpt2edge.quant.rewriting.operators import CacheScales
from gpt2edge.runtime.arrays import FloatArray

# KL of the bundled model in windows of 512: 1.02e-4 without a margin, 0.94e-4 with 1.1, 1.13e-4
# with 1.25; 3.8e-4 with 0.9, which clips too much.
_MARGIN: Final = 1.1
_LIMIT: Final = 127
# KL of stepmath-0.5m is 0.0019 without an int8 cache, 0.068 with own text alone, 0.0092 with 5
# deviations, 0.0031 with 6 and 0.0041 with 8; of the storyteller 2.3, 3.3, 3.5, 3.9 and 5.0e-4.
_DEVIATIONS: Final = 6.0


def measure_cache_scales(
    model: ModelDir,
    windows: Sequence[Sequence[int]],
    tensors: EqualizedTensors,
    progress: Progress = silent,
) -> dict[str, CacheScales]:
    """Measure the cache's scales, by the name of the attention node.

    The tokens of ``windows`` are joined and cut into texts of the model's context, repeated if they
    are fewer, so that every position is measured. ``tensors`` are those of the model under
    construction, whose values may be divided by equalization factors.
    """
    blocks = [Block(layer) for layer in range(model.config.n_layer)]
    values = [block.qkv for block in blocks]
    probe = Probe(model, values)
    largest: dict[str, FloatArray] = {}
    texts = _full_windows(windows, model.config.n_positions)
    for done, text in enumerate(texts):
        progress("measuring keys and values", done, len(texts))
        for block, qkv in zip(blocks, probe.run(text, values), strict=True):
            seen = np.abs(qkv).max(axis=0)  # [tokens, heads * head_dim] -> [heads * head_dim]
            largest[block.attention] = np.maximum(largest.get(block.attention, seen), seen)
    scales = {}
    for block in blocks:
        factors = tensors.input_factors.get(names.weight(block.part(names.ATTN_C_PROJ)))
        measured = largest[block.attention]
        if factors is not None:  # [n_head * head_dim], of the values only
            others = np.ones(len(measured) - len(factors), np.float32)
            measured = measured / np.concatenate([others, factors])
        reach = np.float32(_MARGIN) * measured
        norm = _norm_before(block, norms_after=model.config.norms_after)
        if norm is not None:
            reach = np.maximum(reach, expected_range(tensors, block, norm))
        heads = reach.reshape(model.config.n_head + 2 * model.config.n_kv_head, -1)
        key, value = map(_scales, np.split(heads[model.config.n_head :], 2))
        scales[block.attention] = CacheScales(key, value)
    return scales


def _norm_before(block: Block, *, norms_after: bool) -> str | None:
    """Name the norm whose output a block's attention reads: its own, or that of the block before.

    None for the first block of a model whose norms follow the sums: it reads the embedding.
    """
    if not norms_after:
        return block.part(names.LN_1)
    return Block(block.layer - 1).part(names.LN_2) if block.layer else None


def expected_range(tensors: EqualizedTensors, block: Block, norm: str) -> FloatArray:
    """Estimate the ranges of queries, keys and values [heads * head_dim] from the weights.

    ``norm`` names the norm of their inputs, which have standard deviation 1 and sum to 0 before its
    gain and bias. The range is six standard
    deviations of a channel for independent inputs, or the largest possible value if that is less.
    """
    qkv = block.part(names.C_ATTN)
    gain, offset = tensors.read(names.weight(norm)), tensors.read(names.bias(norm))
    weight, bias = tensors.read(names.weight(qkv)), tensors.read(names.bias(qkv))
    scaled = gain[:, None] * weight  # [n_embd, heads * head_dim]
    scaled -= scaled.mean(axis=0)
    deviation = np.sqrt(np.square(scaled).sum(axis=0))  # [heads * head_dim]
    input_norm = math.sqrt(len(gain))  # the Euclidean norm of every input
    reach: FloatArray = np.abs(offset @ weight + bias) + min(_DEVIATIONS, input_norm) * deviation
    return reach.astype(np.float32)


def declare_int8_cache(model: ModelProto) -> None:
    """Declare past_key_values and present of the graph as int8."""
    for value in (*model.graph.input, *model.graph.output):
        if names.is_past(value.name) or names.is_present(value.name):
            value.type.tensor_type.elem_type = TensorProto.INT8


def _full_windows(windows: Sequence[Sequence[int]], context: int) -> list[list[int]]:
    ids = np.concatenate([np.asarray(window, np.int64) for window in windows])
    joined = np.resize(ids, max(1, len(ids) // context) * context)  # repeats or cuts
    return [[int(token_id) for token_id in text] for text in joined.reshape(-1, context)]


def _scales(largest: FloatArray) -> FloatArray:
    """Return scales, [heads, head_dim] -> [1, heads, 1, head_dim]; 1 for an all-zero channel."""
    scales = np.where(largest > 0, largest / np.float32(_LIMIT), 1).astype(np.float32)
    return scales[None, :, None]
