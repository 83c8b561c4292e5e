"""Rounding that minimizes the error: a search over block scales, and GPTQ.

``round_with_search`` tries scales around the plain one, fits each to the rounded values by least
squares, and keeps the one of least squared error per block. ``round_with_compensation`` is GPTQ
(Frantar et al. 2022, arXiv:2210.17323): it rounds one input channel after another and adjusts the
remaining channels to compensate for the error, as the second moments of the inputs allow.
``columns_with_compensation`` is GPTQ for int8 columns.
"""

from typing import Final

import numpy as np

from gpt2edge.quant.rounding.blocks import (
    Blocks,
    extreme_scales,
    inverted,
    quantize_values,
    row_chunks,
    split_blocks,
)
from gpt2edge.quant.rounding.int8_columns import COLUMN_LIMIT, PAIR_LIMIT, Columns, column_scales
from gpt2edge.runtime.arrays import FloatArray

_SHRINKS: Final = {4: (1.0, 0.96, 0.92, 0.88, 0.84, 0.78, 0.72), 8: (1.0, 0.99, 0.98)}  # by bits
_SMALL: Final = 64
_STRIDE: Final = 128
"""Channels whose errors are propagated together, by one product."""
_DAMPING: Final = 0.01  # relative to the mean of the diagonal


def round_with_search(
    weight: FloatArray, bits: int, block_size: int, importance: FloatArray | None = None
) -> Blocks:
    """Round ``weight`` [n, k]; ``importance`` [k], if given, weights the errors per input."""
    values, scales = [], []
    for rows in row_chunks(weight):
        blocks = split_blocks(rows, block_size)
        weights = _importance_blocks(importance, rows.shape[1], block_size)
        scales.append(search_scales(blocks, bits, weights))
        values.append(quantize_values(blocks, scales[-1], bits))
    return Blocks(np.concatenate(values), np.concatenate(scales), bits)


def search_scales(blocks: FloatArray, bits: int, importance: FloatArray) -> FloatArray:
    """Find scales [n, k_blocks], of either sign, for ``blocks`` [n, k_blocks, size].

    ``importance`` broadcasts against ``blocks``.
    """
    plain = extreme_scales(blocks, bits)
    best, least = plain, np.full(plain.shape, np.inf, np.float32)
    half = np.float32(1 << (bits - 1))
    shrinks = _SHRINKS[bits]
    for factor in (*shrinks, *(-shrink * half / (half - 1) for shrink in shrinks)):
        scales = plain * np.float32(factor)
        centred = quantize_values(blocks, scales, bits).astype(np.float32) - half
        weighted = centred * importance  # [n, k_blocks, size]
        energy = (weighted * centred).sum(axis=-1)  # [n, k_blocks]
        fitted = np.divide((weighted * blocks).sum(axis=-1), energy, out=scales, where=energy > 0)
        error = (importance * np.square(centred * fitted[..., None] - blocks)).sum(axis=-1)
        better = error < least
        best, least = np.where(better, fitted, best), np.where(better, error, least)
    return best


