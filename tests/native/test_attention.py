"""The attention kernels: against float64, and each variant, cut and batch with the same bits."""

import ctypes
from itertools import pairwise
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2edge.native.library import Library
from gpt2edge.runtime.cache.block_layout import BlockLayout
from tests.native.attention import Floats, Kernel, exact, new_pool, new_table

DTYPES: Final = ("float32", "float16", "int8")
_BOUNDS: Final = {"float32": 4e-6, "float16": 4e-6, "int8": 2e-5}
"""Of the error over the largest value: what is left are float32's own roundings."""


def _kernel(library: Library, variant: int, layout: BlockLayout, layer: int = 0) -> Kernel:
    return Kernel(library, variant, layout, layer, float(layout.head_dim**-0.5))


def _variants(library: Library) -> list[int]:
    """Numbers of the variants that run on this processor."""
    functions = library.functions
    found: list[bool] = []
    while functions.gpt2edge_variant_name(len(found)) is not None:
        found.append(functions.gpt2edge_variant_missing(len(found)) == b"")
    return [number for number, runs in enumerate(found) if runs]


def _values(rng: np.random.Generator, layout: BlockLayout, rows: int, tokens: int) -> Floats:
    shape = (rows, tokens, 3, layout.n_head, layout.head_dim)
    return rng.normal(size=shape).astype(np.float32)


