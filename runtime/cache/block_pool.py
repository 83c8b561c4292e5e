"""BlockPool: the blocks of memory that paged caches and prefix trees of one engine share."""

import heapq
import mmap
import threading
import weakref
from collections.abc import Iterable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.cache.block_layout import BlockLayout

_KEPT_BYTES: Final = 128 << 20
"""Memory kept while nothing runs: touching fresh pages costs more than writing data."""
_DONTNEED: Final[int | None] = getattr(mmap, "MADV_DONTNEED", None)
_HUGEPAGE: Final[int | None] = getattr(mmap, "MADV_HUGEPAGE", None)
_PAGE: Final = 2 << 20


class Shedding(Protocol):
    """Holds blocks that it may do without: a cache of prefixes."""

    def shed(self, pool: "BlockPool") -> bool:
        """Drop some blocks of ``pool`` and return whether any were dropped."""
        ...


class BlockPool:
    """Blocks of one layout, each with a count of its holders. Safe for use from several threads.

    The address space is taken at once and never moves; a page is used when a block in it is first
    written. ``memory`` is uint8 [blocks, n_layer, layer_bytes].
    """

    def __init__(self, blocks: int, layout: BlockLayout) -> None:
        self.layout = layout
        self._mapping = mmap.mmap(-1, blocks * layout.block_bytes)
        if _HUGEPAGE is not None and len(self._mapping) >= _PAGE:
            self._mapping.madvise(_HUGEPAGE)
        flat = np.frombuffer(self._mapping, np.uint8)
        self.memory: NDArray[np.uint8] = flat.reshape(blocks, layout.n_layer, layout.layer_bytes)
        self.views = layout.views(flat.reshape(blocks, layout.block_bytes))
        self._holders: list[int] = []
        """Of each block that was ever taken."""
        self._free: list[int] = []
        self._reserved = 0
        self._shedding: weakref.WeakSet[Shedding] = weakref.WeakSet()
        self._lock = threading.RLock()

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.memory)

    @property
    def used(self) -> int:
        """Number of blocks that somebody holds."""
        return len(self._holders) - len(self._free)

    def reserve(self, blocks: int) -> bool:
        """Promise that many blocks to a cache, if they are left; ``unreserve`` returns them."""
        with self._lock:
            if self._reserved + blocks > self.blocks:
                return False
            self._reserved += blocks
            return True

    def unreserve(self, blocks: int) -> None:
        """Return a promise of blocks, and memory to the system where nothing is left in use."""
        with self._lock:
            self._reserved -= blocks
            if not self.used:
                self._give_back()

    def ask_when_full(self, owner: "Shedding") -> None:
        """Ask ``owner`` to do without some of its blocks whenever none is left."""
        self._shedding.add(owner)

    def take(self) -> int:
        """Return a free block, held once. Raises MemoryError where none is left."""
        while True:
            with self._lock:
                if self._free:
                    block = heapq.heappop(self._free)
                    self._holders[block] = 1
                    return block
                if len(self._holders) < self.blocks:
                    self._holders.append(1)
                    return len(self._holders) - 1
            if not sum(owner.shed(self) for owner in list(self._shedding)):  # all of them
                raise MemoryError(f"all {self.blocks} blocks of the cache are in use")

    def hold(self, blocks: Iterable[int]) -> None:
        """Count one more holder of each of ``blocks``."""
        with self._lock:
            for block in blocks:
                self._holders[block] += 1

    def drop(self, blocks: Iterable[int]) -> None:
        """Count one holder less of each of ``blocks``; those without any are free again."""
        with self._lock:
            for block in blocks:
                self._holders[block] -= 1
                if not self._holders[block]:
                    heapq.heappush(self._free, block)

    def is_shared(self, block: int) -> bool:
        """Return whether somebody else holds the block, too."""
        return self._holders[block] > 1

    def copy(self, block: int) -> int:
        """Return a new block with the same content."""
        target = self.take()
        self.memory[target] = self.memory[block]
        return target

    def _give_back(self) -> None:
        self._holders.clear()
        self._free.clear()
        start = -(-_KEPT_BYTES // _PAGE) * _PAGE
        if _DONTNEED is not None and start < len(self._mapping):
            self._mapping.madvise(_DONTNEED, start, len(self._mapping) - start)
