"""Blocks of weights that share a scale: rounding, and the layouts of ONNX Runtime's operators.

Quantized values are unsigned with the zero at half the range (128 or 8), the zero point that
MatMulNBits and GatherBlockQuantized assume where none is given.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import FloatArray

_SMALLEST_NORMAL: Final = np.finfo(np.float32).tiny
"""1 over it still is a float32."""

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
        """uint8 [n, k_blocks, block_size * bits / 8]: of two 4-bit values the first is low."""
        if self.bits == 8:
            return self.values
        low, high = self.values[..., 0::2], self.values[..., 1::2]
        packed: NDArray[np.uint8] = np.bitwise_or(low, high << np.uint8(4))
        return packed

    def dequantized(self, k: int) -> FloatArray:
        """The weight [n, k] that these blocks stand for."""
        centred = self.values.astype(np.float32) - np.float32(1 << (self.bits - 1))
        weight: FloatArray = (centred * self.scales[..., None]).reshape(len(self.values), -1)
        return weight[:, :k]


def fitting_block_size(k: int, largest: int) -> int:
    """``largest``, halved until ``k`` inputs are whole blocks; not under 32, or what is smaller."""
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
    """``weight`` [n, k] by rows, few enough at a time that copies of them are small."""
    step = max(1, _CHUNK // weight.shape[1])
    for start in range(0, len(weight), step):
        yield weight[start : start + step]


def extreme_scales(blocks: FloatArray, bits: int) -> FloatArray:
    """Scales [n, k_blocks] that make each block's largest weight ``-2^(bits - 1)``, exactly.

    The range has one more value on the negative side; a scale may be negative.
    """
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)
    scales: FloatArray = extreme[..., 0] / np.float32(-(1 << (bits - 1)))
    return scales


def split_blocks(weight: FloatArray, block_size: int) -> FloatArray:
    """[n, k] -> [n, k_blocks, block_size], zeros behind the last column."""
    n, k = weight.shape
    padded = np.pad(weight, [(0, 0), (0, -k % block_size)])
    return np.ascontiguousarray(padded, np.float32).reshape(n, -1, block_size)


def inverted(scales: FloatArray) -> FloatArray:
    """1 / scale; 0 for scales below the smallest normal float32, of weights that are 0 as well."""
    return np.divide(1, scales, out=np.zeros_like(scales), where=np.abs(scales) >= _SMALLEST_NORMAL)


def quantize_values(blocks: FloatArray, scales: FloatArray, bits: int) -> NDArray[np.uint8]:
    """The values in [0, 2^bits) nearest to ``blocks`` under ``scales``; 0 scales give the zero."""
    half = 1 << (bits - 1)
    inverse = inverted(scales)
    values = blocks * inverse[..., None]
    np.rint(values, out=values)
    values += half
    np.clip(values, 0, 2 * half - 1, out=values)
    return values.astype(np.uint8)
