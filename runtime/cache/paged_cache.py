"""PagedCache: rows that share the memory of a common beginning (docs/decisions/0032).

A row is a list of blocks of 16 tokens. Rows that were forked hold the same blocks, and so may a
tree of known prefixes; whoever is about to write to a block that others hold copies it first. (The
idea is PagedAttention's: Kwon et al. 2023, "vLLM", arXiv 2309.06180.)
"""

import threading
import weakref
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.cache.block_layout import BLOCK_TOKENS, BlockLayout
from gpt2edge.runtime.cache.block_pool import BlockPool
from gpt2edge.runtime.cache.kv_cache import Kept, KVCache


class KeptBlocks:
    """Tokens ``start`` to ``stop`` of a row, in blocks that are held as long as this lives."""

    __slots__ = ("_start", "_stop", "blocks", "pool")

    def __init__(self, pool: BlockPool, blocks: list[int], start: int, stop: int) -> None:
        pool.hold(blocks)
        self.pool = pool
        self.blocks = blocks
        """From that of token ``start`` on; the first may hold earlier tokens of the row, too."""
        self._start = start
        self._stop = stop

    def __del__(self) -> None:
        self.pool.drop(self.blocks)

    def memory(self) -> Sequence[tuple[Hashable, int]]:
        """Return the blocks."""
        size = self.pool.layout.block_bytes
        return [((id(self.pool), block), size) for block in self.blocks]

    def read(self) -> NDArray[Any]:
        """Return a copy of the tokens, [n_layer, 2, n_head, tokens, stored_dim]."""
        skipped = self._start // BLOCK_TOKENS * BLOCK_TOKENS
        blocks = np.array(self.blocks, np.int32)
        return self.pool.views.read(blocks, self._start - skipped, self._stop - skipped)

    def cut(self, count: int) -> tuple[Kept, Kept]:
        """Return both parts; the block that is cut belongs to both."""
        middle = self._start + count
        first = self._start // BLOCK_TOKENS
        left = self.blocks[: self.pool.layout.blocks_for(middle) - first]
        right = self.blocks[middle // BLOCK_TOKENS - first :]
        return (
            KeptBlocks(self.pool, left, self._start, middle),
            KeptBlocks(self.pool, right, middle, self._stop),
        )


class PagedCache(KVCache):
    """A cache over blocks of ``pool``; forking copies a block at most, and that when it is written.

    ``table`` int32 [rows, blocks of a row] names the block of each 16 tokens. Raises MemoryError
    where the pool has not enough blocks left for all rows at their longest.
    """

    layout: BlockLayout

    def __init__(self, rows: int, max_length: int, pool: BlockPool) -> None:
        super().__init__(rows, max_length, pool.layout)
        width = pool.layout.blocks_for(max_length)
        if not pool.reserve(rows * width):
            raise MemoryError(f"{rows} rows of {max_length} tokens do not fit the pool of blocks")
        self.pool = pool
        self.table: NDArray[np.int32] = np.zeros((rows, width), np.int32)
        self._held = [0] * rows
        """How many blocks each row holds."""
        self._writable = np.zeros(rows, np.int64)
        """Positions before which a row may write without looking whether a block is shared."""
        weakref.finalize(self, _release, pool, self.table, self._held).atexit = False

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks that rows hold; shared ones count once."""
        blocks = {block for row in range(self.rows) for block in self.blocks(row).tolist()}
        return len(blocks) * self.layout.block_bytes

    def blocks(self, row: int) -> NDArray[np.int32]:
        """Return the blocks that ``row`` holds, a view."""
        return self.table[row, : self._held[row]]

    def advance(self, first: int, count: int, tokens: int) -> None:
        """Add ``tokens`` to the lengths of rows ``first`` to ``first + count - 1``.

        Each gets blocks of its own to write them to. Raises ValueError where a row has no room.
        """
        self.check_room(first, count, tokens)
        lengths, writable = self.lengths, self._writable
        if count == 1:
            if lengths[first] + tokens > writable[first]:
                self._make_writable(first, tokens)
            lengths[first] += tokens
            return
        rows = slice(first, first + count)
        full = lengths[rows] + tokens > writable[rows]
        if full.any():
            for row in np.flatnonzero(full).tolist():
                self._make_writable(first + row, tokens)
        lengths[rows] += tokens

    def truncate(self, row: int, length: int) -> None:
        """Drop all tokens of ``row`` from position ``length`` on."""
        super().truncate(row, length)
        self._drop_from(row, self.layout.blocks_for(length))

    def hold(self, row: int, blocks: Sequence[int], length: int) -> None:
        """Make ``row`` the ``length`` tokens in ``blocks`` of the pool, which it holds as well."""
        self.pool.hold(blocks)  # first: it may hold them already
        self._drop_from(row, 0)
        self.table[row, : len(blocks)] = blocks
        self._held[row] = len(blocks)
        self.lengths[row] = length
        self._writable[row] = length

    def kept(self, row: int, start: int, stop: int) -> Kept:
        """Return tokens ``start`` to ``stop`` of ``row``: its blocks, held; nothing is copied."""
        if not 0 <= start <= stop <= self.lengths[row]:
            return super().kept(row, start, stop)  # which raises the error
        self._writable[row] = self.lengths[row]
        blocks = self.blocks(row)[start // BLOCK_TOKENS : self.layout.blocks_for(stop)]
        return KeptBlocks(self.pool, blocks.tolist(), start, stop)

    def restore(self, row: int, pieces: Sequence[tuple[Kept, int]]) -> None:
        """Replace ``row`` by the first tokens of each piece, as many as the number beside it.

        Blocks of the same pool are held, others are copied.
        """
        blocks: dict[int, int] = {}
        length = 0
        for kept, count in pieces:
            if not isinstance(kept, KeptBlocks) or kept.pool is not self.pool:
                return super().restore(row, pieces)
            first = length // BLOCK_TOKENS
            length += count
            for at in range(first, self.layout.blocks_for(length)):
                blocks[at] = kept.blocks[at - first]  # of the last piece that has tokens in it
        if length > self.max_length:
            raise ValueError(f"{length} tokens do not fit a cache of {self.max_length}")
        return self.hold(row, list(blocks.values()), length)

    def _make_writable(self, row: int, tokens: int) -> None:
        """Give ``row`` blocks that nobody else holds for the next ``tokens`` positions."""
        start, pool, held = int(self.lengths[row]), self.pool, self._held
        last = start // BLOCK_TOKENS
        if start % BLOCK_TOKENS and pool.is_shared(block := int(self.table[row, last])):
            try:
                self.table[row, last] = pool.copy(block)
                pool.drop([block])
            except MemoryError:  # for want of a block a tree may have let go of this one
                if pool.is_shared(block):
                    raise
        while held[row] * BLOCK_TOKENS < start + tokens:
            self.table[row, held[row]] = pool.take()
            held[row] += 1
        self._writable[row] = held[row] * BLOCK_TOKENS

    def _drop_from(self, row: int, first: int) -> None:
        """Let go of a row's blocks from the ``first`` on; what is left may be shared."""
        held = self._held[row]
        if first < held:
            self.pool.drop(self.table[row, first:held].tolist())
            self._held[row] = first
        self._writable[row] = self.lengths[row]

    def _fork(self, row: int, targets: Sequence[int], start: int, length: int) -> None:  # noqa: ARG002
        blocks = self.table[row, : self.layout.blocks_for(length)].tolist()
        for target in targets:
            self.hold(target, blocks, length)
        self._writable[row] = self.lengths[row]

    def select(self, rows: Sequence[int]) -> None:
        """Copy row ``rows[i]`` to row ``i``, repeats allowed, and empty the other rows."""
        held = [(self.blocks(row).tolist(), int(self.lengths[row])) for row in rows]
        for blocks, _ in held:
            self.pool.hold(blocks)  # until every row has taken its own
        for row in range(self.rows):
            blocks, length = held[row] if row < len(held) else ([], 0)
            self.hold(row, blocks, length)
        for blocks, _ in held:
            self.pool.drop(blocks)

    def _read(self, row: int, start: int, stop: int) -> NDArray[Any]:
        return self.pool.views.read(self.blocks(row), start, stop)

    def append(self, row: int, *pieces: NDArray[Any]) -> None:
        """Append ``pieces``, each as ``read`` returns it, to the end of ``row``.

        Raises ValueError where the row has no room for them.
        """
        at = int(self.lengths[row])
        self.advance(row, 1, sum(tokens.shape[3] for tokens in pieces))
        for tokens in pieces:  # [n_layer, 2, n_head, count, stored_dim]
            done, count = 0, tokens.shape[3]
            while done < count:
                block, slot = divmod(at, BLOCK_TOKENS)
                part = tokens[:, :, :, done : done + BLOCK_TOKENS - slot]
                self.pool.views.write(int(self.table[row, block]), slot, part)
                done += part.shape[3]
                at += part.shape[3]


def _release(pool: BlockPool, table: NDArray[np.int32], held: list[int]) -> None:
    """Let go of all blocks of a cache that nobody uses any more."""
    for row, count in enumerate(held):
        pool.drop(table[row, :count].tolist())
    pool.unreserve(table.size)


class BlockPools:
    """Gives every cache of an engine a pool: one for all that fit in it, else one of its own."""

    def __init__(self, layout: BlockLayout, budget: int) -> None:
        self._layout = layout
        self._blocks = max(1, budget // layout.block_bytes)
        """Of the shared pool; it takes address space, not memory."""
        self._shared: BlockPool | None = None
        self._lock = threading.Lock()

    def cache(self, rows: int, max_length: int) -> PagedCache:
        """Return an empty cache for ``rows`` sequences of up to ``max_length`` tokens."""
        needed = rows * self._layout.blocks_for(max_length)
        with self._lock:
            if self._shared is None:
                self._shared = self._new(needed)
            try:
                return PagedCache(rows, max_length, self._shared)
            except MemoryError:
                return PagedCache(rows, max_length, BlockPool(needed, self._layout))

    def clear(self) -> None:
        """Let go of the shared pool; caches that use it keep it."""
        with self._lock:
            self._shared = None

    def _new(self, needed: int) -> BlockPool:
        try:
            return BlockPool(max(needed, self._blocks), self._layout)
        except OSError:  # the system does not promise so much
            return BlockPool(needed, self._layout)
