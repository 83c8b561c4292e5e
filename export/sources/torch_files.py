"""Files of ``torch.save``, read without torch: zip archives (since torch 1.6) and older streams.

A file is a pickle of dicts, lists, numbers and descriptions of tensors, and the tensors' numbers
beside it. ``pickled`` reads the first as data; the numbers are read when they are asked for, from
their place in the file. Both forms are described by torch's own ``serialization.py``.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.pickled import PLAIN, Call, Interpreter, Name
from gpt2edge.export.sources.tensors import Shape, StoredTensor
from gpt2edge.export.sources.zip_directory import SIGNATURE, ZipDirectory

_KINDS: Final[Mapping[str, tuple[str, int]]] = {
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "DoubleStorage": ("F64", 8),
    "BoolStorage": ("BOOL", 1),
    "ByteStorage": ("U8", 1),
    "CharStorage": ("I8", 1),
    "ShortStorage": ("I16", 2),
    "IntStorage": ("I32", 4),
    "LongStorage": ("I64", 8),
}
"""Storage classes of torch: the type by safetensors' name, and the bytes of one number."""
_MAGIC: Final = 0x1950A86A20F9469CFC6C
_VERSION: Final = 1001
_LARGEST: Final = 1 << 62
_MOST_AXES: Final = 8
_PICKLE: Final = 0x80  # the first byte of a pickle of protocol 2 and later


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers that tensors share: its type, its key in the file, its count of numbers."""

    dtype: str
    width: int
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class SavedTensor:
    """A tensor as the file describes it; offset and strides count numbers of its storage."""

    storage: Storage
    offset: int
    shape: Shape
    stride: Shape


@dataclass(frozen=True, slots=True)
class TorchFile:
    """What a file holds: the saved object, and where each storage begins."""

    path: Path
    value: Any
    starts: Mapping[str, int]
    is_big_endian: bool

    def tensor(self, name: str, saved: SavedTensor) -> StoredTensor:
        """Return where the tensor lies on disk, under the name it has in the file."""
        storage = saved.storage
        return StoredTensor(
            self.path,
            name,
            saved.shape,
            storage.dtype,
            self.starts[storage.key] + saved.offset * storage.width,
            saved.stride,
            self.is_big_endian,
        )


def read_torch_file(path: Path) -> TorchFile:
    """Read what ``torch.save`` wrote, except for the tensors' numbers.

    Raises ExportError that names the file, whatever it holds; nothing in it is run.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            if head == SIGNATURE:
                return _read_zip(path, file)
            if head[:1] == bytes([_PICKLE]):
                return _read_stream(path, file)
        raise ExportError("it is no file of torch.save")
    except OSError as error:
        raise ExportError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ExportError as error:
        raise ExportError(f"{path} cannot be read: {error}") from None


class _Storages:
    """The storages that a pickle mentions, by key."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def refer(self, reference: Any) -> Storage:
        """Return the storage of a persistent id: ("storage", type, key, place, count[, view])."""
        if type(reference) is not tuple or len(reference) not in (5, 6):
            raise ExportError("a reference that is not to a tensor's numbers")
        word, kind, key, _, count = reference[:5]
        if word != "storage" or type(kind) is not Name or type(key) is not str:
            raise ExportError("a reference that is not to a tensor's numbers")
        if kind.module != "torch" or kind.name not in _KINDS:
            raise ExportError(f"numbers of the type {kind}")
        if len(reference) == 6 and reference[5] is not None:
            raise ExportError("a view of a storage, as torch before 0.4 wrote it")
        storage = Storage(*_KINDS[kind.name], key, _whole(count, "the size of a storage"))
        if self.by_key.setdefault(key, storage) != storage:
            raise ExportError(f"two descriptions of the storage {key[:40]!r}")
        return storage


def _rebuild_tensor(args: tuple[Any, ...]) -> SavedTensor:
    """Return the tensor of (storage, offset, shape, stride, ...); the rest is of training."""
    if len(args) < 4 or type(args[0]) is not Storage:
        raise ExportError("a tensor that is not described as torch describes one")
    storage, offset, shape, stride = args[:4]
    if type(shape) is not tuple or type(stride) is not tuple:
        raise ExportError("a tensor that is not described as torch describes one")
    if len(shape) != len(stride) or len(shape) > _MOST_AXES:
        raise ExportError(f"a tensor of {len(shape)} lengths and {len(stride)} strides")
    tensor = SavedTensor(
        storage,
        _whole(offset, "a tensor's offset"),
        tuple(_whole(length, "a tensor's length") for length in shape),
        tuple(_whole(step, "a tensor's stride") for step in stride),
    )
    count = math.prod(tensor.shape)
    reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)) + 1
    if tensor.offset + (reach if count else 0) > storage.count or count > storage.count:
        raise ExportError(f"a tensor reaches beyond the {storage.count} numbers of its storage")
    return tensor


def _rebuild_parameter(args: tuple[Any, ...]) -> SavedTensor:
    """Return the tensor of a parameter."""
    if not args or type(args[0]) is not SavedTensor:
        raise ExportError("a parameter that is no tensor")
    return args[0]


def _arguments(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments themselves, for values that no weight depends on."""
    return args


