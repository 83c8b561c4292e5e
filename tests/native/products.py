"""The kernels of products by ctypes, and products in float64 to compare them with."""

import ctypes
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.native.library import Library

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_INT, _LONG, _POINTER, _FLOAT = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
_SIZES: Final = (_LONG, _LONG, _INT, _INT)
_PACK: Final = (*_SIZES, _INT, _POINTER, _POINTER, _POINTER)
_MULTIPLY: Final = (
    *(_INT, _LONG, *_SIZES, _POINTER, _POINTER, _POINTER, _POINTER, _FLOAT, _POINTER, _POINTER),
    *(_INT, _FLOAT, _LONG, _POINTER),
)
_LINE: Final = 64
EPSILON: Final = 1e-5
ALPHA: Final = 1.702


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a product does beside multiplying."""

    gain: Floats | None = None
    norm_bias: Floats | None = None
    bias: Floats | None = None
    residual: Floats | None = None
    activation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights [n, k] of whole numbers in blocks, as MatMulNBits stores them, or in columns."""

    numbers: NDArray[np.uint8]
    """[n, blocks, block], from 0 to 2^bits - 1."""
    scales: Floats
    """[n, blocks]; of columns, the same in all blocks."""
    k: int
    bits: int
    columns: bool = False

    @property
    def block(self) -> int:
        """Numbers of k that share a scale."""
        return int(self.numbers.shape[2])

    def stored(self) -> tuple[NDArray[np.uint8], Floats]:
        """As they are in a file."""
        if self.columns:
            flat = self.numbers.reshape(len(self.numbers), -1)[:, : self.k]
            return np.ascontiguousarray(flat.T ^ np.uint8(128)), np.ascontiguousarray(
                self.scales[:, 0]
            )
        if self.bits == 8:
            return self.numbers, self.scales
        low, high = self.numbers[..., ::2], self.numbers[..., 1::2]
        return low | (high << np.uint8(4)), self.scales

    def dense(self) -> Doubles:
        """As float64 [n, k]."""
        signed = self.numbers.astype(np.float64) - (1 << (self.bits - 1))
        scaled = signed * self.scales[..., None].astype(np.float64)
        return scaled.reshape(len(scaled), -1)[:, : self.k]


def random_weights(
    random: np.random.Generator, n: int, k: int, bits: int, block: int, *, columns: bool = False
) -> Weights:
    """Weights that use the whole range of numbers."""
    blocks = -(-k // block)
    numbers = random.integers(0, 1 << bits, (n, blocks, block), np.uint8)
    scales = random.uniform(0.001, 0.1, (n, blocks)).astype(np.float32)
    if columns:
        scales = np.repeat(scales[:, :1], blocks, axis=1)
    return Weights(numbers=numbers, scales=scales, k=k, bits=bits, columns=columns)


class Kernel:
    """One variant of the kernels over one packed weight."""

    def __init__(self, library: Library, variant: int, weights: Weights) -> None:
        functions = library.functions
        functions.gpt2edge_packed_bytes.argtypes = _SIZES
        functions.gpt2edge_packed_bytes.restype = _LONG
        functions.gpt2edge_pack.argtypes = _PACK
        functions.gpt2edge_multiply.argtypes = _MULTIPLY
        self._multiply, self._variant, self._n = (
            functions.gpt2edge_multiply,
            variant,
            len(weights.numbers),
        )
        self._sizes = (self._n, weights.k, weights.bits, weights.block)
        room = np.empty(functions.gpt2edge_packed_bytes(*self._sizes) + _LINE, np.uint8)
        self._packed = room[-room.ctypes.data % _LINE :]
        stored, scales = weights.stored()
        pointers = (stored.ctypes.data, scales.ctypes.data, self._packed.ctypes.data)
        functions.gpt2edge_pack(*self._sizes, weights.columns, *pointers)

    def __call__(self, x: Floats, around: Around = Around(), first: int = 0) -> Floats:
        """Multiply; the pieces of work are done from number ``first`` on."""
        y = np.full((len(x), self._n), np.nan, np.float32)
        gain, norm_bias, bias, residual = (
            None if array is None else array.ctypes.data
            for array in (around.gain, around.norm_bias, around.bias, around.residual)
        )
        result = self._multiply(
            *(self._variant, len(x), *self._sizes, self._packed.ctypes.data, x.ctypes.data),
            *(gain, norm_bias, EPSILON, bias, residual, around.activation, ALPHA, first),
            y.ctypes.data,
        )
        assert result == 0
        return y


def normed(x: Floats, around: Around) -> Doubles:
    """LayerNorm in float64, where there is one."""
    wide = x.astype(np.float64)
    if around.gain is None:
        return wide
    off = wide - wide.mean(1, keepdims=True)
    scaled = off / np.sqrt((off**2).mean(1, keepdims=True) + EPSILON) * around.gain
    found: Doubles = scaled if around.norm_bias is None else scaled + around.norm_bias
    return found


def product(x: Floats, weights: Weights, around: Around) -> tuple[Doubles, Doubles]:
    """The product in float64 of x that is not rounded, and how far rounding may take it: half a
    step of every number, and what follows from float32."""
    wide, dense = normed(x, around), weights.dense()
    blocks = -(-weights.k // weights.block)
    padded = np.zeros((len(x), blocks * weights.block))
    padded[:, : weights.k] = np.abs(wide)
    step = padded.reshape(len(x), blocks, -1).max(2) / 127
    steps = np.repeat(step, weights.block, axis=1)[:, : weights.k]
    exact = wide @ dense.T
    reach = np.abs(steps * 0.501 + np.abs(wide) * 2e-6) @ np.abs(dense).T
    return exact, reach


def rounded(x: Floats, weights: Weights) -> Doubles:
    """The product in float64 of x as the kernels round it: exactly so, in float32."""
    blocks = -(-weights.k // weights.block)
    padded = np.zeros((len(x), blocks * weights.block), np.float32)
    padded[:, : weights.k] = x
    parts = padded.reshape(len(x), blocks, weights.block)
    most = np.abs(parts).max(2, keepdims=True)
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most > 0)
    whole = np.rint(parts * inverse).astype(np.float64)
    steps = (most / np.float32(127)).astype(np.float64)
    scaled = (whole * steps).reshape(len(x), -1)[:, : weights.k]
    found: Doubles = scaled @ weights.dense().T
    return found


def activated(x: Doubles, number: int) -> Doubles:
    """An activation by its number in ``native/src/products.h``."""
    found: Doubles = x
    if number == 1:
        found = x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    elif number == 2:
        found = np.maximum(x, 0)
    elif number == 3:
        found = x / (1 + np.exp(-ALPHA * x))
    elif number == 4:
        found = x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
    return found
