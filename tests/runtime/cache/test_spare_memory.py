"""SpareMemory: whose memory a cache gets, and when."""

import gc
import threading
from typing import Final

import numpy as np
import pytest

import gpt2edge
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.cache.buffer_pool import BufferPool
from gpt2edge.runtime.cache.kv_cache import ContiguousCache
from gpt2edge.runtime.sampling.params import GREEDY

FLOAT: Final = np.dtype(np.float32)


class Owner:
    pass


def _address(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def test_the_next_cache_gets_the_memory_of_the_last() -> None:
    spare, owner = BufferPool(), Owner()
    first = spare.array(owner, (4, 1000), FLOAT)
    address = _address(first)
    second = Owner()
    assert not np.shares_memory(spare.array(second, (4, 1000), FLOAT), first)  # still in use
    del first, owner
    third = Owner()
    again = spare.array(third, (2, 3, 100), FLOAT)
    assert _address(again) == address
    assert again.shape == (2, 3, 100)
    assert again.flags.writeable


def test_too_small_or_too_large() -> None:
    spare = BufferPool(most_bytes=8000)
    for shape in ((10,), (3000,)):
        owner = Owner()
        spare.array(owner, shape, FLOAT)
        del owner
    assert spare._spare is None  # the small one went for the large one, which is too large to keep


def test_nothing_is_kept_behind_the_end() -> None:
    spare, owner = BufferPool(), Owner()
    spare.array(owner, (10,), FLOAT)
    spare.clear()
    del owner
    assert spare._spare is None


@pytest.mark.usefixtures("without_kernels")
def test_a_used_cache_changes_no_token() -> None:
    with gpt2edge.load(BUNDLED_MODEL) as engine:
        prompts = ["The king had", "Once upon a time", "A wolf"]
        alone = [
            engine.generate(prompt, max_new_tokens=20, sampling=GREEDY).token_ids
            for prompt in prompts
        ]
        decoder = engine.decoder(rows=1, max_length=200)
        assert isinstance(decoder.cache, ContiguousCache)
        address = _address(decoder.cache.data)
        decoder.cache.data[:] = 7
        del decoder
        gc.collect()
        again = [
            engine.generate(prompt, max_new_tokens=20, sampling=GREEDY).token_ids
            for prompt in prompts
        ]
        assert again == alone
        cache = engine.decoder(rows=1, max_length=200).cache
        assert isinstance(cache, ContiguousCache)
        assert _address(cache.data) == address


def test_threads_never_share_a_cache() -> None:
    with gpt2edge.load(BUNDLED_MODEL) as engine:
        prompts = [f"The {word} had" for word in ("king", "wolf", "old man", "child")]
        expected = [
            engine.generate(prompt, max_new_tokens=24, sampling=GREEDY).token_ids
            for prompt in prompts
        ]
        found: dict[int, list[tuple[int, ...]]] = {}

        def run(at: int) -> None:
            found[at] = [
                engine.generate(prompts[at], max_new_tokens=24, sampling=GREEDY).token_ids
                for _ in range(4)
            ]

        threads = [threading.Thread(target=run, args=(at,)) for at in range(len(prompts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found[at] for at in range(len(prompts))] == [[ids] * 4 for ids in expected]