_CALLS: Final[Mapping[Name, Call]] = {
    **PLAIN,
    Name("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Name("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    Name("torch", "Size"): _arguments,
    Name("torch", "device"): _arguments,
}


def _whole(value: Any, what: str) -> int:
    """Return a whole number of 0 to 2^62. The message never shows what the file nests."""
    if type(value) is not int or not 0 <= value < _LARGEST:
        shown = str(value) if type(value) is int else type(value).__name__
        raise ExportError(f"{what} is {shown}")
    return value


def _read_zip(path: Path, file: BinaryIO) -> TorchFile:
    directory = ZipDirectory(path)
    root = _root(directory)
    storages = _Storages()
    file.seek(directory.data_offset(file, f"{root}data.pkl"))
    value = Interpreter(file, _CALLS, storages.refer).load()
    starts = {}
    for key, storage in storages.by_key.items():
        name = f"{root}data/{key}"
        entry = directory.entries.get(name)
        if entry is None:
            raise ExportError(f"the storage {key[:40]!r} is missing")
        if entry.size != storage.count * storage.width:
            raise ExportError(
                f"the storage {key[:40]!r} has {entry.size} bytes; "
                f"{storage.count * storage.width} are described"
            )
        starts[key] = directory.data_offset(file, name)
    return TorchFile(path, value, starts, _is_big_endian(directory, file, f"{root}byteorder"))


def _root(directory: ZipDirectory) -> str:
    """Return the folder of the archive that holds everything, with its slash."""
    names = directory.entries
    roots = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ExportError("it is a zip archive, but none of torch.save: it has no data.pkl")
    root = roots[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in names:
        raise ExportError(
            "it is TorchScript, a program: save the weights instead, with "
            "torch.save(model.state_dict(), 'pytorch_model.bin')"
        )
    return root


def _is_big_endian(directory: ZipDirectory, file: BinaryIO, name: str) -> bool:
    entry = directory.entries.get(name)
    if entry is None:
        return False
    file.seek(directory.data_offset(file, name))
    order = file.read(min(entry.size, 8))
    if order not in (b"little", b"big"):
        raise ExportError(f"its byte order is {order!r}; it must be little or big")
    return order == b"big"


def _read_stream(path: Path, file: BinaryIO) -> TorchFile:
    """Read the form of torch before 1.6: five pickles, then each storage's count and numbers.

    Its numbers are little-endian, whatever machine wrote it.
    """
    file.seek(0)
    storages = _Storages()
    interpreter = Interpreter(file, _CALLS, storages.refer)
    if interpreter.load() != _MAGIC:
        raise ExportError("it is a pickle, but none of torch.save")
    if interpreter.load() != _VERSION:
        raise ExportError("it is of an unknown version of torch.save")
    interpreter.load()  # sizes of the machine that wrote it
    value, keys = interpreter.load(), interpreter.load()
    if type(keys) is not list or len(keys) != len(storages.by_key):
        raise ExportError("its list of storages is not that of its tensors")
    starts = dict(_stream_starts(file, keys, storages.by_key))
    return TorchFile(path, value, starts, is_big_endian=False)


def _stream_starts(
    file: BinaryIO, keys: list[Any], storages: Mapping[str, Storage]
) -> Iterator[tuple[str, int]]:
    """Yield each storage's key and first byte, in the file's order."""
    at, end = file.tell(), file.seek(0, 2)
    for key in keys:
        storage = storages.get(key) if type(key) is str else None
        if storage is None:
            raise ExportError("its list of storages is not that of its tensors")
        file.seek(at)
        raw = file.read(8)
        if len(raw) != 8 or struct.unpack("<q", raw)[0] != storage.count:
            raise ExportError(f"the storage {key[:40]!r} is not of the size described")
        yield key, at + 8
        at += 8 + storage.count * storage.width
        if at > end:
            raise ExportError("it ends in the middle of the tensors: get the file again")


def tensors_of(file: TorchFile, saved: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    """Return the tensors of one mapping of the file, by name."""
    return {
        name: file.tensor(name, tensor)
        for name, tensor in saved.items()
        if type(name) is str and type(tensor) is SavedTensor
    }
