"""PrefixCache against a plain dictionary of prefixes, on random texts of a small alphabet."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2edge.runtime.cache.kv_cache import CacheLayout, ContiguousCache
from gpt2edge.runtime.cache.prefix_tree import PrefixTree

LAYOUT = CacheLayout(n_layer=1, n_head=1, head_dim=2)
TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=12)


def fill(cache: ContiguousCache, text: list[int]) -> None:
    """Row 0 as if ``text`` were in it: a token's entry depends on all that came before."""
    cache.truncate(0, 0)
    for at in range(len(text)):
        entry = hash(tuple(text[: at + 1])) % 10_007
        cache.append(0, np.full((1, 2, 1, 1, 2), entry, np.float32))


@settings(max_examples=200, deadline=None)
@given(texts=TEXTS, room=st.one_of(st.none(), st.integers(4, 12)))
def test_what_comes_back_is_what_was_stored(texts: list[list[int]], room: int | None) -> None:
    cache = ContiguousCache(2, 8, LAYOUT)
    token_bytes = LAYOUT.token_bytes
    prefixes = PrefixTree(1 << 20 if room is None else room * token_bytes)
    known: set[tuple[int, ...]] = set()
    for text in texts:
        fill(cache, text)
        prefixes.store(cache, 0, text)
        known |= {tuple(text[: at + 1]) for at in range(len(text))}
        assert prefixes.matched(text) == len(text)  # the last one is never forgotten
        assert prefixes.nbytes <= max(prefixes.max_bytes, len(text) * token_bytes)
    if room is None:
        assert prefixes.nbytes == len(known) * token_bytes
    for text in texts:
        length = prefixes.restore(cache, 1, text)
        assert length == prefixes.matched(text)
        assert room is not None or length == len(text)
        fill(cache, text)
        assert np.array_equal(cache.read(1, 0, length), cache.read(0, 0, length))
