"""BlockLayout: how keys and values lie in a block of a paged cache (docs/decisions/0032).

A block holds 16 tokens of all layers. Layer by layer it has, for each head,

    keys    [head_dim, 16]   the tokens side by side, so that the kernel scores 16 at once
    values  [16, padded]     ``padded`` is head_dim rounded up to a multiple of 16
    scales  [2, 16] float32  of keys and values, where these are int8; the kernel makes them

``native/src/attention.h`` says the same.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.cache.kv_cache import CacheLayout

BLOCK_TOKENS: Final = 16
_SCALE: Final = np.dtype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLayout(CacheLayout):
    """Shape of a token's keys and values, and of the blocks that hold them.

    ``dtype`` is float32, float16 or int8.
    """

    @property
    def padded(self) -> int:
        """Elements of a token's values in memory, of one head."""
        return -(-self.head_dim // BLOCK_TOKENS) * BLOCK_TOKENS

    @property
    def has_scales(self) -> bool:
        """Return whether each token and head has a scale of its keys and one of its values."""
        return self.dtype == np.int8

    @property
    def layer_bytes(self) -> int:
        """Bytes of one layer of a block."""
        scales = 2 * BLOCK_TOKENS * _SCALE.itemsize if self.has_scales else 0
        elements = (self.head_dim + self.padded) * BLOCK_TOKENS
        return self.n_head * (elements * self.dtype.itemsize + scales)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block."""
        return self.n_layer * self.layer_bytes

    @property
    def token_bytes(self) -> int:
        """Bytes of a token in a full block."""
        return self.block_bytes // BLOCK_TOKENS

    @property
    def stored_dim(self) -> int:
        """Elements of a token's keys outside the cache; a scale's bytes follow the int8 ones."""
        return self.head_dim + (_SCALE.itemsize if self.has_scales else 0)

    def blocks_for(self, tokens: int) -> int:
        """Return how many blocks hold that many tokens of a row."""
        return -(-tokens // BLOCK_TOKENS)

    def row_bytes(self, tokens: int) -> int:
        """Return the bytes of the blocks of a row that holds that many tokens."""
        return self.blocks_for(tokens) * self.block_bytes

    def views(self, memory: NDArray[np.uint8]) -> "BlockViews":
        """Return keys, values and scales of all blocks in ``memory`` [blocks, block_bytes]."""
        size, tokens = self.dtype.itemsize, BLOCK_TOKENS
        outer = (len(memory), self.n_layer, self.n_head)
        head_bytes = self.layer_bytes // self.n_head
        strides = (self.block_bytes, self.layer_bytes, head_bytes)

        def view(
            start: int, shape: tuple[int, int], dtype: np.dtype[Any], line: int
        ) -> NDArray[Any]:
            steps = (*strides, line * dtype.itemsize, dtype.itemsize)
            array: NDArray[Any] = np.ndarray((*outer, *shape), dtype, memory, start, steps)
            return array

        values_at = self.head_dim * tokens * size
        scales_at = values_at + tokens * self.padded * size
        return BlockViews(
            view(0, (self.head_dim, tokens), self.dtype, tokens),
            view(values_at, (tokens, self.head_dim), self.dtype, self.padded),
            view(scales_at, (2, tokens), _SCALE, tokens) if self.has_scales else None,
        )


class BlockViews(NamedTuple):
    """Arrays over the memory of a pool: what is written to them is in the cache."""

    keys: NDArray[Any]
    """[blocks, n_layer, n_head, head_dim, 16]."""
    values: NDArray[Any]
    """[blocks, n_layer, n_head, 16, head_dim]."""
    scales: NDArray[np.float32] | None
    """[blocks, n_layer, n_head, 2, 16] where keys and values are int8."""

    def read(self, blocks: NDArray[np.int32], start: int, stop: int) -> NDArray[Any]:
        """Return a copy of tokens ``start`` to ``stop`` of a row whose blocks these are.

        [n_layer, 2, n_head, tokens, stored_dim]; int8 elements have the four bytes of their scale
        behind them.
        """
        first = start // BLOCK_TOKENS
        blocks = blocks[first : -(-stop // BLOCK_TOKENS)]
        tokens = slice(start - first * BLOCK_TOKENS, stop - first * BLOCK_TOKENS)
        # each [blocks, n_layer, n_head, 16, stored]
        parts = [self.keys[blocks].swapaxes(-1, -2), self.values[blocks]]
        if self.scales is not None:
            parts = [
                np.concatenate([part, _as_bytes(self.scales[blocks][:, :, :, index])], axis=-1)
                for index, part in enumerate(parts)
            ]
        both = np.stack(parts, axis=2)  # [blocks, n_layer, 2, n_head, 16, stored]
        n_blocks, *outer, _, stored = both.shape
        rows = np.moveaxis(both, 0, 3).reshape(*outer, n_blocks * BLOCK_TOKENS, stored)
        return np.ascontiguousarray(rows[..., tokens, :])

    def write(self, block: int, slot: int, tokens: NDArray[Any]) -> None:
        """Write ``tokens``, as ``read`` returns them, to ``block`` from its ``slot`` on."""
        head_dim, count = self.keys.shape[3], tokens.shape[3]
        slots = slice(slot, slot + count)
        keys, values = tokens[:, 0], tokens[:, 1]  # each [n_layer, n_head, tokens, stored]
        self.keys[block, ..., slots] = keys[..., :head_dim].swapaxes(-1, -2)
        self.values[block, :, :, slots] = values[..., :head_dim]
        if self.scales is not None:
            for part, whole in enumerate((keys, values)):
                scales = np.ascontiguousarray(whole[..., head_dim:]).view(_SCALE)[..., 0]
                self.scales[block, :, :, part, slots] = scales


def _as_bytes(scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return the bytes of each scale: [...] -> [..., 4]."""
    return np.ascontiguousarray(scales)[..., None].view(np.int8)
