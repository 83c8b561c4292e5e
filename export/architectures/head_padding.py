"""Head padding: GroupQueryAttention on CPU needs a head_dim that is a multiple of 8.

Zeros after each head's columns of ``c_attn`` and rows of ``c_proj`` change no product, and the
scale of the scores is an attribute of the operator, so the padded model computes the same function.
"""

from typing import Final

import numpy as np

from gpt2edge.config import ModelConfig
from gpt2edge.export.architectures.model_graph import Weights
from gpt2edge.graph import names
from gpt2edge.runtime.arrays import FloatArray

_STEP: Final = 8


def padded_head_dim(config: ModelConfig) -> int:
    """Return the cache's head_dim: the model's own, rounded up."""
    return -(-config.head_dim // _STEP) * _STEP


def pad_heads(config: ModelConfig, weights: Weights) -> Weights:
    """Return ``weights`` with the attention's tensors padded, or unchanged if none needs it."""
    head_dim, padded = config.head_dim, padded_head_dim(config)

    def padded_weights(name: str) -> FloatArray:
        array = weights(name)
        if f".{names.C_ATTN}." in name:
            return _pad(array, head_dim, padded)
        if name.endswith(names.weight(names.ATTN_C_PROJ)):
            rows: FloatArray = _pad(array.T, head_dim, padded).T  # [heads * padded, n_embd]
            return rows
        return array

    return weights if head_dim == padded else padded_weights


def _pad(array: FloatArray, head_dim: int, padded: int) -> FloatArray:
    """Pad each head with zeros: [..., heads * head_dim] -> [..., heads * padded]."""
    heads = array.reshape(*array.shape[:-1], -1, head_dim)  # [..., heads, head_dim]
    width = [(0, 0)] * (heads.ndim - 1) + [(0, padded - head_dim)]
    return np.pad(heads, width).reshape(*array.shape[:-1], -1)
