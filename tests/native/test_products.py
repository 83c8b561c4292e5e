"""Products of 4 and 8 bits against float64 numpy, in every variant that runs here."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2edge.native.library import library, variants
from tests.native.products import (
    Around,
    Kernel,
    Weights,
    activated,
    product,
    random_weights,
    rounded,
)
from tests.native.variants import needs_kernels, runnable_variants

pytestmark = needs_kernels

VARIANTS: Final = [list(variants()).index(name) for name in runnable_variants()]
BLOCKS: Final = (16, 32, 64, 128, 256)
sizes = st.sampled_from([1, 7, 8, 15, 16, 17, 33, 48, 100, 255, 256, 257, 320, 768])
rows = st.sampled_from([1, 2, 3, 5, 8, 11, 12, 13, 24, 26, 97])


def _kernel(weights: Weights, variant: int) -> Kernel:
    loaded = library()
    assert loaded is not None
    return Kernel(loaded, variant, weights)


@given(
    n=sizes,
    k=sizes,
    rows=rows,
    bits=st.sampled_from([4, 8]),
    block=st.sampled_from(BLOCKS),
    columns=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_a_product_is_that_of_numpy_in_every_variant(
    n: int, k: int, rows: int, bits: int, block: int, columns: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    columns = columns and bits == 8
    weights = random_weights(random, n, k, bits, block, columns=columns)
    x = (random.standard_normal((rows, k)) * random.uniform(0.01, 50)).astype(np.float32)
    expected = rounded(x, weights)
    size = np.abs(x).astype(np.float64) @ np.abs(weights.dense()).T
    found = [_kernel(weights, variant)(x) for variant in VARIANTS]
    assert np.all(np.abs(found[0] - expected) <= 1e-6 * size + 1e-30)
    assert all(np.array_equal(found[0], other) for other in found)


@given(
    k=sizes,
    rows=st.integers(1, 30),
    bits=st.sampled_from([4, 8]),
    block=st.sampled_from(BLOCKS),
    activation=st.integers(0, 4),
    parts=st.integers(0, 15),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_norm_bias_activation_and_residual_are_those_of_numpy(
    k: int, rows: int, bits: int, block: int, activation: int, parts: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    n = 40

    def vector(place: int, *shape: int) -> np.ndarray | None:
        array = random.standard_normal(shape).astype(np.float32)
        return array if parts >> place & 1 else None

    around = Around(
        gain=vector(0, k),
        norm_bias=vector(1, k) if parts & 1 else None,
        bias=vector(2, n),
        residual=vector(3, rows, n),
        activation=activation,
    )
    weights = random_weights(random, n, k, bits, block)
    x = random.standard_normal((rows, k)).astype(np.float32)
    exact, reach = product(x, weights, around)
    if around.bias is not None:
        exact += around.bias
    expected = activated(exact, activation)
    if around.residual is not None:
        expected += around.residual
    for variant in VARIANTS:
        found = _kernel(weights, variant)(x, around)
        # no activation is steeper than 1.13
        assert np.all(np.abs(found - expected) <= 1.13 * reach + 1e-4)


@pytest.mark.parametrize("activation", range(5))
def test_an_activation_is_exact_to_a_few_places(activation: int) -> None:
    weights = Weights(
        numbers=np.full((1, 1, 16), 129, np.uint8), scales=np.ones((1, 1), np.float32), k=1, bits=8
    )
    x = np.concatenate([np.linspace(-12, 12, 4001), [100.0, -100.0, 0.0]]).astype(np.float32)[
        :, None
    ]
    expected = activated(x.astype(np.float64), activation)
    for variant in VARIANTS:
        found = _kernel(weights, variant)(x, Around(activation=activation))
        assert np.all(np.abs(found - expected) <= 4e-7 * np.maximum(1, np.abs(x)))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [32, 256])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_row_has_the_same_bits_alone_in_any_batch_and_any_order_of_work(
    bits: int, block: int, variant: int
) -> None:
    random = np.random.default_rng(block + bits)
    kernel = _kernel(random_weights(random, 200, 320, bits, block), variant)
    x = random.standard_normal((110, 320)).astype(np.float32)
    around = Around(
        gain=random.standard_normal(320).astype(np.float32),
        bias=random.standard_normal(200).astype(np.float32),
        activation=1,
    )
    together = kernel(x, around)
    for count in range(1, 28):
        assert np.array_equal(kernel(x[:count], around, first=count), together[:count])
    assert np.array_equal(kernel(x[40:], around, first=3), together[40:])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bits", [4, 8])
def test_sums_never_saturate(bits: int, variant: int) -> None:
    for number in (0, (1 << bits) - 1):
        numbers = np.full((16, 1, 256), number, np.uint8)
        weights = Weights(numbers=numbers, scales=np.ones((16, 1), np.float32), k=256, bits=bits)
        for sign in (1, -1):
            x = np.full((5, 256), sign, np.float32)
            expected = sign * 256 * (number - (1 << (bits - 1)))
            assert np.allclose(_kernel(weights, variant)(x), expected, rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_its_row_alone(value: float, variant: int) -> None:
    random = np.random.default_rng(0)
    kernel = _kernel(random_weights(random, 20, 100, 4, 32), variant)
    x = random.standard_normal((6, 100)).astype(np.float32)
    clean = kernel(x)
    x[2, 70] = value
    found = kernel(x)
    assert np.isnan(found[2]).all()
    assert np.array_equal(np.delete(found, 2, 0), np.delete(clean, 2, 0))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-31, 1e30])
def test_blocks_of_zeros_and_of_extreme_numbers(size: float, variant: int) -> None:
    random = np.random.default_rng(1)
    weights = random_weights(random, 20, 96, 8, 32)
    x = random.standard_normal((3, 96)).astype(np.float32)
    x[:, 32:64] *= np.float32(size)
    expected = rounded(np.where(np.abs(x) < 1e-30, 0, x).astype(np.float32), weights)
    scale = np.abs(x).astype(np.float64) @ np.abs(weights.dense()).T
    assert np.all(np.abs(_kernel(weights, variant)(x) - expected) <= 1e-6 * scale)


@pytest.mark.parametrize(
    ("n", "k", "bits", "block"),
    [(0, 8, 4, 32), (8, 0, 4, 32), (8, 8, 3, 32), (8, 8, 4, 48), (8, 8, 4, 512), (2**40, 8, 4, 32)],
)
def test_weights_that_the_kernels_do_not_know_have_no_size(
    n: int, k: int, bits: int, block: int
) -> None:
    loaded = library()
    assert loaded is not None
    _kernel(random_weights(np.random.default_rng(0), 1, 1, 4, 16), VARIANTS[0])  # declares it
    assert loaded.functions.gpt2edge_packed_bytes(n, k, bits, block) == -1
