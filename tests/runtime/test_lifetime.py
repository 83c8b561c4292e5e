"""One engine in threads, tasks, other processes, and after its end."""

import asyncio
import gc
import os
import pickle
import random
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2edge import GREEDY, Completion, Engine, SamplingParams
from gpt2edge.errors import EngineClosedError
from gpt2edge.runtime.options import PromptLookup, RuntimeOptions
from tests.runtime.threads import calls, rounds


def test_thirty_two_threads_write_what_one_writes(engine: Engine) -> None:
    expected = [call(engine) for call in calls()]
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda seed: rounds(engine, random.Random(seed), 3), range(32)))
    for results in found:
        for at, result in results:
            assert result == expected[at]


def test_threads_share_a_prompt_cache(engine: Engine) -> None:
    expected = [call(engine) for call in calls()]
    options = RuntimeOptions(prompt_cache_bytes=60_000)  # room for a few prompts: some must go
    with Engine(engine.model.path, options) as shared, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda seed: rounds(shared, random.Random(seed), 3), range(16)))
    for results in found:
        for at, result in results:
            assert result == expected[at]


def test_awaiting_is_the_same_text(engine: Engine) -> None:
    sampling = SamplingParams(seed=3)

    async def streamed() -> list[int]:
        stream = engine.stream("he", max_new_tokens=20, sampling=sampling)
        tokens = [chunk.token_id async for chunk in stream]
        assert tokens == list(stream.completion.token_ids)
        return tokens

    async def many() -> list[Any]:
        async def whole() -> Completion:
            return await engine.stream("he", max_new_tokens=20, sampling=sampling)

        return await asyncio.gather(whole(), *(streamed() for _ in range(5)))

    expected = engine.generate("he", max_new_tokens=20, sampling=sampling)
    whole, *others = asyncio.run(many())
    assert (whole.token_ids, whole.finish_reason) == (expected.token_ids, expected.finish_reason)
    assert others == [list(expected.token_ids)] * 5


def test_a_cancelled_task_goes_on_at_once_and_its_thread_ends_with_the_token(
    engine: Engine,
) -> None:
    steps = []
    inside, gate = threading.Event(), threading.Event()

    def slow(_: NDArray[np.int64], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        steps.append(threading.get_ident())
        if len(steps) == 4:
            inside.set()
            assert gate.wait(60)
        return logits

    async def scenario() -> None:
        async def awaited() -> Completion:
            return await engine.stream("he", max_new_tokens=50, sampling=GREEDY, processors=[slow])

        task = asyncio.create_task(awaited())
        await asyncio.to_thread(inside.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task  # while the worker is still inside its token
        assert not gate.is_set()
        gate.set()

    asyncio.run(scenario())  # which waits for the workers at its end
    assert len(steps) == 4
    assert threading.get_ident() not in steps


def test_an_async_stream_can_be_left_and_cancelled(engine: Engine) -> None:
    async def scenario() -> None:
        stream = engine.stream("he", max_new_tokens=30, sampling=GREEDY)
        async for _ in stream:
            stream.cancel()
        assert len(stream.completion.token_ids) == 1
        assert stream.completion.finish_reason == "cancelled"
        with pytest.raises(ValueError, match="max_new_tokens is 0"):
            engine.stream("he", max_new_tokens=0)

    asyncio.run(scenario())


def test_a_pickled_engine_is_loaded_anew(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Engine(engine.model.path, RuntimeOptions(threads=1, prefill_chunk=7))
    pickled = pickle.dumps(original)
    assert len(pickled) < 1000
    monkeypatch.chdir("/")
    with pickle.loads(pickled) as twin:
        assert twin.options == original.options
        assert (
            twin.generate("he", max_new_tokens=9).text
            == engine.generate("he", max_new_tokens=9).text
        )


def test_a_closed_engine_says_so_and_lets_its_session_go(engine: Engine) -> None:
    options = RuntimeOptions(prompt_cache_bytes=1 << 20, speculation=PromptLookup())
    with Engine(engine.model.path, options) as closed:
        closed.generate("hello hello")
        prefixes = weakref.ref(closed.prompt_cache)
        stream = closed.stream("he", max_new_tokens=9, sampling=GREEDY)
        next(stream)
        session = weakref.ref(closed._session._session)
    uses = (
        lambda: closed.generate("he"),
        lambda: closed.score("he", ["llo"]),
        lambda: closed.logits("he"),
        lambda: closed.perplexity("hello"),
        stream.__next__,
    )
    for use in uses:
        with pytest.raises(EngineClosedError, match="this engine is closed: load the model again"):
            use()
    closed.close()  # twice is once
    del stream, uses
    gc.collect()
    assert session() is None
    assert prefixes() is None


def test_closing_gives_the_memory_back() -> None:
    script = """
import gc, sys
import gpt2edge
from gpt2edge.runtime.bundled import BUNDLED_MODEL
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
for turn in range(9):
    with gpt2edge.load(threads=1) as engine:
        engine.generate("Once", max_new_tokens=2)
    gc.collect()
    if turn == 2:
        before = resident()
print((resident() - before) / sum(f.stat().st_size for f in BUNDLED_MODEL.iterdir()))
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert float(done.stdout) < 3  # models' sizes, after six more loads


def test_a_forked_child_is_told_to_load_its_own() -> None:
    script = """
import gc, os
import gpt2edge
engine = gpt2edge.load(threads=2)
expected = engine.generate("Once", max_new_tokens=4, sampling=gpt2edge.GREEDY).text
decoder = engine.decoder(rows=1, max_length=9)
decoder.prefill(0, [1, 2])
child = os.fork()
if child == 0:
    code = 1
    try:
        for use in (lambda: engine.generate("Once"), lambda: decoder.decode([1])):
            try:
                use()
            except gpt2edge.errors.EngineClosedError as error:
                assert "load the model in the child" in str(error), error
            else:
                raise AssertionError("the parent's session was used")
        with gpt2edge.load(threads=2) as own:
            found = own.generate("Once", max_new_tokens=4, sampling=gpt2edge.GREEDY).text
        assert found == expected
        engine.close()
        del engine, decoder
        gc.collect()  # would wait for threads that are not there
        code = 0
    finally:
        os._exit(code)  # as multiprocessing does; exit() hangs in onnxruntime itself
assert os.waitpid(child, 0)[1] == 0
assert engine.generate("Once", max_new_tokens=4, sampling=gpt2edge.GREEDY).text == expected
"""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_threads_may_close_while_others_write(engine: Engine) -> None:
    shared = Engine(engine.model.path)
    begun = threading.Barrier(5)

    def write(seed: int) -> None:
        stream = shared.stream("he", max_new_tokens=900, sampling=SamplingParams(seed=seed))
        next(stream)
        begun.wait(60)
        with suppress(EngineClosedError):
            list(stream)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, seed) for seed in range(4)]
        begun.wait(60)
        shared.close()
        for job in jobs:
            job.result(60)
