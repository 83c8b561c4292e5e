"""PagedCache: what rows hold after any operations, what they share, and what that costs."""

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import gpt2edge
from gpt2edge import GREEDY, Engine, RuntimeOptions, SamplingParams
from gpt2edge.errors import FileFormatError, ModelDirError, ProviderError
from gpt2edge.native.library import Library
from gpt2edge.runtime.cache.block_layout import BlockLayout
from gpt2edge.runtime.cache.block_pool import BlockPool
from gpt2edge.runtime.cache.paged_cache import BlockPools, PagedCache
from gpt2edge.runtime.cache.prefix_tree import PrefixTree
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.ort import session
from tests.runtime.models import make_engine

DTYPES: Final = ("float32", "float16", "int8")
IDS: Final = [int(at) for at in np.random.default_rng(7).integers(0, 250, 400)]


def _layout(dtype: str = "float32", head_dim: int = 8) -> BlockLayout:
    return BlockLayout(n_layer=2, n_head=3, head_dim=head_dim, dtype=np.dtype(dtype))


def _tokens(rng: np.random.Generator, layout: BlockLayout, count: int) -> NDArray[Any]:
    """Tokens as ``KVCache.read`` returns them."""
    shape = (layout.n_layer, 2, layout.n_head, count, layout.stored_dim)
    if layout.has_scales:
        return rng.integers(-127, 128, shape).astype(np.int8)
    return rng.normal(size=shape).astype(layout.dtype)


