"""How a decoder hands a KV cache, and the lengths of its rows, to a graph."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt2edge.graph import names
from gpt2edge.runtime.cache.kv_cache import ContiguousCache, KVCache
from gpt2edge.runtime.cache.paged_cache import PagedCache
from gpt2edge.runtime.ort.session import Binding


class CacheInputs(Protocol):
    """Arrays of a cache that a graph reads and writes."""

    def bind(self, binding: Binding, rows: slice) -> None:
        """Bind the arrays of these rows."""
        ...

    def read(self, first: int, count: int) -> None:
        """Update the lengths of ``count`` rows; call after ``advance`` and before the run."""
        ...


class _LastPositions:
    """The position of each row's last token, int32 [rows], which a loaded graph reads."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._last = np.zeros(cache.rows, np.int32)

    def bind(self, binding: Binding, rows: slice) -> None:
        """Bind the positions of these rows."""
        binding.input(names.SEQLENS_K, self._last[rows])

    def read(self, first: int, count: int) -> None:
        """Update the positions of ``count`` rows."""
        if count == 1:
            self._last[first] = int(self._cache.lengths[first]) - 1
        else:
            rows = slice(first, first + count)
            np.subtract(self._cache.lengths[rows], 1, out=self._last[rows], casting="same_kind")


class _Blocks(_LastPositions):
    """A pool of blocks, and the table of those that each row holds."""

    def __init__(self, cache: PagedCache) -> None:
        super().__init__(cache)
        self._pool, self._table = cache.pool, cache.table

    def bind(self, binding: Binding, rows: slice) -> None:
        """Bind the pool, and positions and blocks of these rows."""
        super().bind(binding, rows)
        binding.input(names.KV_CACHE, self._pool.memory)
        binding.input(names.BLOCK_TABLE, self._table[rows])


class _Contiguous(_LastPositions):
    """Keys and values of each layer, updated in place."""

    def __init__(self, cache: ContiguousCache) -> None:
        super().__init__(cache)
        self._data = cache.data
        self._room = np.array(cache.max_length, np.int32)

    def bind(self, binding: Binding, rows: slice) -> None:
        """Bind keys, values and positions of these rows."""
        super().bind(binding, rows)
        binding.input(names.TOTAL_SEQUENCE_LENGTH, self._room)
        _bind_in_place(self._data, binding, rows)


class _Masked:
    """The same for graphs that count the ones of a mask [rows, max_length] int64, one a token."""

    def __init__(self, cache: ContiguousCache) -> None:
        self._cache, self._data = cache, cache.data
        self._positions = np.arange(cache.max_length)
        self._mask = np.zeros((cache.rows, cache.max_length), np.int64)

    def bind(self, binding: Binding, rows: slice) -> None:
        """Bind keys, values and mask of these rows."""
        binding.input(names.ATTENTION_MASK, self._mask[rows])
        _bind_in_place(self._data, binding, rows)

    def read(self, first: int, count: int) -> None:
        """Update the mask of ``count`` rows."""
        rows = slice(first, first + count)
        # [max_length] < [count, 1] -> [count, max_length]
        self._mask[rows] = self._positions < self._cache.lengths[rows, None]


def _bind_in_place(data: NDArray[Any], binding: Binding, rows: slice) -> None:
    """Bind rows of ``data`` [n_layer, 2, rows, n_head, tokens, head_dim] as past and present."""
    for layer, (key, value) in enumerate(data[:, :, rows]):
        for part, array in ((names.KEY, key), (names.VALUE, value)):
            binding.in_place(names.past(layer, part), names.present(layer, part), array)


def inputs_of(cache: KVCache, *, takes_lengths: bool) -> CacheInputs:
    """Return how ``cache`` is bound; without ``takes_lengths`` the graph counts a mask."""
    if isinstance(cache, PagedCache):
        return _Blocks(cache)
    assert isinstance(cache, ContiguousCache)
    return _Contiguous(cache) if takes_lengths else _Masked(cache)
