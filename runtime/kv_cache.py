"""KVCache: keys and values of every layer, preallocated and updated in place."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class KVCache:
    """Keys and values of ``rows`` sequences, each up to ``max_length`` tokens long.

    ``data`` is float32 [n_layer, 2, rows, n_head, max_length, head_dim]; pages that no token has
    reached are reserved, not used. ``lengths`` [rows] says how many tokens each row holds, and
    ``attention_mask`` [rows, max_length] int64 says the same in ones and zeros for the graph.
    Change lengths only through the methods.
    """

    def __init__(
        self, rows: int, max_length: int, *, n_layer: int, n_head: int, head_dim: int
    ) -> None:
        self.data = np.empty((n_layer, 2, rows, n_head, max_length, head_dim), np.float32)
        self.lengths: NDArray[np.int64] = np.zeros(rows, np.int64)
        self.attention_mask: NDArray[np.int64] = np.zeros((rows, max_length), np.int64)

    @property
    def rows(self) -> int:
        """Number of sequences."""
        return len(self.lengths)

    @property
    def max_length(self) -> int:
        """Tokens that each row can hold."""
        return int(self.attention_mask.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values that hold tokens now."""
        return int(self.lengths.sum()) * self.token_bytes

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values of one token."""
        n_layer, _, _, n_head, _, head_dim = self.data.shape
        return 2 * n_layer * n_head * head_dim * self.data.itemsize

    def advance(self, first: int, count: int, tokens: int) -> None:
        """Count ``tokens`` more in rows ``first`` to ``first + count - 1``.

        Raises ValueError where a row has no room for them.
        """
        longest = int(self.lengths[first : first + count].max()) + tokens
        if longest > self.max_length:
            raise ValueError(f"{longest} tokens do not fit a cache of {self.max_length}")
        for row in range(first, first + count):
            length = self.lengths[row]
            self.attention_mask[row, length : length + tokens] = 1
        self.lengths[first : first + count] += tokens

    def truncate(self, row: int, length: int) -> None:
        """Forget all tokens of ``row`` from ``length`` on."""
        if not 0 <= length <= self.lengths[row]:
            raise ValueError(f"length is {length}; row {row} holds {self.lengths[row]} tokens")
        self._set_length(row, length)

    def fork(self, row: int, targets: Sequence[int]) -> None:
        """Make every row in ``targets`` a copy of ``row``; what they held is forgotten."""
        length = int(self.lengths[row])
        for target in targets:
            if target != row:
                self.data[:, :, target, :, :length] = self.data[:, :, row, :, :length]
                self._set_length(target, length)

    def select(self, rows: Sequence[int]) -> None:
        """Make row ``i`` what ``rows[i]`` was; a row may be named often. The rest are emptied."""
        lengths = [int(self.lengths[row]) for row in rows]
        moved = [place for place, row in enumerate(rows) if place != row]
        longest = max((lengths[place] for place in moved), default=0)
        sources = [rows[place] for place in moved]
        for layer in self.data:  # one layer at a time, so that the copy stays small
            layer[:, moved, :, :longest] = layer[:, sources, :, :longest]
        for row in range(self.rows):
            self._set_length(row, lengths[row] if row < len(rows) else 0)

    def _set_length(self, row: int, length: int) -> None:
        self.lengths[row] = length
        self.attention_mask[row, :length] = 1
        self.attention_mask[row, length:] = 0
