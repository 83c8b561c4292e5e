"""GPT-2's forward pass of profile ``portable``: standard ONNX operators in Optimum's layout.

Any engine that runs ONNX can run it. The inputs and outputs are those of profile ``cpu`` without
``logits_to_keep``; ``present`` is ``past_key_values`` with the new tokens appended, and
``attention_mask`` may hide any token, so that batches can be padded on the left:

    scores[b, h, s, t] = q[b, h, s] · k[b, h, t] * scale, where t <= past + s and mask[b, t] is 1
"""

from typing import Final

import numpy as np
from onnx import ModelProto, TensorProto

from gpt2edge.config import ModelConfig
from gpt2edge.export.architectures.gpt2 import add, attention, embed, layer_norm, logits, mlp
from gpt2edge.export.architectures.model_graph import TOTAL_LENGTH, ModelGraph, Weights
from gpt2edge.export.sources.tensor_layout import Head
from gpt2edge.graph import names
from gpt2edge.graph.names import Block
from gpt2edge.graph.weights_file import WeightsFile

_HIDDEN: Final = float(np.finfo(np.float32).min) / 2
"""Added to a masked score. Half of the lowest float32: its sum with any score is finite, so that a
query without visible keys, such as padding, gets no NaN."""
_BIAS: Final = "mask/bias"
_HEADS: Final = "shape/heads"


def gpt2_portable(
    config: ModelConfig, head: Head, weights: Weights, store: WeightsFile, *, hidden_states: bool
) -> ModelProto:
    """Build the graph of profile portable; its weights go to ``store`` as they are read."""
    g = ModelGraph(config, head, weights, store, hidden_states=hidden_states)
    mask_bias(g)
    x = embed(g)  # [rows, n_embd]
    for block in map(Block, range(config.n_layer)):
        mixed = attention(g, layer_norm(g, x, block.part(names.LN_1)), block, attend_with_concat)
        x = add(g, x, mixed, block.attention_residual)
        mapped = mlp(g, layer_norm(g, x, block.part(names.LN_2)), block, fused=False)
        x = add(g, x, mapped, block.mlp_residual)
    logits(g, layer_norm(g, x, names.LN_F))
    return g.model(config.architecture, g.inputs(total=TOTAL_LENGTH), g.outputs())


def gpt1_portable(
    config: ModelConfig, head: Head, weights: Weights, store: WeightsFile, *, hidden_states: bool
) -> ModelProto:
    """Build the graph of GPT-1, whose norms follow the sums, of profile portable."""
    g = ModelGraph(config, head, weights, store, hidden_states=hidden_states)
    mask_bias(g)
    x = embed(g)  # [rows, n_embd]
    for block in map(Block, range(config.n_layer)):
        x = add(g, x, attention(g, x, block, attend_with_concat), block.attention_residual)
        x = layer_norm(g, x, block.part(names.LN_1))
        x = add(g, x, mlp(g, x, block, fused=False), block.mlp_residual)
        x = layer_norm(g, x, block.part(names.LN_2))
    logits(g, x)
    return g.model(config.architecture, g.inputs(total=TOTAL_LENGTH), g.outputs())


