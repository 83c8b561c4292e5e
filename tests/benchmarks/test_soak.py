"""The soak: its verdict on made-up memory, and a short one of every kind of request."""

import random
from pathlib import Path

import pytest

from benchmarks.speed import soak
from gpt2edge.runtime.bundled import BUNDLED_MODEL


def test_verdict_tells_a_leak_from_noise_and_warm_up() -> None:
    noise = random.Random(0)

    def samples(leak: float, warm_up: float) -> list[soak.Sample]:
        return [
            soak.Sample(
                float(at),
                at,
                100 * at,
                round(1e8 + leak * at + min(at, 30) * warm_up + noise.uniform(-1e5, 1e5)),
            )
            for at in range(1, 121)
        ]

    flat = soak.verdict(samples(0, 1e6))
    assert abs(flat["growth_bytes"]) < 2e5
    assert abs(flat["slope_bytes_per_token"]) < 50
    leaking = soak.verdict(samples(1e5, 1e6))
    assert leaking["growth_bytes"] == pytest.approx(80 * 1e5 * 2 / 3, rel=0.1)
    assert leaking["slope_bytes_per_hour"] == pytest.approx(3600 * 1e5, rel=0.05)
    assert leaking["slope_bytes_per_token"] == pytest.approx(1e3, rel=0.05)


def test_the_peak_is_that_of_the_whole_run() -> None:
    samples = [soak.Sample(float(at), at, at, 500 if at == 1 else 100 + at) for at in range(12)]
    found = soak.verdict(samples)
    assert found["peak_rss_bytes"] == 500
    assert (found["first_rss_bytes"], found["last_rss_bytes"]) == (104, 111)


@pytest.mark.slow
def test_every_kind_of_request_on_the_bundled_model() -> None:
    mixed = soak.make_load(BUNDLED_MODEL, threads=1, seed=1)
    tokens = {call.__name__: call() for call in mixed.calls()}
    assert tokens.pop("mistake") == 0
    assert min(tokens.values()) > 0
    samples = soak.run(mixed, lambda _, __, requests: requests == 5, every=2, progress=False)
    assert [sample.requests for sample in samples] == [2, 4]
    assert sum(mixed.kinds.values()) == 5


@pytest.mark.slow
def test_memory_stays_flat_for_a_while() -> None:
    """The same requests again and again: what the first rounds took must serve the later ones."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("this system does not tell a process's resident size in /proc")
    sizes = []
    mixed = soak.make_load(BUNDLED_MODEL, threads=1, seed=2)
    for _ in range(6):
        mixed.random.seed(2)
        soak.run(mixed, lambda _, __, requests: requests >= 8, every=8, progress=False)
        sizes.append(soak.rss())
    assert sizes[-1] - sizes[2] < 4e6
