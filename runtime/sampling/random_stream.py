"""RandomStream: counter-based random numbers; the i-th depends only on the key and i."""

from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np

_BLOCK: Final = 32


class RandomStream:
    """Random float64 numbers in [0, 1) for a key, such as (seed, sample).

    A copy continues from the same point. Numbers are generated in blocks, on demand: generating
    single numbers, or a generator that is never used, would slow down a tiny model's decode step.
    """

    __slots__ = ("_at", "_block", "_key", "_made")

    def __init__(self, key: Sequence[int]) -> None:
        self._key = tuple(key)
        self._block: list[float] = []
        self._at = self._made = 0

    def next(self) -> float:
        """Return the next number."""
        if self._at == len(self._block):
            bits = np.random.PCG64(list(self._key)).advance(self._made)
            self._block = np.random.Generator(bits).random(_BLOCK).tolist()
            self._made += _BLOCK
            self._at = 0
        share = self._block[self._at]
        self._at += 1
        return share

    def fork(self) -> "RandomStream":
        """Return an independent stream that continues from the same point."""
        return copy(self)  # sharing the block is safe: it is never changed, only replaced
