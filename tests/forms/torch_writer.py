"""Files of ``torch.save`` without torch: both forms, from numpy arrays.

A value is any nesting of dicts, lists, texts, numbers and arrays. An array that appears twice is
one storage; ``View`` is a part of another array, ``BFloat16`` the upper halves of float32 numbers,
``Raw`` instructions of a pickle as they are. Interop tests compare what torch reads with it.
"""

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MAGIC: Final = 0x1950A86A20F9469CFC6C
_STORAGES: Final = {
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "f8": "DoubleStorage",
    "u1": "ByteStorage",
    "i8": "LongStorage",
    "b1": "BoolStorage",
}


@dataclass(frozen=True)
class View:
    """Part of ``base``, which has one axis; offset and strides count its numbers."""

    base: Array
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class BFloat16:
    """Numbers whose upper 16 bits are ``bits``."""

    bits: Array


@dataclass(frozen=True)
class Raw:
    """Instructions that leave one object on the stack."""

    code: bytes


def parameter(array: Any) -> "_Parameter":
    """The array as a ``torch.nn.Parameter``."""
    return _Parameter(array)


@dataclass(frozen=True, eq=False)
class _Parameter:
    array: Any


def integer(value: int) -> bytes:
    """The instruction for a whole number."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def text(value: str) -> bytes:
    """The instruction for a text."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def numbers(values: tuple[int, ...]) -> bytes:
    """The instructions for a tuple of whole numbers."""
    return b"(" + b"".join(map(integer, values)) + b"t"


def instance(name: str, state: Mapping[str, Any]) -> Raw:
    """An object of the class ``module.name`` with attributes, as pickle writes it."""
    module, _, last = name.rpartition(".")
    head = b"c" + module.encode() + b"\n" + last.encode() + b"\n)\x81"
    return Raw(head + Pickled(legacy=False).code(dict(state)) + b"b")


class Pickled:
    """Instructions for values, and the storages that they refer to."""

    def __init__(self, *, legacy: bool) -> None:
        self.storages: dict[int, tuple[str, Array]] = {}
        self._legacy = legacy

    def program(self, value: Any) -> bytes:
        """A whole pickle."""
        return b"\x80\x02" + self.code(value) + b"."

    def code(self, value: Any) -> bytes:
        """The instructions that leave the value on the stack."""
        if isinstance(value, Raw):
            return value.code
        if isinstance(value, dict):
            items = (self.code(key) + self.code(item) for key, item in value.items())
            return b"}(" + b"".join(items) + b"u"
        if isinstance(value, list):
            return b"](" + b"".join(map(self.code, value)) + b"e"
        if isinstance(value, bool):
            return b"\x88" if value else b"\x89"
        if isinstance(value, int):
            return integer(value)
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str):
            return text(value)
        if value is None:
            return b"N"
        if isinstance(value, _Parameter):
            inner = self._tensor(value.array)
            return b"ctorch._utils\n_rebuild_parameter\n(" + inner + b"\x88" + _EMPTY + b"tR"
        return self._tensor(value)

    def _tensor(self, value: Any) -> bytes:
        base = _numbers_of(value)
        whole = not isinstance(value, View)
        shape = base.shape if whole else value.shape
        stride = _row_major(base.shape) if whole else value.stride
        kind = "BFloat16Storage" if isinstance(value, BFloat16) else _STORAGES[base.dtype.str[1:]]
        key = self.storages.setdefault(id(base), (str(len(self.storages)), base))[0]
        storage = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key)
        storage += text("cpu") + integer(base.size) + b"N" * self._legacy + b"tQ"
        offset = 0 if whole else value.offset
        place = integer(offset) + numbers(shape) + numbers(stride)
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + place + b"\x89" + _EMPTY + b"tR"


_EMPTY: Final = b"ccollections\nOrderedDict\n)R"


def write_zip(path: Path, value: Any, *, root: str = "archive", order: str = "little") -> None:
    """Write the form of torch 1.6 and later."""
    pickled = Pickled(legacy=False)
    program = pickled.program(value)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{root}/data.pkl", program)
        archive.writestr(f"{root}/byteorder", order)
        for key, base in pickled.storages.values():
            wanted = base.dtype.newbyteorder("<" if order == "little" else ">")
            archive.writestr(f"{root}/data/{key}", base.astype(wanted).tobytes())
        archive.writestr(f"{root}/version", "3\n")


def write_legacy(path: Path, value: Any) -> None:
    """Write the form before torch 1.6."""
    pickled = Pickled(legacy=True)
    program = pickled.program(value)
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    heads = b"".join(Pickled(legacy=True).program(head) for head in (MAGIC, 1001, system))
    keys = Pickled(legacy=True).program([key for key, _ in pickled.storages.values()])
    raw = b"".join(
        struct.pack("<q", base.size) + base.astype(base.dtype.newbyteorder("<")).tobytes()
        for _, base in pickled.storages.values()
    )
    path.write_bytes(heads + program + keys + raw)


def bfloat16(array: Array) -> BFloat16:
    """The array's numbers cut to bfloat16."""
    bits = np.ascontiguousarray(array, "<f4").view("<u4") >> np.uint32(16)
    return BFloat16(bits.astype("<u2"))


def _numbers_of(value: Any) -> Array:
    if isinstance(value, View):
        return value.base
    return value.bits if isinstance(value, BFloat16) else np.asarray(value)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