def _in_pieces(
    kernel: Kernel, qkv: Floats, cuts: list[int], rng: np.random.Generator, first: int = 0
) -> Floats:
    """Attention of one row, whose tokens come in pieces that end at ``cuts``."""
    tokens = qkv.shape[1]
    blocks = 3 * -(-tokens // 16)
    pool, table = new_pool(kernel.layout, blocks, rng), new_table(1, tokens, blocks, rng)
    bounds = [0, *sorted({cut for cut in cuts if cut < tokens} - {0}), tokens]
    pieces = [
        kernel(qkv[:, start:stop], pool, table, np.array([stop - 1], np.int32), first)
        for start, stop in pairwise(bounds)
    ]
    return np.concatenate(pieces, axis=1)


layouts = st.builds(
    lambda heads, dim, layers, dtype: BlockLayout(
        n_layer=layers, n_head=heads, head_dim=dim, dtype=np.dtype(dtype)
    ),
    st.integers(1, 4),
    st.sampled_from([1, 3, 8, 16, 24, 40, 48, 64, 80, 100, 128, 256]),
    st.integers(1, 3),
    st.sampled_from(DTYPES),
)


any_row = given(
    layout=layouts,
    tokens=st.one_of(st.integers(1, 70), st.sampled_from([255, 256, 257, 300, 530])),
    cuts=st.lists(st.integers(1, 530), max_size=4),
    seed=st.integers(0, 2**32 - 1),
)


@settings(max_examples=20)
@any_row
def test_every_variant_is_exact_and_gives_the_same_bits(
    kernels: Library, layout: BlockLayout, tokens: int, cuts: list[int], seed: int
) -> None:
    _compare(kernels, layout, tokens, cuts, seed)


@pytest.mark.slow
@settings(max_examples=300)
@any_row
def test_so_it_is_for_many_more(
    kernels: Library, layout: BlockLayout, tokens: int, cuts: list[int], seed: int
) -> None:
    _compare(kernels, layout, tokens, cuts, seed)


def _compare(
    kernels: Library, layout: BlockLayout, tokens: int, cuts: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    qkv, layer = _values(rng, layout, 1, tokens), int(rng.integers(layout.n_layer))
    found = [
        _in_pieces(_kernel(kernels, variant, layout, layer), qkv, pieces, rng, variant)
        for variant in _variants(kernels)
        for pieces in ([], cuts)
    ]
    assert all(np.array_equal(found[0], other) for other in found[1:])
    expected = exact(qkv, layout, float(layout.head_dim**-0.5))
    assert np.abs(found[0] - expected).max() <= _BOUNDS[layout.dtype.name] * np.abs(expected).max()


@settings(max_examples=25)
@given(
    dtype=st.sampled_from(DTYPES),
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=40),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_batch_gives_each_row_its_own_bits(
    kernels: Library, dtype: str, lengths: list[int], seed: int
) -> None:
    """Rows of any lengths, each of whose last token comes in one call with the others'."""
    rng = np.random.default_rng(seed)
    layout = BlockLayout(n_layer=1, n_head=2, head_dim=24, dtype=np.dtype(dtype))
    kernel = _kernel(kernels, _variants(kernels)[-1], layout)
    rows = [_values(rng, layout, 1, length) for length in lengths]
    alone = [_in_pieces(kernel, row, [row.shape[1] - 1], rng)[:, -1:] for row in rows]
    blocks = 20 * len(rows)
    pool, table = new_pool(layout, blocks, rng), new_table(len(rows), 300, blocks, rng)
    for at, row in enumerate(rows):
        if row.shape[1] > 1:
            last = np.array([row.shape[1] - 2], np.int32)
            kernel(row[:, :-1], pool, table[at : at + 1], last)
    last = np.array([length - 1 for length in lengths], np.int32)
    together = kernel(np.concatenate([row[:, -1:] for row in rows]), pool, table, last)
    assert np.array_equal(together, np.concatenate(alone))


@settings(max_examples=25)
@given(
    dtype=st.sampled_from(DTYPES),
    shared=st.integers(1, 25),
    own=st.lists(st.integers(1, 60), min_size=2, max_size=40),
    seed=st.integers(0, 2**32 - 1),
)
def test_shared_beginnings_give_the_bits_of_copies(
    kernels: Library, dtype: str, shared: int, own: list[int], seed: int
) -> None:
    """Rows in two groups, each of which shares blocks; the last token of all in one call."""
    rng = np.random.default_rng(seed)
    layout = BlockLayout(n_layer=2, n_head=2, head_dim=64, dtype=np.dtype(dtype))
    kernel = _kernel(kernels, _variants(kernels)[-1], layout, 1)
    stems = [_values(rng, layout, 1, 16 * shared) for _ in range(2)]
    rows = [
        np.concatenate([stems[at % 2], _values(rng, layout, 1, tokens)], axis=1)
        for at, tokens in enumerate(own)
    ]
    alone = [_in_pieces(kernel, row, [row.shape[1] - 1], rng)[:, -1:] for row in rows]
    blocks = 2 * shared + 5 * len(rows)
    pool, numbers = new_pool(layout, blocks, rng), rng.permutation(blocks).astype(np.int32)
    stem_blocks, rest = numbers[: 2 * shared].reshape(2, shared), numbers[2 * shared :]
    table = np.stack(
        [np.r_[stem_blocks[at % 2], rest[5 * at : 5 * at + 5]] for at in range(len(rows))]
    )
    for at, row in enumerate(rows):
        start = 0 if at < 2 else 16 * shared  # the stem once
        if row.shape[1] - 1 > start:
            last = np.array([row.shape[1] - 2], np.int32)
            kernel(row[:, start:-1], pool, table[at : at + 1], last)
    last = np.array([row.shape[1] - 1 for row in rows], np.int32)
    together = kernel(np.concatenate([row[:, -1:] for row in rows]), pool, table, last)
    assert np.array_equal(together, np.concatenate(alone))


def test_large_and_tiny_scores(kernels: Library) -> None:
    """One key wins, or all are alike; nothing overflows."""
    rng = np.random.default_rng(0)
    layout = BlockLayout(n_layer=1, n_head=1, head_dim=64)
    for factor in (1e-20, 1e3, 1e8):
        qkv = _values(rng, layout, 1, 300)
        qkv[:, :, 0] *= np.float32(factor)
        for variant in _variants(kernels):
            found = _in_pieces(_kernel(kernels, variant, layout), qkv, [100], rng)
            expected = exact(qkv, layout, 0.125)
            bound = 1e-5 if factor < 1 else 0.2  # large scores are themselves rounded
            assert np.abs(found - expected).max() < bound


def test_scales_of_zeros(kernels: Library) -> None:
    rng = np.random.default_rng(0)
    layout = BlockLayout(n_layer=1, n_head=1, head_dim=16, dtype=np.dtype(np.int8))
    for variant in _variants(kernels):
        qkv = _values(rng, layout, 1, 20)
        qkv[:, 5, 1:] = 0
        found = _in_pieces(_kernel(kernels, variant, layout), qkv, [3], rng)
        assert np.abs(found - exact(qkv, layout, 0.25)).max() < 1e-5


HOSTILE: Final = {
    "a block behind the pool": ({"table": 4}, "outside the cache"),
    "a block before it": ({"table": -1}, "outside the cache"),
    "no tokens": ({"last": -1}, "fewer tokens"),
    "fewer tokens than new ones": ({"last": 1}, "fewer tokens"),
    "more tokens than blocks": ({"last": 64}, "room"),
    "very many tokens": ({"last": 2**31 - 1}, "room"),
    "another layer": ({"layer": 2}, "no such layer"),
    "a layer before the first": ({"layer": -1}, "no such layer"),
    "another variant": ({"variant": 99}, "no such variant"),
    "a wide head": ({"head_dim": 257}, "no such cache"),
    "no head": ({"n_head": 0}, "no such cache"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_calls_are_errors(kernels: Library, change: dict[str, int], message: str) -> None:
    rng = np.random.default_rng(0)
    given_layout = BlockLayout(n_layer=2, n_head=1, head_dim=16)
    layout = BlockLayout(
        n_layer=2, n_head=change.get("n_head", 1), head_dim=change.get("head_dim", 16)
    )
    kernel = Kernel(kernels, change.get("variant", 0), layout, change.get("layer", 0), 0.25)
    pool, table = new_pool(given_layout, 4, rng), np.zeros((1, 4), np.int32)
    table[0, 1] = change.get("table", 1)
    last = np.array([change.get("last", 20)], np.int32)
    with pytest.raises(ValueError, match=message):
        kernel(_values(rng, given_layout, 1, 3), pool, table, last)


def test_the_library_and_python_agree_on_the_layout(kernels: Library) -> None:
    size = kernels.functions.gpt2edge_cache_layer_bytes
    size.argtypes, size.restype = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64), ctypes.c_int64
    for number, dtype in enumerate(DTYPES):
        for heads, dim in ((1, 1), (3, 20), (12, 64), (25, 80)):
            layout = BlockLayout(n_layer=1, n_head=heads, head_dim=dim, dtype=np.dtype(dtype))
            assert size(number, heads, dim) == layout.layer_bytes
    assert size(3, 1, 8) == size(0, 0, 8) == size(0, 1, 300) == -1
