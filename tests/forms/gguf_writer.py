"""GGUF files without the gguf package: values and float32, float16 or Q8_0 tensors."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F32, F16, Q8_0 = 0, 1, 8
_ALIGNMENT: Final = 32


def write_gguf(
    path: Path,
    values: Mapping[str, Any],
    tensors: Mapping[str, NDArray[np.float32]],
    kind: int = F32,
) -> None:
    """Write a file of version 3; tensors of one axis stay float32."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(_text(key) + _value(value) for key, value in values.items())
    data = b""
    for name, tensor in tensors.items():
        own = kind if tensor.ndim == 2 else F32
        head += _text(name) + struct.pack("<I", tensor.ndim)
        head += struct.pack(f"<{tensor.ndim}Q", *tensor.shape[::-1])
        head += struct.pack("<IQ", own, len(data))
        data += _padded(_raw(tensor, own))
    path.write_bytes(_padded(head) + data)


def q8_0(array: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """Blocks of 32 numbers of 8 bits with their scale; and the numbers that they give."""
    blocks = array.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1, keepdims=True) / 127).astype("<f2")
    wide = scale.astype(np.float32)
    numbers = np.round(blocks / np.where(wide, wide, 1)).astype(np.int8)
    raw = np.concatenate([scale.view(np.uint8), numbers.view(np.uint8)], axis=1)
    return raw.tobytes(), (wide * numbers.astype(np.float32)).reshape(array.shape)


def _raw(tensor: NDArray[np.float32], kind: int) -> bytes:
    if kind == Q8_0:
        return q8_0(tensor)[0]
    return tensor.astype("<f4" if kind == F32 else "<f2").tobytes()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
    return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % _ALIGNMENT)
