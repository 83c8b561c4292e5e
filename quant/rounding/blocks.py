"""Blocks of weights that share a scale: rounding, and the layouts of ONNX Runtime's operators.

Quantized values are unsigned with the zero at half the range (128 or 8), the default zero point of
MatMulNBits and GatherBlockQuantized.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import FloatArray

_SMALLEST_NORMAL: Final = np.finfo(np.float32).tiny
"""Its reciprocal is still a finite float32."""

_CHUNK: Final = 1 << 21  # weights
_SMALLEST: Final = 32


@dataclass(frozen=True, slots=True)
class Blocks:
    """A weight [n, k] in blocks along k, the last one padded with zeros.

    ``values`` uint8 [n, k_blocks, block_size] in [0, 2^bits), ``scales`` float32 [n, k_blocks].
    """

    values: NDArray[np.uint8]
    scales: FloatArray
    bits: int

    @property
    def packed(self) -> NDArray[np.uint8]:
        """Return uint8 [n, k_blocks, block_size * bits / 8]; 4-bit values in pairs, low first."""
        if self.bits == 8:
            return self.values
        # [n, k_blocks, block_size] -> two of [n, k_blocks, block_size / 2]
        low, high = self.values[..., 0::2], self.values[..., 1::2]
        packed: NDArray[np.uint8] = np.bitwise_or(low, high << np.uint8(4))
        return packed

    def dequantized(self, k: int) -> FloatArray:
        """Return the weight [n, k] that these blocks represent."""
        # [n, k_blocks, block_size] -> [n, k_blocks * block_size], without the padding [n, k]
        centred = self.values.astype(np.float32) - np.float32(1 << (self.bits - 1))
        weight: FloatArray = (centred * self.scales[..., None]).reshape(len(self.values), -1)
        return weight[:, :k]


def fitting_block_size(k: int, largest: int) -> int:
    """Halve ``largest`` until it divides ``k``, but not below 32 (or ``largest``, if smaller)."""
    size = largest
    while k % size and size > _SMALLEST:
        size //= 2
    return size


def round_to_blocks(weight: FloatArray, bits: int, block_size: int) -> Blocks:
    """Round ``weight`` [n, k] to the nearest value, each block scaled by its largest weight."""
    values, scales = [], []
    for rows in row_chunks(weight):
        blocks = split_blocks(rows, block_size)
        scales.append(extreme_scales(blocks, bits))
        values.append(quantize_values(blocks, scales[-1], bits))
    return Blocks(np.concatenate(values), np.concatenate(scales), bits)


def row_chunks(weight: FloatArray) -> Iterator[FloatArray]:
    """Yield chunks of rows of ``weight`` [n, k], few enough that copies of them are small."""
    step = max(1, _CHUNK // weight.shape[1])
    for start in range(0, len(weight), step):
        yield weight[start : start + step]


def extreme_scales(blocks: FloatArray, bits: int) -> FloatArray:
    """Return scales [n, k_blocks] that map each block's largest weight to ``-2^(bits - 1)``.

    The range has one more value on the negative side; a scale may be negative.
    """
    # [n, k_blocks, block_size] -> [n, k_blocks, 1]
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    scales: FloatArray = extreme[..., 0] / np.float32(-(1 << (bits - 1)))
    return scales


def split_blocks(weight: FloatArray, block_size: int) -> FloatArray:
    """Split a weight into blocks, [n, k] -> [n, k_blocks, block_size], padded with zeros."""
    n, k = weight.shape
    padded = np.pad(weight, [(0, 0), (0, -k % block_size)])  # [n, k_blocks * block_size]
    return np.ascontiguousarray(padded, np.float32).reshape(n, -1, block_size)


def inverted(scales: FloatArray) -> FloatArray:
    """Return 1 / scale, but 0 for scales below the smallest normal float32 (weights near 0)."""
    return np.divide(1, scales, out=np.zeros_like(scales), where=np.abs(scales) >= _SMALLEST_NORMAL)


def quantize_values(blocks: FloatArray, scales: FloatArray, bits: int) -> NDArray[np.uint8]:
    """Return the values in [0, 2^bits) nearest to ``blocks``; a scale of 0 gives the zero point.

    ``blocks`` [n, k_blocks, block_size] and ``scales`` [n, k_blocks] give uint8 values of the shape
    of ``blocks``.
    """
    half = 1 << (bits - 1)
    inverse = inverted(scales)
    values = blocks * inverse[..., None]  # [n, k_blocks, block_size] * [n, k_blocks, 1]
    np.rint(values, out=values)
    values += half
    np.clip(values, 0, 2 * half - 1, out=values)
    return values.astype(np.uint8)
