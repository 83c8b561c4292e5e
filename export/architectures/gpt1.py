"""GPT-1's forward pass as an ONNX graph of profile ``cpu``: each norm follows the sum before it.

The inputs, outputs and names are GPT-2's (``gpt2``); there is no norm after the last block.
"""

from onnx import ModelProto

from gpt2edge.config import ModelConfig
from gpt2edge.export.architectures.gpt2 import (
    add,
    attend_in_place,
    attention,
    count_mask,
    embed,
    inputs_in_place,
    keep_positions,
    layer_norm,
    logits,
    mlp,
)
from gpt2edge.export.architectures.head_padding import pad_heads, padded_head_dim
from gpt2edge.export.architectures.model_graph import ModelGraph, Weights
from gpt2edge.export.sources.tensor_layout import Head
from gpt2edge.graph import names
from gpt2edge.graph.names import Block
from gpt2edge.graph.weights_file import WeightsFile


def gpt1(
    config: ModelConfig, head: Head, weights: Weights, store: WeightsFile, *, hidden_states: bool
) -> ModelProto:
    """Build the graph of profile cpu; its weights go to ``store`` as they are read."""
    padded, head_dim = pad_heads(config, weights), padded_head_dim(config)
    g = ModelGraph(config, head, padded, store, head_dim=head_dim, hidden_states=hidden_states)
    count_mask(g)
    x = embed(g)  # [rows, n_embd]
    for block in map(Block, range(config.n_layer)):
        x = add(g, x, attention(g, x, block, attend_in_place), block.attention_residual)
        x = layer_norm(g, x, block.part(names.LN_1))
        x = add(g, x, mlp(g, x, block), block.mlp_residual)
        x = layer_norm(g, x, block.part(names.LN_2))
    x = keep_positions(g, x)  # [kept rows, n_embd]
    logits(g, x)
    return g.model(config.architecture, inputs_in_place(g), g.outputs())
