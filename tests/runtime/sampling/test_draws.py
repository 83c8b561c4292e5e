"""Top-k and the place of a draw, against a plain sort and a running sum."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2edge.runtime.sampling.truncation import places_of, top_k_indices


@given(seed=st.integers(0, 10**6), k=st.integers(1, 60), ties=st.booleans())
def test_top_k_is_the_head_of_a_stable_sort(seed: int, k: int, ties: bool) -> None:
    values = np.random.default_rng(seed).normal(size=17_000).astype(np.float32)
    values = values.round(1) if ties else values
    assert (
        top_k_indices(values[None], k)[0].tolist()
        == np.argsort(-values, kind="stable")[:k].tolist()
    )


@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([200, 4096, 17_001, 20_011]),
    k=st.sampled_from([1, 3, 60, 100, 2500, 10_000]),
    decimals=st.sampled_from([0, 1, 7]),
    possible=st.sampled_from([1.0, 0.01, 0.0001]),
)
@settings(max_examples=40)
def test_top_k_of_many_rows_is_that_of_each(
    seed: int, size: int, k: int, decimals: int, possible: float
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(17, size)).astype(np.float32).round(decimals)
    values[1, random.random(size) > possible] = -np.inf
    expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
    assert top_k_indices(values, k).tolist() == expected.tolist()


@given(seed=st.integers(0, 10**6), size=st.sampled_from([1, 128, 129, 1000]))
def test_a_draw_lands_where_the_running_sum_passes_it(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    weights = np.exp(rng.normal(0, 2, size)).astype(np.float32)
    running = weights.cumsum(dtype=np.float64) / weights.sum(dtype=np.float64)
    for share in [0.0, np.nextafter(1.0, 0.0), *rng.random(10)]:
        (place,) = places_of(np.array([share]), weights[None])
        assert share <= running[place] + 1e-6
        assert place == 0 or share >= running[place - 1] - 1e-6
