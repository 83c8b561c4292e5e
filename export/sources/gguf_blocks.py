"""GGUF's types of tensors: numbers, and blocks of 32 numbers that share a scale.

The layouts are those of ``block_q4_0`` and its like in ggml's ``ggml-common.h``. Types of 256
numbers a block (K-quants and others) are computed by the ``gguf`` package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge._extras import require
from gpt2edge.errors import ExportError
from gpt2edge.runtime.arrays import FloatArray

Bytes = NDArray[np.uint8]

NUMBERS: Final = {0: ("F32", 4), 1: ("F16", 2), 28: ("F64", 8), 30: ("BF16", 2)}
"""Types without blocks: safetensors' name, and bytes of a number."""


@dataclass(frozen=True, slots=True)
class BlockType:
    """A type of blocks: how many numbers and bytes one has, and how they are computed.

    ``numbers`` takes blocks [count, nbytes] and returns float32 [count, length].
    """

    name: str
    length: int
    nbytes: int
    numbers: Callable[[Bytes], FloatArray]


def _half(blocks: Bytes, at: int) -> FloatArray:
    """Return the float16 at byte ``at`` of each block, [count, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(blocks: Bytes) -> FloatArray:
    """Return 32 numbers of 4 bits from 16 bytes: the low halves, then the high ones."""
    return np.concatenate([blocks & 15, blocks >> 4], axis=1).astype(np.float32)


def _fives(blocks: Bytes, high: int) -> FloatArray:
    """Return 32 numbers of 5 bits; the fifth ones stand in four bytes from ``high`` on."""
    bits = np.unpackbits(blocks[:, high : high + 4], axis=1, bitorder="little")
    fives: FloatArray = _nibbles(blocks[:, high + 4 :]) + bits * np.float32(16)
    return fives


def _q8_0(blocks: Bytes) -> FloatArray:
    numbers: FloatArray = blocks[:, 2:].view(np.int8).astype(np.float32)
    return _half(blocks, 0) * numbers


def _q4_0(blocks: Bytes) -> FloatArray:
    numbers: FloatArray = _nibbles(blocks[:, 2:]) - np.float32(8)
    return _half(blocks, 0) * numbers


def _q4_1(blocks: Bytes) -> FloatArray:
    return _half(blocks, 0) * _nibbles(blocks[:, 4:]) + _half(blocks, 2)


def _q5_0(blocks: Bytes) -> FloatArray:
    numbers: FloatArray = _fives(blocks, 2) - np.float32(16)
    return _half(blocks, 0) * numbers


def _q5_1(blocks: Bytes) -> FloatArray:
    return _half(blocks, 0) * _fives(blocks, 4) + _half(blocks, 2)


_BLOCKS: Final[Mapping[int, BlockType]] = {
    2: BlockType("Q4_0", 32, 18, _q4_0),
    3: BlockType("Q4_1", 32, 20, _q4_1),
    6: BlockType("Q5_0", 32, 22, _q5_0),
    7: BlockType("Q5_1", 32, 24, _q5_1),
    8: BlockType("Q8_0", 32, 34, _q8_0),
}


def block_type(number: int) -> BlockType:
    """Return the type of blocks with this number.

    Raises MissingExtraError where another needs the gguf package, ExportError for an unknown one.
    """
    if number in _BLOCKS:
        return _BLOCKS[number]
    gguf: Any = require("gguf", "gguf")
    try:
        kind = gguf.GGMLQuantizationType(number)
        length, nbytes = gguf.GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError):
        raise ExportError(f"a tensor of the unknown type {number}") from None

    def numbers(blocks: Bytes) -> FloatArray:
        found: FloatArray = require("gguf", "gguf.quants").dequantize(blocks, kind)
        return found.astype(np.float32, copy=False)

    return BlockType(kind.name, length, nbytes, numbers)
