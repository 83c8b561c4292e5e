"""Rounding: layouts, scales, compensation, and columns that cannot saturate."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2edge.quant.recipes import QuantRecipe
from gpt2edge.quant.rounding.blocks import Blocks, fitting_block_size, round_to_blocks
from gpt2edge.quant.rounding.gptq import (
    columns_with_compensation,
    inverse_of_triangular,
    round_with_compensation,
    round_with_search,
)
from gpt2edge.quant.rounding.int8_columns import (
    PAIR_LIMIT,
    largest_pairs,
    round_to_columns,
)
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.system.cpu import saturation_warning, u8s8_saturates


def multiply_saturating(
    activations: NDArray[np.uint8], weights: NDArray[np.int8]
) -> NDArray[np.int32]:
    """[m, k] times [k, n] as ``vpmaddubsw`` computes it: int16 sums of pairs saturate, [m, n].

    An x86 CPU without VNNI does so; this is its oracle, as ours may have VNNI.
    """
    odd = len(weights) % 2
    a = np.pad(activations, ((0, 0), (0, odd))).astype(np.int32)
    w = np.pad(weights, ((0, odd), (0, 0))).astype(np.int32)
    total = np.zeros((len(a), w.shape[1]), np.int32)
    for i in range(0, len(w), 2):
        pair = np.outer(a[:, i], w[i]) + np.outer(a[:, i + 1], w[i + 1])
        total += pair.clip(-32768, 32767)
    return total


@pytest.fixture
def weight() -> FloatArray:
    return np.random.default_rng(1).normal(size=(48, 70)).astype(np.float32)  # [n, k]


@pytest.fixture
def inputs() -> FloatArray:
    """Correlated inputs [rows, k]: what error compensation lives on."""
    rng = np.random.default_rng(2)
    mixed = rng.normal(size=(512, 12)) @ rng.normal(size=(12, 70))
    return (mixed + 0.3 * rng.normal(size=(512, 70))).astype(np.float32)


def _output_error(blocks: Blocks, weight: FloatArray, inputs: FloatArray) -> float:
    difference = blocks.dequantized(weight.shape[1]) - weight
    return float(np.square(inputs @ difference.T).sum())


@pytest.mark.parametrize(
    ("k", "size"), [(768, 256), (1280, 256), (1600, 64), (192, 64), (32, 32), (100, 32), (48, 32)]
)
def test_blocks_are_halved_until_they_divide_a_weight(k: int, size: int) -> None:
    assert fitting_block_size(k, 256) == size
    assert fitting_block_size(k, 32) == 32


@pytest.mark.parametrize(("bits", "allowed"), [(8, 0.006), (4, 0.1)])
def test_nearest_error(weight: FloatArray, bits: int, allowed: float) -> None:
    blocks = round_to_blocks(weight, bits, 32)
    error = np.linalg.norm(blocks.dequantized(70) - weight) / np.linalg.norm(weight)
    assert error < allowed
    assert blocks.packed.shape == (48, 3, 32 * bits // 8)


def test_the_first_of_two_values_is_the_low_half_of_a_byte() -> None:
    blocks = round_to_blocks(np.array([[-8.0, 7.0] + [0.0] * 14], np.float32), 4, 16)
    assert blocks.packed[0, 0, 0] == 0 | 15 << 4


def test_a_weight_of_zeros_stays_zero() -> None:
    zeros = np.zeros((2, 32), np.float32)
    assert not round_to_blocks(zeros, 4, 32).dequantized(32).any()
    assert not round_with_search(zeros, 4, 32).dequantized(32).any()
    assert not round_to_columns(zeros, portable=True).dequantized.any()


def test_searched_scales_err_less(weight: FloatArray) -> None:
    nearest = round_to_blocks(weight, 4, 32).dequantized(70)
    searched = round_with_search(weight, 4, 32).dequantized(70)
    assert np.square(searched - weight).sum() < 0.9 * np.square(nearest - weight).sum()


def test_compensation_halves_the_output_error(weight: FloatArray, inputs: FloatArray) -> None:
    moments = inputs.T @ inputs / len(inputs)
    searched = round_with_search(weight, 4, 32, moments.diagonal())
    compensated = round_with_compensation(weight, 4, 32, moments)
    assert _output_error(compensated, weight, inputs) < 0.5 * _output_error(
        searched, weight, inputs
    )


@pytest.mark.parametrize("portable", [False, True])
def test_compensation_halves_the_output_error_of_columns(
    weight: FloatArray, inputs: FloatArray, portable: bool
) -> None:
    moments = inputs.T @ inputs / len(inputs)
    plain = round_to_columns(weight.T, portable=portable)
    columns = columns_with_compensation(weight.T, moments, portable=portable)
    before, after = (
        np.square(inputs @ (found.dequantized - weight.T)).sum() for found in (plain, columns)
    )
    assert after < 0.5 * before
    assert np.array_equal(columns.scales, plain.scales)


def test_compensation_is_that_of_the_paper(weight: FloatArray, inputs: FloatArray) -> None:
    """Channel by channel in float64, by the inverse itself, damped by 1 % of the mean diagonal.

    Frantar et al. 2022, equations 2 and 3 with the fixed order of section 3.3 step 1.
    """
    moments = (inputs.T @ inputs / len(inputs)).astype(np.float32)
    found = columns_with_compensation(weight.T, moments, portable=False)
    scales = found.scales.astype(np.float64)
    hessian = moments.astype(np.float64)
    inverse = np.linalg.inv(hessian + 0.01 * hessian.diagonal().mean() * np.eye(70))
    rest = weight.T.astype(np.float64)
    expected = np.empty_like(rest)
    for i in range(70):
        expected[i] = np.rint(rest[i] / scales).clip(-127, 127)
        error = (rest[i] - expected[i] * scales) / inverse[i, i]
        rest -= np.outer(inverse[:, i], error)
        inverse -= np.outer(inverse[:, i], inverse[i]) / inverse[i, i]
    assert np.mean(found.values == expected) > 0.99  # float32 decides a near tie otherwise


def test_pairs_stay_portable_when_compensation_moves_them(inputs: FloatArray) -> None:
    weight = np.linspace(0.9, 1, 70, dtype=np.float32)[:, None] * np.ones(8, np.float32)
    moments = inputs.T @ inputs / len(inputs)
    largest = np.full((1, 70), 255, np.uint8)
    for portable in (False, True):
        values = columns_with_compensation(weight, moments, portable=portable).values
        assert (largest_pairs(values.astype(np.float32)).max() <= PAIR_LIMIT) == portable
        exact = largest.astype(np.int32) @ values.astype(np.int32)
        assert np.array_equal(multiply_saturating(largest, values), exact) == portable


def test_compensation_takes_inputs_that_are_always_zero(weight: FloatArray) -> None:
    blocks = round_with_compensation(weight, 4, 32, np.zeros((70, 70), np.float32))
    assert np.isfinite(blocks.dequantized(70)).all()


def test_inverse_of_triangular() -> None:
    normal = np.random.default_rng(3).normal(size=(150, 150))
    matrix = (np.triu(normal) + 20 * np.eye(150)).astype(np.float32)
    assert np.allclose(inverse_of_triangular(matrix) @ matrix, np.eye(150), atol=1e-6)


def test_plain_int8_columns_saturate_without_vnni_and_portable_ones_do_not() -> None:
    weight = np.linspace(0.9, 1, 64, dtype=np.float32)[:, None] * np.ones(8, np.float32)
    largest = np.full((1, 64), 255, np.uint8)
    for portable in (False, True):
        values = round_to_columns(weight, portable=portable).values
        exact = largest.astype(np.int32) @ values.astype(np.int32)
        assert np.array_equal(multiply_saturating(largest, values), exact) == portable


def test_portable_columns_use_what_their_pairs_leave(weight: FloatArray) -> None:
    columns = round_to_columns(weight.T, portable=True)
    pairs = largest_pairs(columns.values.astype(np.float32))
    assert pairs.max() <= PAIR_LIMIT
    assert np.abs(columns.values).max() > 64  # more than 7 bits
    error = np.linalg.norm(columns.dequantized - weight.T) / np.linalg.norm(weight)
    assert error < 0.015


def test_load_warns_where_the_assumption_fails() -> None:
    recipe = {"scheme": "dynamic", "portable": False}
    assert "VNNI" in (saturation_warning(recipe, saturates=True) or "")
    assert saturation_warning(recipe, saturates=False) is None
    assert saturation_warning({**recipe, "portable": True}, saturates=True) is None
    assert saturation_warning({"scheme": "weight_only"}, saturates=True) is None
    assert saturation_warning(None, saturates=True) is None


def test_which_cpus_saturate() -> None:
    assert u8s8_saturates("x86_64", frozenset({"avx2", "fma"}))
    assert not u8s8_saturates("x86_64", frozenset({"avx2", "avx_vnni"}))
    assert not u8s8_saturates("AMD64", frozenset({"avx512f", "avx512_vnni"}))
    assert u8s8_saturates("aarch64") is False


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bits", 3),
        ("block_size", 48),
        ("wide_block_size", 8),
        ("lm_head", 16),
        ("rounding", "up"),
        ("scheme", "qdq"),
    ],
)
def test_recipes_refuse_what_they_cannot_do(field: str, value: object) -> None:
    keys = {"name": "own", "bits": 8, field: value}
    with pytest.raises(ValueError, match=f"{field} is {value!r}; it must be one of"):
        QuantRecipe(**keys)  # type: ignore[arg-type]
