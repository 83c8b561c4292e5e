"""The container of GGUF: keys, values and tensors. The format is ggml's ``docs/gguf.md``."""

import math
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.gguf_blocks import NUMBERS, BlockType, block_type
from gpt2edge.export.sources.tensors import Readable, Shape, StoredTensor
from gpt2edge.runtime.arrays import FloatArray

MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_SCALARS: Final = {
    **{0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"},
    **{10: "<Q", 11: "<q", 12: "<d"},
}
"""Types of values, as ``struct`` reads them."""
_TEXT, _ARRAY = 8, 9
_ALIGNMENT: Final = "general.alignment"
_MOST_KEYS: Final = 10_000
_MOST_TENSORS: Final = 50_000
_MOST_AXES: Final = 4
_LONGEST: Final = 1 << 20
_LARGEST: Final = 1 << 40
_MEMORY: Final = 36_000_000  # bytes of the values, estimated


@dataclass(frozen=True, slots=True)
class BlockTensor:
    """One tensor on disk in blocks of a type, without gaps."""

    path: Path
    stored_name: str
    shape: Shape
    kind: BlockType
    offset: int

    @property
    def dtype(self) -> str:
        """Return F32, the type of the numbers that the blocks give."""
        return "F32"

    @property
    def nbytes(self) -> int:
        """Return the bytes on disk."""
        return math.prod(self.shape) // self.kind.length * self.kind.nbytes

    def read(self) -> FloatArray:
        """Read and compute the numbers. Raises ExportError where the file is too short."""
        try:
            raw = np.fromfile(self.path, np.uint8, self.nbytes, offset=self.offset)
        except OSError as error:
            raise ExportError(f"cannot read {str(self.path)!r}: {error.strerror}") from None
        if raw.size != self.nbytes:
            raise ExportError(f"{self.path} ends inside tensor {self.stored_name!r}")
        return self.kind.numbers(raw.reshape(-1, self.kind.nbytes)).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The values by key, and the tensors by name."""

    values: dict[str, Any]
    tensors: dict[str, Readable]


def read_gguf_file(path: Path) -> GgufFile:
    """Read a file's keys, values and table of tensors.

    Raises ExportError that names the file for any fault in it.
    """
    try:
        with path.open("rb") as file:
            return _Reader(path, file).read()
    except OSError as error:
        raise ExportError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (struct.error, UnicodeDecodeError):
        raise ExportError(f"{path} cannot be read: it is damaged: get the file again") from None
    except ExportError as error:
        raise ExportError(f"{path} cannot be read: {error}") from None


class _Reader:
    """Reads the parts of one file in their order."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = path.stat().st_size
        self._memory = 0

    def read(self) -> GgufFile:
        if self._take(4) != MAGIC:
            raise ExportError("it does not begin like a GGUF file")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise ExportError(f"it is of version {version} of GGUF; 2 and 3 are read")
        tensors, keys = self._number("<Q"), self._number("<Q")
        if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
            raise ExportError(f"it names {tensors} tensors and {keys} keys")
        values = {self._text(): self._value(self._number("<I")) for _ in range(keys)}
        table = [self._described() for _ in range(tensors)]
        alignment = values.get(_ALIGNMENT, 32)
        if type(alignment) is not int or not 1 <= alignment <= _LONGEST:
            raise ExportError(f"its {_ALIGNMENT} is not the alignment of a file")
        start = -(-self._file.tell() // alignment) * alignment
        return GgufFile(values, dict(self._placed(table, start)))

    def _placed(
        self, table: list[tuple[str, Shape, int, int]], start: int
    ) -> Iterator[tuple[str, Readable]]:
        """Yield the tensors, each of which must lie in the file."""
        seen = set()
        for name, shape, number, offset in table:
            if name in seen:
                raise ExportError(f"two tensors are named {name[:80]!r}")
            seen.add(name)
            at, count = start + offset, math.prod(shape)
            tensor: Readable
            if number in NUMBERS:
                dtype, width = NUMBERS[number]
                tensor, nbytes = StoredTensor(self._path, name, shape, dtype, at), count * width
            else:
                kind = block_type(number)
                if not shape or shape[-1] % kind.length:
                    raise ExportError(f"the tensor {name[:80]!r} is no whole number of blocks")
                tensor = BlockTensor(self._path, name, shape, kind, at)
                nbytes = tensor.nbytes
            if at + nbytes > self._size:
                raise ExportError(f"it ends inside the tensor {name[:80]!r}: get the file again")
            yield name, tensor

    def _described(self) -> tuple[str, Shape, int, int]:
        """Return a tensor's name, shape, type and offset from the first tensor."""
        name, axes = self._text(), self._number("<I")
        if axes > _MOST_AXES:
            raise ExportError(f"the tensor {name[:80]!r} has {axes} axes")
        shape = tuple(self._number("<Q") for _ in range(axes))[::-1]
        if any(length > _LARGEST for length in shape):
            raise ExportError(f"the tensor {name[:80]!r} is larger than tensors are")
        return name, shape, self._number("<I"), self._number("<Q")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind != _ARRAY:
            return self._number(self._form(kind))
        kind, count = self._number("<I"), self._number("<Q")
        if kind == _TEXT:
            self._count(8 * count)
            return [self._text() for _ in range(count)]
        form = self._form(kind)
        self._count(40 * count)
        raw = self._take(struct.calcsize(form) * count)
        return [value for (value,) in struct.iter_unpack(form, raw)]

    def _form(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise ExportError(f"a value of the unknown type {kind}")
        return _SCALARS[kind]

    def _text(self) -> str:
        length = self._number("<Q")
        if length > _LONGEST:
            raise ExportError(f"a text of {length} bytes")
        text = self._take(length).decode()
        self._count(sys.getsizeof(text))
        return text

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _count(self, nbytes: int) -> None:
        self._memory += nbytes
        if self._memory > _MEMORY:
            raise ExportError("its values are larger than those of a model")

    def _take(self, count: int) -> bytes:
        raw = self._file.read(count)
        if len(raw) != count:
            raise ExportError("it ends in the middle: get the file again")
        return raw
