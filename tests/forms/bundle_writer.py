"""TensorFlow's checkpoints without TensorFlow: one data file and its index."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gpt2edge.export.sources.tensor_bundle import masked_crc32c

_FLOAT = 1


def write_bundle(prefix: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write ``PREFIX.index`` and ``PREFIX.data-00000-of-00001`` of float32 tensors."""
    data = b""
    rows = [(b"", field(1, 1) + field(3, field(1, 1)))]  # shards; the version of the writer
    for name in sorted(tensors):
        raw = tensors[name].astype("<f4").tobytes()
        rows.append((name.encode(), entry(tensors[name].shape, len(data), len(raw))))
        data += raw
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(rows))


def entry(shape: tuple[int, ...], offset: int, size: int, dtype: int = _FLOAT) -> bytes:
    """One tensor's value in the index."""
    dims = b"".join(field(2, field(1, length)) for length in shape)
    return field(1, dtype) + field(2, dims) + field(4, offset) + field(5, size)


def table(rows: list[tuple[bytes, bytes]]) -> bytes:
    """A sorted table of keys and values, in one block."""
    data = block(rows)
    meta = block([])
    index = block([(rows[-1][0], varint(0) + varint(len(data) - 5))])
    at = len(data) + len(meta)
    handles = varint(len(data)) + varint(len(meta) - 5) + varint(at) + varint(len(index) - 5)
    footer = handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    return data + meta + index + footer


def block(rows: list[tuple[bytes, bytes]]) -> bytes:
    """A block with its restart array, its type and its checksum; keys share their beginnings."""
    body, last = b"", b""
    for key, value in rows:
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b),
            min(len(key), len(last)),
        )
        body += varint(shared) + varint(len(key) - shared) + varint(len(value))
        body += key[shared:] + value
        last = key
    body += struct.pack("<II", 0, 1)
    return body + b"\0" + struct.pack("<I", masked_crc32c(body + b"\0"))


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """A number, seven bits in a byte."""
    raw = b""
    while value > 127:
        raw += bytes([value & 127 | 128])
        value >>= 7
    return raw + bytes([value])
