"""PrefixTree: keys and values of known token sequences, shared by sequences with a common prefix.

It is a radix tree over token ids; each edge keeps the keys and values of its tokens, of a paged
cache the blocks themselves (the idea of
RadixAttention: Zheng et al. 2023, "SGLang", arXiv 2312.07104, section 3). Branches of a search,
candidates of a vote and a growing text that a verifier scores repeatedly then compute only their
new tokens.
"""

import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import eq

from gpt2edge.runtime.cache.block_pool import BlockPool
from gpt2edge.runtime.cache.kv_cache import Kept, KVCache
from gpt2edge.runtime.cache.paged_cache import KeptBlocks


@dataclass(slots=True, eq=False)
class Edge:
    """Tokens that follow a prefix, and their keys and values."""

    token_ids: tuple[int, ...]
    kept: Kept
    children: dict[int, "Edge"] = field(default_factory=dict)
    used: int = 0


class PrefixTree:
    """Rows of caches, with common prefixes stored once.

    Above ``max_bytes`` the least recently used tokens are evicted. Safe for use from several
    threads.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        """Bytes of memory of all edges; what several share counts once."""
        self._shares: Counter[Hashable] = Counter()
        """How many edges have a part in each piece of memory."""
        self._roots: dict[int, Edge] = {}
        self._clock = 0
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(nbytes={self.nbytes}, max_bytes={self.max_bytes})"

    def matched(self, token_ids: Sequence[int]) -> int:
        """Return the length of the longest known prefix of ``token_ids``."""
        with self._lock:
            return sum(count for _, count in self._walk(token_ids))

    def restore(self, cache: KVCache, row: int, token_ids: Sequence[int]) -> int:
        """Replace ``row`` by the longest known prefix of ``token_ids``, and return its length."""
        with self._lock:
            self._clock += 1
            pieces = []
            for edge, count in self._walk(token_ids):
                edge.used = self._clock
                pieces.append((edge.kept, count))
        cache.restore(row, pieces)  # without the lock: it may ask this tree to shed blocks
        return int(cache.lengths[row])

    def store(self, cache: KVCache, row: int, token_ids: Sequence[int]) -> None:
        """Store the first ``len(token_ids)`` tokens of ``row``, which are ``token_ids``."""
        with self._lock:
            self._clock += 1
            children, known = self._roots, 0
            for edge, count in list(self._walk(token_ids)):  # a list: the loop splits edges
                if count < len(edge.token_ids):
                    self._split(edge, count)
                edge.used = self._clock
                children, known = edge.children, known + count
            if known < len(token_ids):
                kept = cache.kept(row, known, len(token_ids))
                suffix = tuple(token_ids[known:])
                children[suffix[0]] = Edge(suffix, kept, used=self._clock)
                self._count(kept)
                if isinstance(kept, KeptBlocks):
                    kept.pool.ask_when_full(self)
            self._evict()

    def shed(self, pool: BlockPool) -> bool:
        """Evict the least recently used tokens, where any hold blocks of ``pool``."""
        with self._lock:
            before = pool.used
            self._clock += 1  # no sequence is spared
            while pool.used == before and self._evict_one():
                pass
            return pool.used < before

    def edges(self) -> list[tuple[int, Edge]]:
        """Return all edges, parents first, each with its parent's index in the list or -1.

        -1 marks an edge at the root. Of two siblings the less recently used comes first, so that
        ``fill`` evicts it first.
        """
        with self._lock:
            found: list[tuple[int, Edge]] = []
            waiting = [(-1, self._roots)]
            while waiting:
                parent, children = waiting.pop()
                for edge in sorted(children.values(), key=lambda edge: edge.used):
                    waiting.append((len(found), edge.children))
                    found.append((parent, edge))
            return found

    def fill(self, edges: Sequence[tuple[int, Edge]]) -> None:
        """Replace the tree by ``edges``, in the form that ``edges()`` returns, and evict."""
        with self._lock:
            self._roots, self.nbytes, self._shares = {}, 0, Counter()
            for parent, edge in edges:
                siblings = edges[parent][1].children if parent >= 0 else self._roots
                siblings[edge.token_ids[0]] = edge
                self._clock += 1
                edge.used = self._clock
                self._count(edge.kept)
            self._clock += 1
            self._evict()

    def _walk(self, token_ids: Sequence[int]) -> Iterator[tuple[Edge, int]]:
        """Yield the edges along ``token_ids``, each with the number of its tokens that match."""
        children, known = self._roots, 0
        while known < len(token_ids) and (edge := children.get(token_ids[known])) is not None:
            count = _common(edge.token_ids, token_ids[known : known + len(edge.token_ids)])
            children = edge.children
            yield edge, count
            known += count
            if count < len(edge.token_ids):
                return

    def _split(self, edge: Edge, count: int) -> None:
        """Cut ``edge`` after ``count`` tokens, and make the rest its only child."""
        whole = edge.kept
        edge.kept, kept = whole.cut(count)
        rest = Edge(edge.token_ids[count:], kept, edge.children, edge.used)
        edge.token_ids, edge.children = edge.token_ids[:count], {rest.token_ids[0]: rest}
        for part in (edge.kept, kept):
            self._count(part)
        self._discount(whole)

    def _count(self, kept: Kept) -> None:
        for piece, nbytes in kept.memory():
            if not self._shares[piece]:
                self.nbytes += nbytes
            self._shares[piece] += 1

    def _discount(self, kept: Kept) -> None:
        for piece, nbytes in kept.memory():
            self._shares[piece] -= 1
            if not self._shares[piece]:
                del self._shares[piece]
                self.nbytes -= nbytes

    def _evict(self) -> None:
        """Evict leaves, least recently used first, but no tokens of the last sequence stored."""
        while self.nbytes > self.max_bytes and self._evict_one():
            pass

    def _evict_one(self) -> bool:
        """Evict the least recently used leaf that is older than the last sequence stored."""
        leaves = [leaf for leaf in _leaves(self._roots) if leaf[1].used < self._clock]
        if not leaves:
            return False
        siblings, edge = min(leaves, key=lambda leaf: leaf[1].used)
        del siblings[edge.token_ids[0]]
        self._discount(edge.kept)
        return True


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(bool, map(eq, first, second)))


def _leaves(children: dict[int, Edge]) -> Iterator[tuple[dict[int, Edge], Edge]]:
    waiting = [children]
    while waiting:
        siblings = waiting.pop()
        for edge in siblings.values():
            if edge.children:
                waiting.append(edge.children)
            else:
                yield siblings, edge
