"""TensorFlow's checkpoints (TensorBundle), read without TensorFlow.

``PREFIX.index`` is a sorted table as LevelDB's: blocks of keys and values, a block that names
them, and a footer. A value is a small protocol buffer that says where a tensor lies in
``PREFIX.data-00000-of-00001``. The formats are those of TensorFlow's ``tensor_bundle.proto`` and of
LevelDB's ``table_format.md``; the table is small, and its blocks have checksums (CRC-32C).
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.tensors import Shape, StoredTensor

_MAGIC: Final = 0xDB4775248B80FB57
_FOOTER: Final = 48
_TRAILER: Final = 5  # the compression's type and the checksum behind a block
_LARGEST: Final = 1 << 20
_MOST_AXES: Final = 8
_DTYPES: Final = {1: ("F32", 4), 2: ("F64", 8), 14: ("BF16", 2), 19: ("F16", 2)}
_VARINT, _WIDE, _BYTES, _FIXED = 0, 1, 2, 5  # wire types of a protocol buffer
_DAMAGED: Final = "the table is damaged: get the file again"


@dataclass(slots=True)
class _Entry:
    """One tensor, as the index describes it."""

    dtype: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0


def read_bundle(index: Path) -> dict[str, StoredTensor]:
    """Return the floating-point tensors of a checkpoint by name, from its ``.index`` file.

    Raises ExportError that names the file for any fault in it, and for a tensor whose numbers do
    not lie in the data files.
    """
    try:
        if index.stat().st_size > _LARGEST:
            raise ExportError("it is larger than an index can be")
        raw = index.read_bytes()
        if len(raw) < _FOOTER or struct.unpack("<Q", raw[-8:])[0] != _MAGIC:
            raise ExportError("it is no index of a TensorFlow checkpoint")
        return dict(_tensors(index, *_read_table(raw)))
    except OSError as error:
        raise ExportError(f"cannot read {error.filename!r}: {error.strerror}") from None
    except (IndexError, struct.error, UnicodeDecodeError):
        raise ExportError(f"{index} cannot be read: {_DAMAGED}") from None
    except ExportError as error:
        raise ExportError(f"{index} cannot be read: {error}") from None


def _tensors(
    index: Path, shards: int, entries: dict[str, _Entry]
) -> Iterator[tuple[str, StoredTensor]]:
    for name, entry in entries.items():
        if entry.dtype not in _DTYPES:
            continue  # counters, such as the number of the step
        dtype, width = _DTYPES[entry.dtype]
        stem = index.name.removesuffix(".index")
        data = index.with_name(f"{stem}.data-{entry.shard:05}-of-{shards:05}")
        if not data.is_file():
            raise ExportError(f"{data.name} is missing beside it")
        fits = entry.offset + entry.size <= data.stat().st_size
        if math.prod(entry.shape) * width != entry.size or not fits:
            raise ExportError(f"the tensor {name[:80]!r} does not lie in {data.name}")
        shape: Shape = tuple(entry.shape)
        yield name, StoredTensor(data, name, shape, dtype, entry.offset)


def _read_table(raw: bytes) -> tuple[int, dict[str, _Entry]]:
    """Return the number of data files, and every entry by name."""
    footer = raw[-_FOOTER:]
    _, at = _handle(footer, 0)  # of the meta index, which is empty
    blocks, _ = _handle(footer, at)
    shards, entries, last = 1, {}, None
    for _, place in _block(raw, *blocks):
        handle, _ = _handle(place, 0)
        for key, value in _block(raw, *handle):
            if last is not None and key <= last:
                raise ExportError(_DAMAGED)
            last = key
            if key:
                entries[key.decode()] = _entry(value)
            else:
                shards = _header(value)
    return shards, entries


def _block(raw: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield a block's keys and values; a key repeats the beginning of the one before."""
    body, trailer = raw[offset : offset + size], raw[offset + size : offset + size + _TRAILER]
    if len(trailer) != _TRAILER or len(body) < 4:
        raise ExportError(_DAMAGED)
    if struct.unpack("<I", trailer[1:])[0] != masked_crc32c(body + trailer[:1]):
        raise ExportError("its checksum is not the one that it states: get the file again")
    if trailer[0]:
        raise ExportError("it is compressed, which TensorFlow never does")
    end = len(body) - 4 - 4 * int(struct.unpack("<I", body[-4:])[0])
    at, key = 0, b""
    while at < end:
        shared, at = _varint(body, at)
        own, at = _varint(body, at)
        length, at = _varint(body, at)
        if shared > len(key) or at + own + length > end:
            raise ExportError(_DAMAGED)
        key = key[:shared] + body[at : at + own]
        yield key, body[at + own : at + own + length]
        at += own + length
    if at != max(end, 0):
        raise ExportError(_DAMAGED)


def _header(raw: bytes) -> int:
    """Return the number of data files. Raises ExportError for big-endian numbers."""
    values = {number: value for number, wire, value in _fields(raw) if wire == _VARINT}
    if values.get(2, 0):
        raise ExportError("its numbers are big-endian")
    shards = values.get(1, 1)
    if not 1 <= shards <= 99_999:
        raise ExportError(f"it names {shards} data files")
    return int(shards)


def _entry(raw: bytes) -> _Entry:
    entry = _Entry()
    for number, wire, value in _fields(raw):
        if number == 7:
            raise ExportError("a tensor in slices, as partitioned variables are")
        if wire == _BYTES and number == 2:
            entry.shape = [_length(dim) for axis, kind, dim in _fields(value) if axis == kind == 2]
        elif wire == _VARINT and number in (1, 3, 4, 5):
            setattr(entry, ("dtype", "", "shard", "offset", "size")[number - 1], value)
        elif number in (1, 2, 3, 4, 5):
            raise ExportError(_DAMAGED)
    if len(entry.shape) > _MOST_AXES:
        raise ExportError(f"a tensor of {len(entry.shape)} axes")
    return entry


def _length(raw: bytes) -> int:
    """Return the length in a ``TensorShapeProto.Dim``; an absent one is 0."""
    return int(next((v for number, wire, v in _fields(raw) if (number, wire) == (1, _VARINT)), 0))


def _fields(raw: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and value of each field of a protocol buffer."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        wire = tag & 7
        if wire == _VARINT:
            value: Any
            value, at = _varint(raw, at)
        elif wire in (_WIDE, _BYTES, _FIXED):
            size = {_WIDE: 8, _FIXED: 4}.get(wire, 0)
            if wire == _BYTES:
                size, at = _varint(raw, at)
            value, at = raw[at : at + size], at + size
        else:
            raise ExportError(_DAMAGED)
        if at > len(raw):
            raise ExportError(_DAMAGED)
        yield tag >> 3, wire, value


def _handle(raw: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return a block's offset and size, and where the next handle begins."""
    offset, at = _varint(raw, at)
    size, at = _varint(raw, at)
    return (offset, size), at


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 63 bits, seven in a byte, and where the next begins."""
    value = 0
    for shift in range(0, 63, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ExportError(_DAMAGED)


def _crc_table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_CRC: Final = _crc_table()


def masked_crc32c(raw: bytes) -> int:
    """Return LevelDB's masked CRC-32C (Castagnoli) of ``raw``."""
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = _CRC[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
