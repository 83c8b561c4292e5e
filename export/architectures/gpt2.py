"""GPT-2's forward pass as an ONNX graph of profile ``cpu``, in the order in which it computes.

GPT-Neo, GPT-BigCode, OPT and BioGPT have the same, with the numbers of their ``ModelConfig``: the
scale of the scores, layers that see a window of tokens, one head of keys and values for all
queries.

Nothing is traced: each line appends one operator, a fused one where ONNX Runtime has it. The
key/value cache is updated in place when past and present are bound to the same buffer.

    input_ids       int64 [batch, sequence]
    attention_mask  int64 [batch, total]; a row's length is its sum
    position_ids    int64 [batch, sequence]
    past_key_values.{i}.key|value  float [batch, n_kv_head, past, head_dim]
    logits_to_keep  int64 [batch, n], optional: the positions of the logits to return

    logits          float [batch, n or sequence, vocab_size or labels]
    present.{i}.key|value          float [batch, n_kv_head, past + sequence, head_dim]

Between the products activations are [rows, width], rows = batch * sequence, so that ``Gemm``
carries the bias.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto

from gpt2edge.config import ModelConfig
from gpt2edge.export.architectures.activations import activation
from gpt2edge.export.architectures.head_padding import pad_heads, padded_head_dim
from gpt2edge.export.architectures.model_graph import ModelGraph, Weights
from gpt2edge.export.sources.tensor_layout import Head
from gpt2edge.graph import names
from gpt2edge.graph.builder import MICROSOFT, integers
from gpt2edge.graph.names import Block
from gpt2edge.graph.weights_file import WeightsFile

_HIDDEN_SHAPE = f"{names.HIDDEN_STATES}/shape"

Attend: TypeAlias = Callable[[ModelGraph, str, Block], str]
"""Appends attention of queries, keys and values, side by side: [rows, width + 2 * cache width] ->
[batch, sequence, ...]. The cache's width is that of queries where both have as many heads."""


def gpt2(
    config: ModelConfig, head: Head, weights: Weights, store: WeightsFile, *, hidden_states: bool
) -> ModelProto:
    """Build the graph of profile cpu; its weights go to ``store`` as they are read."""
    padded, head_dim = pad_heads(config, weights), padded_head_dim(config)
    g = ModelGraph(config, head, padded, store, head_dim=head_dim, hidden_states=hidden_states)
    count_mask(g)
    x = embed(g)  # [rows, n_embd]
    for block in map(Block, range(config.n_layer)):
        mixed = attention(g, layer_norm(g, x, block.part(names.LN_1)), block, attend_in_place)
        x = add(g, x, mixed, block.attention_residual)
        mapped = mlp(g, layer_norm(g, x, block.part(names.LN_2)), block)
        x = add(g, x, mapped, block.mlp_residual)
    x = keep_positions(g, x)  # [kept rows, n_embd]
    logits(g, layer_norm(g, x, names.LN_F))
    return g.model(config.architecture, inputs_in_place(g), g.outputs())


def inputs_in_place(g: ModelGraph) -> list[ValueInfoProto]:
    """Declare the inputs of profile cpu, with the optional ``logits_to_keep``."""
    optional = integers(names.LOGITS_TO_KEEP, ["logits_batch", "logits_kept"])
    return [*g.inputs(total=names.TOTAL_SEQUENCE_LENGTH), optional]


def count_mask(g: ModelGraph) -> None:
    """Append the inputs of ``attend_in_place`` in every layer: lengths, and its input's shape."""
    lengths = g.op(
        "ReduceSum", names.ATTENTION_MASK, g.ints(1), name=names.MASK_LENGTHS, keepdims=0
    )
    last = g.op("Sub", lengths, g.ints(1), name=names.MASK_LAST)  # [batch]
    g.op("Cast", last, name=names.SEQLENS_K, to=TensorProto.INT32)
    shape = g.op("Shape", names.ATTENTION_MASK, name=names.MASK_SHAPE)
    total = g.op("Gather", shape, g.scalar(1), name=names.MASK_WIDTH)  # []
    g.op("Cast", total, name=names.TOTAL_SEQUENCE_LENGTH, to=TensorProto.INT32)
    shape = g.op("Shape", names.INPUT_IDS, name=names.INPUT_SHAPE)
    g.op("Concat", shape, g.ints(-1), name=names.THREE_AXES, axis=0)  # batch, sequence, the rest


def embed(g: ModelGraph) -> str:
    """Append the sum of token and position embeddings: [batch, sequence] -> [rows, n_embd]."""
    wte, wpe = g.weight(names.weight(names.WTE)), g.weight(names.weight(names.WPE))
    tokens = g.op("Gather", wte, names.INPUT_IDS, name=names.WTE)
    positions = g.op("Gather", wpe, names.POSITION_IDS, name=names.WPE)
    x = g.op("Add", tokens, positions, name=names.EMBEDDING)  # [batch, sequence, n_embd]
    return g.op("Reshape", x, g.ints(-1, g.config.n_embd), name=names.EMBEDDING_ROWS)


