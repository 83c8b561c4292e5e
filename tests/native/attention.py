"""The attention kernels by ctypes, and attention in float64 to compare them with."""

import ctypes
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.native.library import Library
from gpt2edge.runtime.cache.block_layout import BLOCK_TOKENS, BlockLayout
from gpt2edge.runtime.ort.attention_edits import CACHE_TYPES

Floats = NDArray[np.float32]

_INT, _POINTER, _LONG = ctypes.c_int, ctypes.c_void_p, ctypes.c_int64
_SIGNATURE: Final = (
    *(_INT, _INT, _POINTER, _POINTER, _LONG, _POINTER, _INT, _POINTER, _INT, _INT),
    *(_INT, _INT, _INT, _INT, ctypes.c_float, _LONG, _POINTER),
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One variant of the kernel, for one layout of the cache and one layer of it."""

    library: Library
    variant: int
    layout: BlockLayout
    layer: int
    scale: float

    def __call__(
        self,
        qkv: Floats,
        pool: NDArray[np.uint8],
        table: NDArray[np.int32],
        last: NDArray[np.int32],
        first: int = 0,
    ) -> Floats:
        """Attention of ``qkv`` [batch, sequence, 3, heads, head_dim]; updates ``pool``.

        Work items run from the one numbered ``first`` on. Raises ValueError with the kernel's
        message.
        """
        function = self.library.functions.gpt2edge_attention
        function.argtypes, function.restype = _SIGNATURE, ctypes.c_char_p
        layout, (batch, sequence) = self.layout, qkv.shape[:2]
        arrays = [np.ascontiguousarray(array) for array in (qkv, table, last)]
        out = np.full((batch, sequence, layout.n_head, layout.head_dim), np.nan, np.float32)
        values, blocks, lasts = (array.ctypes.data for array in arrays)
        error = function(
            *(self.variant, CACHE_TYPES[layout.dtype.name], values, pool.ctypes.data, len(pool)),
            *(blocks, table.shape[1], lasts, batch, sequence, layout.n_layer, self.layer),
            *(layout.n_head, layout.head_dim, self.scale, first, out.ctypes.data),
        )
        if error is not None:
            raise ValueError(error.decode())
        return out


def new_pool(layout: BlockLayout, blocks: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Memory for blocks, filled with any bytes: among them no numbers and infinities."""
    shape = (blocks, layout.n_layer, layout.layer_bytes)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def new_table(rows: int, tokens: int, blocks: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Blocks for rows of so many tokens, all different, in any order."""
    width = -(-tokens // BLOCK_TOKENS)
    table = rng.permutation(blocks)[: rows * width].reshape(rows, width)
    return np.ascontiguousarray(table.astype(np.int32))


def exact(qkv: Floats, layout: BlockLayout, scale: float) -> NDArray[np.float64]:
    """Causal attention of whole rows [batch, tokens, 3, heads, head_dim] in float64.

    Keys and values are rounded to the cache's type before.
    """
    q, k, v = (qkv[:, :, part].astype(np.float64) for part in range(3))
    k, v = held(k, layout), held(v, layout)
    scores = np.einsum("bshd,bnhd->bhsn", q, k) * scale
    tokens = qkv.shape[1]
    seen = np.tri(tokens, dtype=bool)
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: NDArray[np.float64] = np.einsum("bhsn,bnhd->bshd", weights, v)
    return mixed


def held(values: NDArray[np.float64], layout: BlockLayout) -> NDArray[np.float64]:
    """Keys or values [..., head_dim] as the cache holds them."""
    if layout.dtype != np.int8:
        rounded: NDArray[np.float64] = values.astype(layout.dtype).astype(np.float64)
        return rounded
    single = values.astype(np.float32)
    largest = np.abs(single).max(axis=-1, keepdims=True)
    steps = np.where(largest > 0, np.float32(127) / np.where(largest > 0, largest, 1), 0)
    whole: NDArray[np.float32] = np.rint(single * steps.astype(np.float32))
    scales: NDArray[np.float64] = (largest / np.float32(127)).astype(np.float64)
    return whole.astype(np.float64) * scales
