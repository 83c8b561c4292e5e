"""The measuring core, under a clock that a test turns by hand."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from mmap import mmap
from pathlib import Path

import pytest

from gpt2edge import Engine, RuntimeOptions
from gpt2edge.errors import ContextLengthError
from gpt2edge.evaluate import speed as module
from gpt2edge.evaluate.speed import (
    BenchmarkTest,
    Figures,
    Sample,
    benchmark,
    measure,
    percentile,
    plan_tests,
)
from gpt2edge.runtime.system import memory
from gpt2edge.runtime.system.memory import peak_rss, reset_peak_rss


class Ticks:
    """A clock that moves one second a look."""

    def __init__(self) -> None:
        self._times: Iterator[int] = count()

    def __call__(self) -> float:
        return float(next(self._times))


@pytest.mark.parametrize(
    ("test", "name", "length", "tokens"),
    [
        (BenchmarkTest(n_prompt=512), "pp512", 512, 512),
        (BenchmarkTest(n_gen=128), "tg128", 129, 128),
        (BenchmarkTest(n_prompt=8, n_depth=4), "pp8 @ d4", 12, 8),
        (BenchmarkTest(n_gen=8, n_depth=4, batch=3), "tg8 @ d4", 12, 24),
    ],
)
def test_a_test_says_what_it_is(test: BenchmarkTest, name: str, length: int, tokens: int) -> None:
    assert (test.name, test.length, test.tokens) == (name, length, tokens)


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("pp512", BenchmarkTest(n_prompt=512)),
        ("tg128 @ d512", BenchmarkTest(n_gen=128, n_depth=512)),
        ("tg64@d32/b8", BenchmarkTest(n_gen=64, n_depth=32, batch=8)),
    ],
)
def test_a_name_is_read_as_it_is_written(name: str, test: BenchmarkTest) -> None:
    assert BenchmarkTest.of(name) == test
    assert BenchmarkTest.of(test.name) == replace(test, batch=1)


@pytest.mark.parametrize("name", ["", "pp", "pp0", "tg64@32", "tg64/b0", "tg64/n4", "pp512 tg128"])
def test_a_name_that_says_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        BenchmarkTest.of(name)


@pytest.mark.parametrize("wrong", [{}, {"n_prompt": 1, "n_gen": 1}, {"n_gen": -1}, {"batch": 0}])
def test_a_test_that_says_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"."):
        BenchmarkTest(**wrong)


def test_plan_is_every_combination() -> None:
    tests = plan_tests(64, n_prompt=[8, 16], n_gen=[4, 0], n_depth=[0, 32], batch=[1, 2])
    assert [(test.name, test.batch) for test in tests] == [
        (name, batch)
        for batch in (1, 2)
        for name in ("pp8", "pp16", "tg4", "pp8 @ d32", "pp16 @ d32", "tg4 @ d32")
    ]


def test_plan_stays_within_the_context() -> None:
    assert plan_tests(16, n_prompt=[16], n_gen=[15])
    with pytest.raises(ContextLengthError, match="tg16 needs 17 tokens of context, the model has"):
        plan_tests(16, n_prompt=[], n_gen=[16])
    with pytest.raises(ValueError, match="nothing to measure"):
        plan_tests(16, n_prompt=[0], n_gen=[])


def test_prompts_differ_by_repetition_and_leave_out_end_of_text() -> None:
    test = BenchmarkTest(n_prompt=50, batch=2)
    first, second = test.prompts(5, 0), test.prompts(5, 1)
    assert first != second
    assert first == test.prompts(5, 0)
    assert {token for row in first for token in row} == {0, 1, 2, 3}


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(20, 0, -1)]
    assert percentile(values, 0.95) == 19
    assert percentile(values, 0.5) == 10
    assert percentile([3.0], 0.95) == 3


def test_figures_by_hand() -> None:
    samples = [Sample(ttft_s=9.0, steps_s=(1.0, 3.0)), Sample(ttft_s=1.0, steps_s=(1.0, 1.0))]
    decode = Figures(test=BenchmarkTest(n_gen=2, batch=4), samples=samples)
    assert decode.speeds == [2.0, 4.0]
    assert (decode.p50_ts, decode.p95_ts) == (3.0, 2.0)
    assert decode.tpot_s == [2.0, 1.0]
    assert decode.itl_s == [1.0, 3.0, 1.0, 1.0]
    prefill = Figures(test=BenchmarkTest(n_prompt=18), samples=[Sample(ttft_s=9.0)])
    assert prefill.speeds == [2.0]
    assert prefill.tpot_s == []


def test_clock_is_looked_at_once_a_step(engine: Engine) -> None:
    prefill = measure(engine, BenchmarkTest(n_prompt=12, n_depth=3, batch=2), 0, Ticks())
    assert prefill == Sample(ttft_s=1.0)
    decode = measure(engine, BenchmarkTest(n_gen=5, n_depth=3, batch=2), 0, Ticks())
    assert decode == Sample(ttft_s=1.0, steps_s=(1.0,) * 5)


def test_batch_beyond_the_cache_budget_is_refused(engine: Engine) -> None:
    small = Engine(engine.model.path, RuntimeOptions(cache_bytes=4096))
    with pytest.raises(ValueError, match="64 rows of 2 tokens do not fit the cache budget"):
        measure(small, BenchmarkTest(n_gen=1, batch=64), 0)


def test_one_model_is_loaded_once(engine: Engine) -> None:
    seen: list[tuple[int, int]] = []
    (figures,) = benchmark(
        [engine.model.path],
        plan_tests(64, n_prompt=[8], n_gen=[2]),
        repetitions=3,
        options=RuntimeOptions(threads=1),
        progress=lambda done, total: seen.append((done, total)),
        clock=Ticks(),
    )
    assert figures.load_s == [1.0]
    assert figures.threads == 1
    assert [len(test.samples) for test in figures.tests] == [3, 3]
    assert [test.p50_ts for test in figures.tests] == [8.0, 1.0]
    assert seen == [(done, 8) for done in range(1, 9)]


def test_several_models_take_turns(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    def load(path: Path, options: RuntimeOptions | None) -> Engine:
        loaded.append(len(loaded))
        return Engine(path, options)

    monkeypatch.setattr(module, "Engine", load)
    path = engine.model.path
    tests = plan_tests(64, n_prompt=[], n_gen=[2])
    figures = benchmark([path, path], tests, repetitions=3, clock=Ticks())
    assert len(loaded) == 6
    assert [len(own.load_s) for own in figures] == [3, 3]
    assert [len(own.tests[0].samples) for own in figures] == [3, 3]


@pytest.mark.parametrize(("resets", "expected"), [(True, [7, 9]), (False, [None, None])])
def test_each_model_has_its_own_peak(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, resets: bool, expected: list[int | None]
) -> None:
    """Of all turns the largest, and none where the system counts all models as one."""
    peaks = iter([7, 2, 5, 9])  # of A, B, A, B
    monkeypatch.setattr(module, "reset_peak_rss", lambda: resets)
    monkeypatch.setattr(module, "peak_rss", lambda: next(peaks))
    path = engine.model.path
    tests = plan_tests(64, n_prompt=[2], n_gen=[])
    found = benchmark([path, path], tests, repetitions=2, clock=Ticks())
    assert [own.peak_rss_bytes for own in found] == expected


def test_peak_is_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's "kB" are 1,024 bytes (proc_pid_status(5))."""
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    2000 kB\nVmRSS:\t    1000 kB\n")
    monkeypatch.setattr(memory, "_STATUS", status)
    assert peak_rss() == 2_048_000


def test_repetitions_have_prompts_of_their_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    prompts = BenchmarkTest.prompts

    def noted(self: BenchmarkTest, vocab: int, seed: int = 0) -> list[list[int]]:
        seeds.append(seed)
        return prompts(self, vocab, seed)

    monkeypatch.setattr(BenchmarkTest, "prompts", noted)
    benchmark([engine.model.path], plan_tests(64, n_prompt=[2], n_gen=[]), repetitions=3)
    assert seeds == [0, 1, 2, 3]  # the first is the warm-up


def test_peak_memory_sees_what_was_there_and_is_gone() -> None:
    before = peak_rss()
    if before is None or not reset_peak_rss():
        pytest.skip("this system does not count anew")
    with mmap(-1, 64 << 20) as block:  # memory that goes back at once, as the heap's need not
        block.write(b"x" * (1 << 20) * 64)
        high = peak_rss()
    after = peak_rss()
    assert reset_peak_rss()
    low = peak_rss()
    assert high is not None
    assert after is not None
    assert low is not None
    assert high - low > 48 << 20
    assert after - low > 48 << 20