def mask_bias(g: ModelGraph) -> None:
    """Append the bias that every layer adds to its scores: [batch, 1, sequence, total]."""
    shape = g.op("Shape", names.INPUT_IDS, name=names.INPUT_SHAPE)
    sequence = g.op("Gather", shape, g.scalar(1), name="mask/sequence")  # []
    mask_shape = g.op("Shape", names.ATTENTION_MASK, name=names.MASK_SHAPE)
    total = g.op("Gather", mask_shape, g.scalar(1), name="mask/total")  # []
    past = g.op("Sub", total, sequence, name="mask/past")
    keys = g.op("Range", g.scalar(0), total, g.scalar(1), name="mask/keys")  # [total]
    queries = g.op("Range", past, total, g.scalar(1), name="mask/queries")  # [sequence]
    queries = g.op("Unsqueeze", queries, g.ints(-1), name="mask/queries/column")  # [sequence, 1]
    causal = g.op("LessOrEqual", keys, queries, name="mask/causal")  # [sequence, total]
    real = g.op("Cast", names.ATTENTION_MASK, name="mask/real", to=TensorProto.BOOL)
    real = g.op("Unsqueeze", real, g.ints(1, 2), name="mask/real/4d")  # [batch, 1, 1, total]
    seen = g.op("And", causal, real, name="mask/seen")  # [batch, 1, sequence, total]
    g.op("Where", seen, g.scalar(0.0), g.scalar(_HIDDEN), name=_BIAS)
    for window in sorted(set(g.config.windows) - {0}):  # those layers see ``window`` tokens back
        first = g.op("Sub", queries, g.scalar(window - 1), name=f"mask/first/{window}")
        near = g.op("GreaterOrEqual", keys, first, name=f"mask/near/{window}")
        near = g.op("And", seen, near, name=f"mask/seen/{window}")
        g.op("Where", near, g.scalar(0.0), g.scalar(_HIDDEN), name=f"{_BIAS}/{window}")
    heads = g.ints(g.config.n_head if g.config.kv_heads is None else -1, g.head_dim)
    g.op("Concat", shape, heads, name=_HEADS, axis=0)  # batch, sequence, heads, head_dim


def attend_with_concat(g: ModelGraph, qkv: str, block: Block) -> str:
    """Append attention over a cache that grows: [rows, ...] -> [batch, sequence, ...].

    One head of keys and values is broadcast to all heads of queries.
    """
    name, config = block.attention, g.config
    parts = [f"{name}/query", f"{name}/key", f"{name}/value"]
    widths = [heads * g.head_dim for heads in (config.n_head, *2 * [config.n_kv_head])]
    sizes = [] if config.kv_heads is None else [g.ints(*widths)]
    # [rows, width], and two of [rows, cache width]
    g.op("Split", qkv, *sizes, name=[f"{part}/2d" for part in parts], axis=1)
    query, key, value = (split_heads(g, part) for part in parts)
    key = append_to_past(g, key, block, names.KEY)  # [batch, n_kv_head, total, head_dim]
    value = append_to_past(g, value, block, names.VALUE)
    scale = g.scalar(config.attention_scale(block.layer))
    query = g.op("Mul", query, scale, name=f"{name}/query/scaled")
    # [batch, n_head, head_dim, total]
    columns = g.op("Transpose", key, name=f"{name}/key/columns", perm=[0, 1, 3, 2])
    scores = g.op("MatMul", query, columns, name=f"{name}/scores")  # [..., sequence, total]
    window = config.window(block.layer)
    bias = f"{_BIAS}/{window}" if window else _BIAS
    scores = g.op("Add", scores, bias, name=f"{name}/scores/masked")
    weights = g.op("Softmax", scores, name=f"{name}/weights", axis=-1)
    mixed = g.op("MatMul", weights, value, name=f"{name}/mixed")  # [batch, n_head, sequence, ...]
    return g.op("Transpose", mixed, name=name, perm=[0, 2, 1, 3])  # [batch, sequence, n_head, ...]


def split_heads(g: ModelGraph, part: str) -> str:
    """Append the split into heads: [rows, width] -> [batch, n_head, sequence, head_dim]."""
    # [batch, sequence, n_head, head_dim]
    split = g.op("Reshape", f"{part}/2d", _HEADS, name=f"{part}/split")
    return g.op("Transpose", split, name=part, perm=[0, 2, 1, 3])


def append_to_past(g: ModelGraph, x: str, block: Block, part: str) -> str:
    """Append the concatenation of earlier and new keys or values along the third axis.

    [batch, n_head, sequence, head_dim] -> [batch, n_head, past + sequence, head_dim].
    """
    past, present = names.past(block.layer, part), names.present(block.layer, part)
    return g.op("Concat", past, x, name=present, axis=2)
