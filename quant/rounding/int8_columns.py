"""Columns of int8 weights for dynamic products, scaled so that no CPU saturates.

``vpmaddubsw``, which multiplies u8 activations by s8 weights on x86 without VNNI, adds each pair
of neighbouring products in int16: 255 * (|w0| + |w1|) must stay within 32,767, so the magnitudes of
every pair may sum to 128 at most. Weights of 7 bits would ensure that too, but only the largest
pair of a column has to fit: on our models the step is 1.4 times finer than with 7 bits.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.quant.rounding.blocks import inverted
from gpt2edge.runtime.arrays import FloatArray

PAIR_LIMIT: Final = 128
"""Largest sum of two neighbouring weights' magnitudes that cannot saturate."""
COLUMN_LIMIT: Final = 127
"""Largest magnitude of an int8 weight."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A weight [k, n]: ``values`` int8 [k, n] and one scale per column, ``scales`` float32 [n]."""

    values: NDArray[np.int8]
    scales: FloatArray

    @property
    def dequantized(self) -> FloatArray:
        """Return the weight [k, n] that these columns represent."""
        weight: FloatArray = self.values * self.scales
        return weight


def round_to_columns(weight: FloatArray, *, portable: bool) -> Columns:
    """Round ``weight`` [k, n] to int8; ``portable`` keeps every pair within ``PAIR_LIMIT``."""
    scales = column_scales(weight, portable=portable)
    inverse = inverted(scales)
    values = np.rint(weight * inverse).clip(-COLUMN_LIMIT, COLUMN_LIMIT).astype(np.int8)
    return Columns(values, scales)


def column_scales(weight: FloatArray, *, portable: bool) -> FloatArray:
    """Return scales [n] by the largest weight, or pair, of each column of ``weight`` [k, n]."""
    scales: FloatArray = np.abs(weight).max(axis=0) / np.float32(COLUMN_LIMIT)
    if not portable:
        return scales
    # Both weights of a pair may round up, by half a step each: hence one less than the limit.
    np.maximum(scales, largest_pairs(weight) / np.float32(PAIR_LIMIT - 1), out=scales)
    return scales


def largest_pairs(weight: FloatArray) -> FloatArray:
    """Return, per column of ``weight`` [k, n], the largest |w[2 i]| + |w[2 i + 1]|: [n]."""
    magnitude = np.abs(weight)
    sums: FloatArray = magnitude[0::2]  # [ceil(k / 2), n]
    sums[: len(weight) // 2] += magnitude[1::2]
    largest: FloatArray = sums.max(axis=0)
    return largest