def attention(g: ModelGraph, x: str, block: Block, attend: Attend) -> str:
    """Append attention with its projections: [rows, n_embd] -> [rows, n_embd]."""
    qkv = linear(g, x, block.part(names.C_ATTN))  # [rows, width + 2 * cache width]
    mixed = attend(g, qkv, block)  # [batch, sequence, width]
    rows = g.ints(-1, g.config.n_head * g.head_dim)
    mixed = g.op("Reshape", mixed, rows, name=block.attention_rows)  # [rows, width]
    return linear(g, mixed, block.part(names.ATTN_C_PROJ))


def attend_in_place(g: ModelGraph, qkv: str, block: Block) -> str:
    """Append attention that updates its cache: [rows, ...] -> [batch, sequence, width]."""
    layer, config = block.layer, g.config
    window = {"local_window_size": config.window(layer)} if config.window(layer) else {}
    return g.op(
        "GroupQueryAttention",
        g.op("Reshape", qkv, names.THREE_AXES, name=block.qkv),  # [batch, sequence, 3 * width]
        *("", ""),  # no separate keys and values: they are in the first input
        *(names.past(layer, part) for part in names.CACHE_PARTS),
        *(names.SEQLENS_K, names.TOTAL_SEQUENCE_LENGTH),
        name=[block.attention, *(names.present(layer, part) for part in names.CACHE_PARTS)],
        domain=MICROSOFT,
        num_heads=config.n_head,
        kv_num_heads=config.n_kv_head,
        do_rotary=0,
        scale=config.attention_scale(layer),
        **window,
    )


def mlp(g: ModelGraph, x: str, block: Block, *, fused: bool = True) -> str:
    """Append the MLP: [rows, n_embd] -> [rows, n_inner] -> [rows, n_embd]."""
    inner = linear(g, x, block.part(names.C_FC))  # [rows, n_inner]
    kind = g.config.activation_function
    inner = activation(g, kind, inner, name=block.activation, fused=fused)
    return linear(g, inner, block.part(names.MLP_C_PROJ))


def add(g: ModelGraph, x: str, change: str, name: str) -> str:
    """Append the sum of a block's input and what a part of the block adds: [rows, n_embd]."""
    # Not SkipLayerNormalization: on CPU it takes several times as long as Add + LayerNormalization.
    return g.op("Add", x, change, name=name)


def keep_positions(g: ModelGraph, x: str) -> str:
    """Append the selection of the positions in ``logits_to_keep``; all rows if it is not fed.

    [rows, n_embd] -> [kept rows, n_embd].
    """
    wanted = g.constant(names.LOGITS_TO_KEEP, np.zeros((1, 0), np.int64))  # default: not fed
    size = g.op("Size", wanted, name=names.KEPT_SIZE)
    fed = g.op("Cast", size, name=names.KEPT_FED, to=TensorProto.BOOL)
    rows, shape = g.ints(-1, g.config.n_embd), ("rows", g.config.n_embd)
    with g.branch() as chosen:
        hidden = g.op("Reshape", x, names.THREE_AXES, name="kept/3d")  # [batch, sequence, n_embd]
        index = g.op("Unsqueeze", wanted, g.ints(-1), name="kept/index")  # [batch, n, 1]
        # [batch, n, n_embd]
        kept = g.op("GatherND", hidden, index, name="kept/gathered", batch_dims=1)
        g.op("Reshape", kept, rows, name="kept/chosen")  # [batch * n, n_embd]
    with g.branch() as every:
        g.op("Reshape", x, rows, name="kept/all")
    branches = {"then_branch": chosen.graph(shape), "else_branch": every.graph(shape)}
    return g.op("If", fed, name=names.KEPT, **branches)


def logits(g: ModelGraph, x: str) -> None:
    """Append the head: [kept rows, n_embd] -> logits [batch, positions, size].

    Where the graph shows hidden states, they are ``x`` as [batch, positions, n_embd].
    """
    head, wte = g.head, names.weight(names.WTE)
    weight = wte if head.weight == wte else g.weight(head.weight)  # a tied weight is there already
    biases = [g.weight(head.bias)] if head.bias else []
    # [kept rows, size]
    flat = g.op("Gemm", x, weight, *biases, name=names.head(head.weight), transB=1)
    batch = g.op("Gather", names.INPUT_SHAPE, g.ints(0), name=names.BATCH)  # [1]
    shape = g.op("Concat", batch, g.ints(-1, head.size), name=names.LOGITS_SHAPE, axis=0)
    g.op("Reshape", flat, shape, name=names.LOGITS)
    if g.hidden_states:
        shape = g.op("Concat", batch, g.ints(-1, g.config.n_embd), name=_HIDDEN_SHAPE, axis=0)
        g.op("Reshape", x, shape, name=names.HIDDEN_STATES)


def layer_norm(g: ModelGraph, x: str, part: str) -> str:
    """Append LayerNorm over the last axis, with the gain and bias of ``part``."""
    inputs, epsilon = g.weight_and_bias(part), g.config.layer_norm_epsilon
    name = names.node(part)
    return g.op("LayerNormalization", x, *inputs, name=name, axis=-1, epsilon=epsilon)


def linear(g: ModelGraph, x: str, part: str) -> str:
    """Append the product with the weight [in, out] of ``part``: [rows, in] -> [rows, out]."""
    # Gemm is faster than MatMul + Add (124M, 2 threads, ms): prefill of 512 1,219 / 1,291, eight
    # tokens 37.7 / 42.7, one token 25.0 / 24.5 (bound by reading the weights either way).
    return g.op("Gemm", x, *g.weight_and_bias(part), name=names.node(part))