operations = st.lists(
    st.tuples(
        st.sampled_from(["append", "truncate", "fork", "select", "park", "restore"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 40),
    ),
    max_size=25,
)


@settings(max_examples=20)
@given(dtype=st.sampled_from(DTYPES), steps=operations, seed=st.integers(0, 2**32 - 1))
def test_rows_hold_what_arrays_would(
    dtype: str, steps: list[tuple[str, int, int, int]], seed: int
) -> None:
    """Any operations on four rows of 64 tokens, beside a plain array for each row."""
    rng, layout = np.random.default_rng(seed), _layout(dtype, 20)
    pool = BlockPool(16, layout)  # no block more than rows at their longest need
    cache = PagedCache(4, 64, pool)
    rows = [_tokens(rng, layout, 0) for _ in range(4)]
    parked = rows[0]
    for kind, row, other, count in steps:
        length = rows[row].shape[3]
        if kind == "append":
            count = min(count, 64 - length)
            fresh = _tokens(rng, layout, count)
            half = count // 2
            cache.append(row, fresh[:, :, :, :half], fresh[:, :, :, half:])
            rows[row] = np.concatenate([rows[row], fresh], axis=3)
        elif kind == "truncate":
            cache.truncate(row, min(count, length))
            rows[row] = rows[row][:, :, :, :count]
        elif kind == "fork":
            stop = min(count, length)
            cache.fork(row, [other, (other + 1) % 4], stop=stop)
            for target in {other, (other + 1) % 4} - {row}:
                rows[target] = rows[row][:, :, :, :stop]
        elif kind == "select":
            order = [(row + at * other) % 4 for at in range(1 + count % 4)]
            cache.select(order)
            rows = [rows[at] for at in order] + [_tokens(rng, layout, 0)] * (4 - len(order))
        elif kind == "park":
            parked = cache.read(row, 0, length)
        else:
            cache.truncate(row, 0)
            cache.append(row, parked)
            rows[row] = parked
        for at, expected in enumerate(rows):
            assert cache.lengths[at] == expected.shape[3]
            found = cache.read(at, 0, expected.shape[3])
            assert found.tobytes() == np.ascontiguousarray(expected).tobytes()
    del cache
    gc.collect()
    assert pool.used == 0


def test_a_fork_costs_a_block_once_it_is_written_to() -> None:
    layout, rng = _layout(), np.random.default_rng(0)
    cache = PagedCache(16, 128, BlockPool(16 * 8, layout))
    cache.append(0, _tokens(rng, layout, 100))  # seven blocks, the last one not full
    assert cache.nbytes == 7 * layout.block_bytes
    cache.fork(0, range(1, 16))
    assert (cache.nbytes, cache.pool.used) == (7 * layout.block_bytes, 7)
    for row in range(1, 16):
        cache.append(row, _tokens(rng, layout, 1))
    assert cache.pool.used == 7 + 15
    cache.append(0, _tokens(rng, layout, 1))  # nobody else holds its last block any more
    assert cache.pool.used == 7 + 15
    assert len({int(block) for block in cache.table[:, 5]}) == 1


def test_reads_are_copies_and_parts() -> None:
    layout, rng = _layout("float16", 24), np.random.default_rng(0)
    cache = PagedCache(1, 64, BlockPool(4, layout))
    tokens = _tokens(rng, layout, 50)
    cache.append(0, tokens)
    for start, stop in ((0, 50), (15, 17), (16, 32), (33, 33), (49, 50)):
        assert np.array_equal(cache.read(0, start, stop), tokens[:, :, :, start:stop])
    cache.read(0, 0, 50)[:] = 0
    assert np.array_equal(cache.read(0, 0, 50), tokens)
    with pytest.raises(ValueError, match="row 0 holds 50"):
        cache.read(0, 0, 51)
    with pytest.raises(ValueError, match="65 tokens do not fit a cache of 64"):
        cache.append(0, _tokens(rng, layout, 15))
    assert cache.lengths.tolist() == [50]


def test_a_pool_promises_no_more_than_it_has() -> None:
    layout = _layout()
    pool = BlockPool(8, layout)
    first = PagedCache(1, 64, pool)
    with pytest.raises(MemoryError, match="2 rows of 48 tokens"):
        PagedCache(2, 48, pool)
    second = PagedCache(2, 32, pool)
    assert second.pool is first.pool
    del first
    gc.collect()
    assert PagedCache(1, 64, pool).rows == 1


def test_caches_of_an_engine_share_a_pool_while_it_lasts() -> None:
    layout = _layout()
    pools = BlockPools(layout, 10 * layout.block_bytes)
    first, second = pools.cache(1, 64), pools.cache(2, 48)
    assert (first.pool.blocks, second.pool is first.pool) == (10, True)
    third = pools.cache(1, 16)
    assert third.pool is not first.pool
    del second
    gc.collect()
    assert pools.cache(2, 48).pool is first.pool


# ---- with the kernels


@pytest.fixture(scope="module", params=DTYPES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kernels: Library
) -> Engine:
    """A float32 model over a cache of each type."""
    del kernels
    options = RuntimeOptions(kv_cache=request.param)
    return make_engine(tmp_path_factory.mktemp("paged"), options=options)


def _decoder(engine: Engine, rows: int = 1, length: int = 400) -> Decoder:
    decoder = engine.decoder(rows=rows, max_length=length)
    assert isinstance(decoder.cache, PagedCache)
    return decoder


def test_the_logits_are_those_of_onnxruntime_s_attention(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = engine.logits(IDS)
    monkeypatch.setattr(session, "library", lambda: None)
    expected = Engine(engine.model.path).logits(IDS)
    bound = {"float32": 1e-5, "float16": 1e-2, "int8": 0.1}[engine._session.cache_layout.dtype.name]
    assert np.abs(found - expected).max() < bound


def test_every_way_into_the_cache_gives_the_same_bits(engine: Engine) -> None:
    """A batch, chunks, forks, selection, truncation, copies parked elsewhere."""
    decoder = _decoder(engine, rows=4)
    decoder.prefill(0, IDS[:-1])
    expected = decoder.decode(IDS[-1:]).copy()
    decoder.cache.truncate(0, 43)
    decoder.prefill(0, IDS[43:-1])
    decoder.cache.fork(0, [1, 2])
    parked = PrefixTree(1 << 24)
    parked.store(decoder.cache, 2, IDS[:-1])
    decoder.cache.select([0, 1, 2, 1])
    assert parked.restore(decoder.cache, 2, IDS) == len(IDS) - 1
    logits = decoder.decode([IDS[-1]] * 4)
    assert np.array_equal(logits, np.repeat(expected, 4, axis=0))


def test_samples_share_their_prompt(engine: Engine) -> None:
    """Sixteen samples of a prompt of 200 tokens: the prompt once, and what each wrote."""
    warm = SamplingParams(temperature=0.9, seed=3)
    decoder = _decoder(engine, rows=16, length=264)
    cache = decoder.cache
    assert isinstance(cache, PagedCache)
    decoder.prefill(0, IDS[:200])
    cache.fork(0, range(1, 16))
    for step in range(64):
        decoder.decode([(step * 7 + row) % 250 for row in range(16)])
    assert cache.nbytes == (12 + 16 * 5) * cache.layout.block_bytes
    together = engine.generate_batch([IDS[:200]], n=16, max_new_tokens=20, sampling=warm)
    texts = {done.token_ids for done in together}
    assert len(texts) > 1
    alone = engine.generate_batch([IDS[:200]], n=1, max_new_tokens=20, sampling=warm)
    assert alone[0].token_ids == together[0].token_ids


def test_rows_of_a_batch_are_what_they_are_alone(engine: Engine) -> None:
    prompts = [IDS[:5], IDS[7:140], IDS[40:41], IDS[:300]]
    together = engine.generate_batch(prompts, max_new_tokens=24, logprobs=3, sampling=GREEDY)
    alone = [
        engine.generate(prompt, max_new_tokens=24, logprobs=3, sampling=GREEDY)
        for prompt in prompts
    ]
    assert [done.token_ids for done in together] == [done.token_ids for done in alone]
    assert [done.logprobs for done in together] == [done.logprobs for done in alone]


def test_threads_change_no_bit(engine: Engine) -> None:
    expected = engine.logits(IDS)
    for threads in (1, 3, 8):
        host = Engine(engine.model.path, replace(engine.options, threads=threads))
        assert np.array_equal(host.logits(IDS), expected)


def test_a_prompt_saved_without_the_kernels_is_read_with_them(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RuntimeOptions(prompt_cache_bytes=1 << 24)
    with monkeypatch.context() as patch:
        patch.setattr(session, "library", lambda: None)
        before = Engine(engine.model.path, options)
        first = before.generate(IDS[:100], max_new_tokens=4)
        assert before.prompt_cache is not None
        before.prompt_cache.save(tmp_path / "prompts")
    after = Engine(engine.model.path, replace(options, kv_cache=engine.options.kv_cache))
    assert after.prompt_cache is not None
    if engine.options.kv_cache == "int8":
        with pytest.raises(FileFormatError, match="another model"):
            after.prompt_cache.load(tmp_path / "prompts")
        return
    after.prompt_cache.load(tmp_path / "prompts")
    done = after.generate(IDS[:100], max_new_tokens=4)
    assert done.timing.reused_tokens >= 96
    assert done.token_ids == first.token_ids


def test_a_quantized_model_has_a_float16_cache_and_int8_where_its_file_says_so() -> None:
    with gpt2edge.load() as engine:
        layout = engine._session.cache_layout
        if isinstance(layout, BlockLayout):
            assert layout.dtype == np.float16
    recipe = replace(engine.model.manifest, recipe={"kv_cache": "int8"})
    assert session._cache_dtype(replace(engine.model, manifest=recipe)) == "int8"
    exact = replace(engine.model.manifest, recipe=None)
    assert session._cache_dtype(replace(engine.model, manifest=exact)) == "float32"


def test_a_cache_that_only_the_kernels_have_is_an_error_without_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "library", lambda: None)
    if engine.options.kv_cache == "float32":
        assert Engine(engine.model.path, engine.options).logits([1]).shape[0] == 1
        return
    with pytest.raises(ProviderError, match="needs the kernels of gpt2edge"):
        Engine(engine.model.path, engine.options)


def test_kv_cache_must_be_a_type() -> None:
    with pytest.raises(ValueError, match="kv_cache is 'int4'; it must be 'float32', 'float16'"):
        RuntimeOptions(kv_cache="int4")


def test_a_known_prefix_is_shared_not_copied(engine: Engine) -> None:
    """A prompt's blocks stay in the pool; the next one that begins so holds them, too."""
    host = Engine(engine.model.path, replace(engine.options, prompt_cache_bytes=1 << 24))
    plain = host.generate(IDS[:200], max_new_tokens=4, logprobs=0)
    pools = host._session._pools
    assert pools is not None
    assert pools._shared is not None
    gc.collect()
    held = pools._shared.used
    assert held == 13
    decoder = _decoder(host)
    assert host.prompt_cache is not None
    assert host.prompt_cache.restore(decoder.cache, 0, IDS[:199]) == 199
    assert pools._shared.used == held
    decoder.prefill(0, IDS[199:200])
    assert pools._shared.used == held + 1  # the last block, which the tree holds as well
    again = host.generate(IDS[:200], max_new_tokens=4, logprobs=0)
    assert (again.token_ids, again.logprobs) == (plain.token_ids, plain.logprobs)


def test_a_full_pool_asks_the_trees_for_blocks() -> None:
    layout, rng = _layout(), np.random.default_rng(0)
    cache = PagedCache(1, 64, BlockPool(4, layout))
    tree = PrefixTree(1 << 30)
    for start in range(0, 300, 60):
        token_ids = list(range(start, start + 60))
        cache.truncate(0, 0)
        cache.append(0, _tokens(rng, layout, 60))
        tree.store(cache, 0, token_ids)
        assert tree.matched(token_ids) == 60
    cache.append(0, _tokens(rng, layout, 4))  # no block is left to copy the last one to
    assert (cache.lengths[0], tree.nbytes) == (64, 0)


def test_a_table_outside_the_pool_is_onnxruntime_s_error(engine: Engine) -> None:
    decoder = _decoder(engine)
    cache = decoder.cache
    assert isinstance(cache, PagedCache)
    decoder.prefill(0, IDS[:20])
    good = cache.table.copy()
    for number in (-1, cache.pool.blocks, 2**31 - 1):
        cache.table[0, 0] = number
        with pytest.raises(ModelDirError, match="a block outside the cache"):
            decoder.decode([1])
    cache.table[:] = good
    assert cache.lengths.tolist() == [20]
    assert decoder.decode([1]).shape == (1, engine.config.vocab_size)


def test_where_all_products_are_ours_no_bit_depends_on_batch_chunk_or_prefix(
    kernels: Library,
) -> None:
    """The bundled model: prompts cut anywhere, a batch, a known prefix, one token at a time."""
    del kernels
    with gpt2edge.load(prompt_cache_bytes=1 << 24) as host:
        assert host._session.batch_invariant
        expected = host.logits(IDS[:90])
        decoder = _decoder(host, rows=5)
        at = 0
        for cut in (1, 2, 17, 33, 34, 70, 90):
            pieces = list(decoder.prefill_all(0, IDS[at:cut]))
            assert np.array_equal(np.concatenate(pieces), expected[at:cut])
            at = cut
        decoder.cache.truncate(0, 60)
        decoder.cache.fork(0, range(1, 5))
        for place in range(60, 90):
            logits = decoder.decode([IDS[place]] * 5)
            assert np.array_equal(logits, np.repeat(expected[place : place + 1], 5, axis=0))
        for length in (90, 61, 90, 89):
            done = host.generate(IDS[:length], max_new_tokens=3, logprobs=0, sampling=GREEDY)
            with gpt2edge.load() as plain:
                alone = plain.generate(IDS[:length], max_new_tokens=3, logprobs=0, sampling=GREEDY)
            assert (done.token_ids, done.logprobs) == (alone.token_ids, alone.logprobs)
