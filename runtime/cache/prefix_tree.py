"""PrefixCache: keys and values of texts already seen, shared between all that begin alike.

A radix tree over token ids, each edge with the cache of its tokens (the idea of RadixAttention:
Zheng et al. 2023, "SGLang", arXiv 2312.07104, section 3). Branches of a search, candidates of a
vote and a text that a verifier reads again as it grows differ only in what is new.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from operator import eq
from typing import Any

from numpy.typing import NDArray

from gpt2edge.runtime.cache.kv_cache import KVCache


@dataclass(slots=True, eq=False)
class Edge:
    """Some tokens after a prefix: ``tokens`` is [n_layer, 2, n_head, tokens, head_dim]."""

    token_ids: tuple[int, ...]
    tokens: NDArray[Any]
    children: dict[int, "Edge"] = field(default_factory=dict)
    used: int = 0


class PrefixTree:
    """Copies of cache rows, each token kept once; over ``max_bytes`` the least used goes.

    Safe for use from several threads.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._roots: dict[int, Edge] = {}
        self._clock = 0
        self._lock = threading.Lock()

    def matched(self, token_ids: Sequence[int]) -> int:
        """How many of ``token_ids`` are known, from the first on."""
        with self._lock:
            return sum(count for _, count in self._walk(token_ids))

    def restore(self, cache: KVCache, row: int, token_ids: Sequence[int]) -> int:
        """Make ``row`` the longest known beginning of ``token_ids``; its length."""
        cache.truncate(row, 0)
        with self._lock:
            self._clock += 1
            pieces = []
            for edge, count in self._walk(token_ids):
                edge.used = self._clock
                pieces.append(edge.tokens[:, :, :, :count])
            cache.append(row, *pieces)
        return int(cache.lengths[row])

    def store(self, cache: KVCache, row: int, token_ids: Sequence[int]) -> None:
        """Remember the first ``len(token_ids)`` tokens of ``row``, which are ``token_ids``."""
        with self._lock:
            self._clock += 1
            children, at = self._roots, 0
            for edge, count in list(self._walk(token_ids)):  # all of it, before an edge is split
                if count < len(edge.token_ids):
                    _split(edge, count)
                edge.used = self._clock
                children, at = edge.children, at + count
            if at < len(token_ids):
                tokens = cache.read(row, at, len(token_ids))
                children[token_ids[at]] = Edge(tuple(token_ids[at:]), tokens, used=self._clock)
                self.nbytes += tokens.nbytes
            self._evict()

    def edges(self) -> list[tuple[int, Edge]]:
        """All edges, each with its parent's place in the list, -1 at the root; parents first.

        Of two siblings the longer unused comes first, so that ``fill`` forgets it first.
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
        """Replace everything by what ``edges`` returned, and forget what is over the budget."""
        with self._lock:
            self._roots, self.nbytes = {}, 0
            for parent, edge in edges:
                siblings = edges[parent][1].children if parent >= 0 else self._roots
                siblings[edge.token_ids[0]] = edge
                self._clock += 1
                edge.used = self._clock
                self.nbytes += edge.tokens.nbytes
            self._clock += 1
            self._evict()

    def _walk(self, token_ids: Sequence[int]) -> Iterator[tuple[Edge, int]]:
        """Edges along ``token_ids``, and how many of each one's tokens agree."""
        children, at = self._roots, 0
        while at < len(token_ids) and (edge := children.get(token_ids[at])) is not None:
            count = _common(edge.token_ids, token_ids[at : at + len(edge.token_ids)])
            children = edge.children
            yield edge, count
            at += count
            if count < len(edge.token_ids):
                return

    def _evict(self) -> None:
        """Forget ends of texts, the longest unused first, but nothing of the last one stored."""
        while self.nbytes > self.max_bytes:
            leaves = [leaf for leaf in _leaves(self._roots) if leaf[1].used < self._clock]
            if not leaves:
                return
            for siblings, edge in sorted(leaves, key=lambda leaf: leaf[1].used):
                if self.nbytes > self.max_bytes:
                    del siblings[edge.token_ids[0]]
                    self.nbytes -= edge.tokens.nbytes


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(bool, map(eq, first, second)))


def _split(edge: Edge, count: int) -> None:
    """Make ``edge`` end after ``count`` tokens; the rest becomes its one child."""
    rest = Edge(edge.token_ids[count:], edge.tokens[:, :, :, count:].copy(), edge.children)
    rest.used = edge.used
    edge.token_ids, edge.tokens = edge.token_ids[:count], edge.tokens[:, :, :, :count].copy()
    edge.children = {rest.token_ids[0]: rest}


def _leaves(children: dict[int, Edge]) -> Iterator[tuple[dict[int, Edge], Edge]]:
    waiting = [children]
    while waiting:
        siblings = waiting.pop()
        for edge in siblings.values():
            if edge.children:
                waiting.append(edge.children)
            else:
                yield siblings, edge
