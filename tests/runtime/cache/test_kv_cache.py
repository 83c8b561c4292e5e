"""KVCache: lengths, forks and selections, with values that tell where they came from."""

import numpy as np
import pytest

from gpt2edge.runtime.cache.kv_cache import CacheLayout, ContiguousCache


@pytest.fixture
def cache() -> ContiguousCache:
    """Four rows of lengths 3, 0, 5, 2; every element holds its row's number."""
    cache = ContiguousCache(4, 6, CacheLayout(n_layer=2, n_head=3, head_dim=8))
    for row, length in enumerate([3, 0, 5, 2]):
        cache.data[:, :, row] = row
        cache.advance(row, 1, length)
    return cache


def content(cache: ContiguousCache, row: int) -> set[float]:
    return set(np.unique(cache.data[:, :, row, :, : cache.lengths[row]]).tolist())


def test_sizes(cache: ContiguousCache) -> None:
    assert cache.layout.token_bytes == 2 * 2 * 3 * 8 * 4
    assert cache.nbytes == 10 * cache.layout.token_bytes
    assert (cache.rows, cache.max_length) == (4, 6)


def test_truncate_then_advance(cache: ContiguousCache) -> None:
    cache.truncate(2, 1)
    assert cache.lengths.tolist() == [3, 0, 1, 2]
    cache.advance(1, 3, 2)
    assert cache.lengths.tolist() == [3, 2, 3, 4]


def test_fork_copies_to_every_target(cache: ContiguousCache) -> None:
    cache.fork(2, [0, 1, 2])
    assert cache.lengths.tolist() == [5, 5, 5, 2]
    assert [content(cache, row) for row in range(4)] == [{2.0}, {2.0}, {2.0}, {3.0}]


@pytest.mark.parametrize("rows", [[2, 0, 3, 2], [3, 2], [1, 0], [0, 1, 2, 3], [0, 0, 0, 0]])
def test_select_is_a_gather(cache: ContiguousCache, rows: list[int]) -> None:
    lengths = cache.lengths.copy()
    cache.select(rows)
    assert cache.lengths.tolist() == [*lengths[rows], *[0] * (4 - len(rows))]
    for place, row in enumerate(rows):
        assert content(cache, place) == ({float(row)} if lengths[row] else set())


def test_no_room_and_no_such_length(cache: ContiguousCache) -> None:
    with pytest.raises(ValueError, match="7 tokens do not fit a cache of 6"):
        cache.advance(2, 1, 2)
    assert cache.lengths[2] == 5
    with pytest.raises(ValueError, match="length is 4; row 0 holds 3 tokens"):
        cache.truncate(0, 4)
