"""Draws by the kernels against those by numpy: the same tokens for the same random numbers."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.sampling.drawing import Drawing
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.sampler import Sampler
from gpt2edge.runtime.sampling.truncation import draw
from tests.native.variants import needs_kernels, runnable_variants, use_variant

pytestmark = needs_kernels


@pytest.fixture(scope="module", params=runnable_variants(), autouse=True)
def variant(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every variant that this processor runs, in turn."""
    with use_variant(request.param):
        yield request.param


def _logits(seed: int, rows: int, size: int, kind: str) -> Logits:
    rng = np.random.default_rng(seed)
    logits: Logits = rng.normal(size=(rows, size)).astype(np.float32) * rng.choice([0.01, 1, 8])
    logits = logits.astype(np.float32)
    if kind == "ties":
        logits = logits.round(0)
    if kind == "banned":
        logits[:, rng.integers(0, size, size // 2)] = -np.inf
        logits[:, 0] = 0
    return logits


def _shares(seed: int, rows: int) -> NDArray[np.float64]:
    shares = np.random.default_rng(seed + 1).random(rows)
    shares[0] = (0.0, 1 - 2.0**-53)[seed % 2]
    return shares


params = st.builds(
    SamplingParams,
    temperature=st.sampled_from([1.0, 0.8, 1.7, 0.1, 100.0]),
    top_k=st.sampled_from([0, 2, 40, 50, 1000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.05, 1.0, 1e-6]),
    typical_p=st.sampled_from([1.0, 1.0, 0.9]),
)


@given(
    params=params,
    seed=st.integers(0, 10**6),
    size=st.sampled_from([1, 2, 5, 63, 64, 65, 300, 1025, 4096, 20_011]),
    rows=st.integers(1, 5),
    kind=st.sampled_from(["plain", "ties", "banned"]),
)
@settings(max_examples=150, deadline=None)
def test_rows_are_drawn_as_numpy_draws_them(
    params: SamplingParams, seed: int, size: int, rows: int, kind: str
) -> None:
    logits, shares = _logits(seed, rows, size, kind), _shares(seed, rows)
    before = logits.copy()
    expected = draw(params, logits.copy(), shares).tolist()
    drawing = Drawing(params)
    assert drawing.rows(logits, shares).tolist() == expected
    pairs = zip(logits, shares.tolist(), strict=True)
    assert [drawing.one(row, share, ()) for row, share in pairs] == expected
    assert logits.tobytes() == before.tobytes()


@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 3, 64, 65, 200]))
@settings(max_examples=20, deadline=None)
def test_banned_tokens_are_not_drawn_and_their_logits_stay(seed: int, count: int) -> None:
    row = _logits(seed, 1, 300, "plain")[0]
    before = row.copy()
    rng = np.random.default_rng(seed)
    banned = [int(row.argmax()), *rng.choice(300, count - 1).tolist()]
    params, share = SamplingParams(temperature=0.5), float(rng.random())
    masked = row.copy()
    masked[banned] = -np.inf
    expected = draw(params, masked[None], np.array([share])).item()
    assert Drawing(params).one(row, share, banned) == expected
    assert row.tobytes() == before.tobytes()


def test_rows_of_one_logits_array_are_drawn_without_a_copy() -> None:
    """A prompt's first logits are one row that many samples share, with a stride of 0."""
    params = SamplingParams(top_k=40)
    row, shares = _logits(3, 1, 5000, "plain"), _shares(3, 8)
    shared = np.broadcast_to(row[0], (8, 5000))
    assert Drawing(params).rows(shared, shares).tolist() == draw(params, shared, shares).tolist()


def test_a_column_order_and_float64_are_left_to_numpy() -> None:
    params, shares = SamplingParams(), _shares(5, 4)
    logits = np.asfortranarray(_logits(5, 4, 70, "plain"))
    assert Drawing(params).rows(logits, shares).tolist() == draw(params, logits, shares).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("settings", [{}, {"top_k": 5}, {"min_p": 0.1}, {"top_p": 0.5}])
def test_logits_that_are_not_finite_are_an_error(bad: float, settings: dict[str, float]) -> None:
    drawing = Drawing(SamplingParams(**settings))  # type: ignore[arg-type]
    row = _logits(1, 1, 2000, "plain")[0]
    for place in (0, 1999):
        row[place] = bad
        with pytest.raises(ValueError, match="not finite"):
            drawing.one(row, 0.5, ())
        with pytest.raises(ValueError, match="not finite"):
            drawing.rows(row[None], np.array([0.5]))
        row[place] = 0
    with pytest.raises(ValueError, match="not finite"):
        drawing.one(np.full(2000, -np.inf, np.float32), 0.5, ())


def test_a_sampler_draws_the_oracles_stream() -> None:
    """Alone and among others, from the same seed."""
    params = SamplingParams(temperature=0.9, top_k=50, top_p=0.95)
    logits = _logits(7, 40, 4096, "plain")
    sampler, stream = Sampler(params, stream_key=(5, 0)), Sampler(params, stream_key=(5, 0)).stream
    expected = [draw(params, row[None], np.array([stream.next()])).item() for row in logits]
    assert [sampler(row, [], (9,)) for row in logits] == expected