def round_with_compensation(
    weight: FloatArray, bits: int, block_size: int, moments: FloatArray
) -> Blocks:
    """Round ``weight`` [n, k] by GPTQ, for inputs whose mean of x^T x is ``moments`` [k, k]."""
    n, k = weight.shape
    upper = _inverse_root(moments)  # [k, k]
    rest = np.array(weight.T, np.float32, order="C")  # [k, n], the weights adjusted so far
    half = np.float32(1 << (bits - 1))
    values = np.full((n, -(-k // block_size), block_size), half, np.uint8)
    scales = np.zeros(values.shape[:2], np.float32)
    for index, start in enumerate(range(0, k, block_size)):
        stop = min(start + block_size, k)
        block = split_blocks(rest[start:stop].T, block_size)  # [n, 1, block_size]
        weights = _importance_blocks(upper.diagonal()[start:stop] ** -2, stop - start, block_size)
        scale = search_scales(block, bits, weights)[:, 0]  # [n, 1] -> [n]
        inverse = inverted(scale)
        errors = np.empty((stop - start, n), np.float32)
        for i in range(start, stop):
            value = (np.rint(rest[i] * inverse) + half).clip(0, 2 * half - 1)  # [n]
            values[:, index, i - start] = value
            errors[i - start] = (rest[i] - (value - half) * scale) / upper[i, i]
            rest[i + 1 : stop] -= upper[i, i + 1 : stop, None] * errors[i - start]
        rest[stop:] -= upper[start:stop, stop:].T @ errors  # [k - stop, block] @ [block, n]
        scales[:, index] = scale
    return Blocks(values, scales, bits)


def columns_with_compensation(
    weight: FloatArray, moments: FloatArray, *, portable: bool
) -> Columns:
    """Round ``weight`` [k, n] to int8 columns by GPTQ, with ``moments`` [k, k] of the inputs.

    The scales are those of ``round_to_columns``. ``portable`` clips the adjusted weights so that
    pairs stay within ``PAIR_LIMIT``; the remaining channels compensate for the clipping.
    """
    k, n = weight.shape
    upper = _inverse_root(moments)  # [k, k]
    rest = np.array(weight, np.float32, order="C")  # [k, n], the weights adjusted so far
    scales = column_scales(weight, portable=portable)
    inverse = inverted(scales)
    values = np.zeros((k, n), np.int8)
    reach: FloatArray | np.float32 = np.float32(COLUMN_LIMIT)
    for start in range(0, k, _STRIDE):
        stop = min(start + _STRIDE, k)
        errors = np.empty((stop - start, n), np.float32)
        for i in range(start, stop):
            value = np.rint(rest[i] * inverse).clip(-reach, reach)  # [n]
            values[i] = value
            if portable:  # the second of a pair may use the limit that the first has left
                free = np.minimum(PAIR_LIMIT - np.abs(value), COLUMN_LIMIT)
                reach = np.float32(COLUMN_LIMIT) if i % 2 else free
            errors[i - start] = (rest[i] - value * scales) / upper[i, i]
            rest[i + 1 : stop] -= upper[i, i + 1 : stop, None] * errors[i - start]
        rest[stop:] -= upper[start:stop, stop:].T @ errors  # [k - stop, stride] @ [stride, n]
    return Columns(values, scales)


def _inverse_root(moments: FloatArray) -> FloatArray:
    """Return the upper triangular U [k, k] with U^T U the inverse of the damped ``moments``."""
    damped = moments.astype(np.float64)
    diagonal = damped.diagonal().copy()
    mean = float(diagonal.mean()) or 1.0
    damped[np.diag_indices_from(damped)] = np.where(diagonal > 0, diagonal, mean) + _DAMPING * mean
    # With both axes reversed, the Cholesky factor of a matrix is upper triangular, and its inverse
    # is the Cholesky factor of the matrix's inverse.
    upper = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1].astype(np.float32)
    return inverse_of_triangular(upper)


def inverse_of_triangular(upper: FloatArray) -> FloatArray:
    """Invert an upper triangular matrix [k, k] recursively, by halves.

    float32 is enough: the error is at most 5e-7 for moments of our models, bounded by the damping.
    """
    size, half = len(upper), len(upper) // 2
    if size <= _SMALL:
        return np.asarray(np.linalg.inv(upper))
    inverse = np.zeros((size, size), upper.dtype)
    inverse[:half, :half] = first = inverse_of_triangular(upper[:half, :half])
    inverse[half:, half:] = last = inverse_of_triangular(upper[half:, half:])
    inverse[:half, half:] = -first @ upper[:half, half:] @ last
    return inverse


def _importance_blocks(importance: FloatArray | None, k: int, block_size: int) -> FloatArray:
    """Split importance, [k] -> [1, k_blocks, block_size]: ones for None, zeros in the padding."""
    known = np.ones(k, np.float32) if importance is None else importance
    return split_blocks(np.asarray(known, np.float32)[None], block_size)
