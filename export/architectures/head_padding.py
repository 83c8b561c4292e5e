"""Attention heads of a width that GroupQueryAttention takes on CPU: a multiple of 8.

Zeros behind each head's columns of ``c_attn`` and rows of ``c_proj`` change no product, and the
scale of the scores is given to the operator, so the padded model computes the same function.
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
    """Return ``weights`` with the attention's tensors padded; itself where nothing needs it."""
    own, padded = config.head_dim, padded_head_dim(config)

    def padded_weights(name: str) -> FloatArray:
        array = weights(name)
        if f".{names.C_ATTN}." in name:
            return _pad(array, own, padded)
        if name.endswith(names.weight(names.ATTN_C_PROJ)):
            rows: FloatArray = _pad(array.T, own, padded).T
            return rows
        return array

    return weights if own == padded else padded_weights


def _pad(array: FloatArray, own: int, padded: int) -> FloatArray:
    """[..., heads * own] -> [..., heads * padded]."""
    heads = array.reshape(*array.shape[:-1], -1, own)  # [..., heads, own]
    width = [(0, 0)] * (heads.ndim - 1) + [(0, padded - own)]
    return np.pad(heads, width).reshape(*array.shape[:-1], -1)
