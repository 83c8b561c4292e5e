"""RandomStream: numbers that depend on a key and on how many came before them, and nothing else."""

from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np

_BLOCK: Final = 32


class RandomStream:
    """Numbers in [0, 1) under a key, such as (seed, sample); a copy goes on where this one is.

    They are made by the block when the first of them is asked for: making one alone, or a
    generator that nobody asks, costs more than a decode step of a tiny model has to spare.
    """

    __slots__ = ("_at", "_block", "_key", "_made")

    def __init__(self, key: Sequence[int]) -> None:
        self._key = tuple(key)
        self._block: list[float] = []
        self._at = self._made = 0

    def next(self) -> float:
        """The next number."""
        if self._at == len(self._block):
            bits = np.random.PCG64(list(self._key)).advance(self._made)
            self._block = np.random.Generator(bits).random(_BLOCK).tolist()
            self._made += _BLOCK
            self._at = 0
        share = self._block[self._at]
        self._at += 1
        return share

    def fork(self) -> "RandomStream":
        """A stream of its own that goes on from here."""
        return copy(self)  # the block is never changed, only left for another
