"""Shapes: between the graph's values, [pos, n] with padded heads, and TransformerLens' shapes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int
from gpt2edge.config import ModelConfig
from gpt2edge.inside.edits import Positions
from gpt2edge.inside.hooks import QKV, Hook
from gpt2edge.runtime.arrays import FloatArray


def in_heads(hook: Hook) -> bool:
    """Return whether a value has an axis of heads."""
    return hook.part in (*QKV, "z")


def positions_of(positions: Positions, tokens: int) -> NDArray[np.int64]:
    """Return the numbers of the tokens that ``positions`` names.

    Raises ValueError for a position outside the prompt.
    """
    if positions is None:
        return np.arange(tokens)
    if isinstance(positions, slice):
        return np.arange(tokens)[positions]
    given: Any = [positions] if not hasattr(positions, "__len__") else positions
    return np.array([check_int("positions", at, -tokens, tokens - 1) % tokens for at in given])


def hook_shape(config: ModelConfig, hook: Hook, width: int, tokens: int) -> tuple[int, ...]:
    """Return the shape of a value: [pos, head, d_head], or [pos, width]."""
    return (tokens, config.n_head, config.head_dim) if in_heads(hook) else (tokens, width)


def split_value(config: ModelConfig, hook: Hook, value: FloatArray) -> FloatArray:
    """Return the part of a graph's value [pos, n] that ``hook`` names, in its shape; a view."""
    if not in_heads(hook):
        return value
    if hook.part in QKV:
        value = np.split(value, 3, axis=-1)[QKV.index(hook.part)]
    heads = value.reshape(len(value), config.n_head, -1)  # [pos, head, padded]
    return heads[..., : config.head_dim]


def edited_columns(
    config: ModelConfig, hook: Hook, keep: FloatArray, add: FloatArray, head_width: int
) -> tuple[FloatArray, FloatArray]:
    """Return ``keep`` and ``add`` of a value's shape as the graph has it, each [1, pos, n].

    A head has ``head_width`` columns there.
    """
    if not in_heads(hook):
        return keep[None], add[None]
    tokens = len(keep)
    found = []
    for array, neutral in ((keep, 1), (add, 0)):
        thirds = 3 if hook.part in QKV else 1
        whole = np.full((tokens, thirds, config.n_head, head_width), neutral, np.float32)
        part = QKV.index(hook.part) if hook.part in QKV else 0
        whole[:, part, :, : config.head_dim] = array
        found.append(whole.reshape(1, tokens, -1))
    return found[0], found[1]
