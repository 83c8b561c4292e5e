"""Files of torch.save that somebody made to hurt, or that an accident made: for ``export``."""

import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np

from tests.checkpoints import SMALL, random_tensors
from tests.forms.folders import named
from tests.forms.torch_writer import Raw, integer, numbers, text, write_legacy, write_zip

Write = Callable[[Path], None]
FLAG: Final = "PWNED"
_SIXTEEN: Final = {"0": bytes(16)}


def _bytes(data: bytes) -> Write:
    return lambda path: _write(path, data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _call(name: str, argument: bytes, *, legacy: bool = False) -> Write:
    """Good weights, and beside them a call of the function ``module.name``."""
    module, _, last = name.rpartition(".")
    code = b"c" + module.encode() + b"\n" + last.encode() + b"\n" + argument + b"\x85R"

    def write(path: Path) -> None:
        value = {**named(random_tensors(SMALL)), "x": Raw(code)}
        (write_legacy if legacy else write_zip)(path, value)

    return write


def _archive(
    program: bytes,
    storages: dict[str, bytes] | None = None,
    *,
    method: int = zipfile.ZIP_STORED,
    more: dict[str, bytes] | None = None,
) -> Write:
    """An archive with these instructions and storages."""

    def write(path: Path) -> None:
        path.write_bytes(archive(program, storages or {}, method, more or {}))

    return write


def archive(
    program: bytes,
    storages: dict[str, bytes],
    method: int = 0,
    more: dict[str, bytes] | None = None,
) -> bytes:
    """The bytes of an archive in torch's layout."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        made.writestr("archive/data.pkl", program)
        for key, raw in storages.items():
            made.writestr(f"archive/data/{key}", raw)
        for name, raw in (more or {}).items():
            made.writestr(name, raw)
    return buffer.getvalue()


def tensor(
    key: str = "0",
    count: int = 4,
    offset: int = 0,
    shape: bytes = numbers((4,)),
    stride: bytes = numbers((1,)),
    kind: bytes = b"torch\nFloatStorage\n",
) -> bytes:
    """A pickle of {"transformer.wte.weight": a tensor of these numbers}."""
    storage = b"(" + text("storage") + b"c" + kind + text(key) + text("cpu") + integer(count)
    made = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQ" + integer(offset) + shape + stride
    )
    end = b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}" + text("transformer.wte.weight") + made + end + b"s."


def _nested_lists(levels: int = 60) -> bytes:
    """A list of nine of the list below, sixty deep: small, and endless to print or compare."""
    made = b"]q\x00"
    for i in range(levels):
        made += b"]q" + bytes([i + 1]) + b"(" + bytes([104, i]) * 9 + b"e\x86"
    return made


def _nested_tuples(levels: int = 60) -> bytes:
    """A tuple of three of the tuple below, sixty deep: endless to hash."""
    made = b")q\x00"
    for i in range(levels):
        made += bytes([104, i, 104, i]) + b"\x87q" + bytes([i + 1])
    return made


def _good(change: Callable[[bytearray], None]) -> Write:
    """A good archive with changed bytes."""

    def write(path: Path) -> None:
        write_zip(path, named(random_tensors(SMALL)))
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return write


def _cut(write_good: Callable[[Path, dict[str, object]], None], end: int) -> Write:
    def write(path: Path) -> None:
        write_good(path, dict(named(random_tensors(SMALL))))
        path.write_bytes(path.read_bytes()[:end])

    return write


def _end_record(at: int, form: str, value: int) -> Callable[[bytearray], None]:
    """A change of the record at the archive's end."""
    return lambda data: struct.pack_into(form, data, len(data) - 22 + at, value)


def _rename_local(data: bytearray) -> None:
    """Another name in the first entry's own header than in the directory."""
    data[30:37] = b"another"


def _twice(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("archive/data.pkl", b"\x80\x02}.")
        made.writestr("archive/data.pkx", b"\x80\x02}.")
    path.write_bytes(path.read_bytes().replace(b"data.pkx", b"data.pkl"))


def _encrypted(path: Path) -> None:
    data = bytearray(archive(b"\x80\x02}.", {}))
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)


def _many_entries(path: Path) -> None:
    data = bytearray(archive(b"\x80\x02}.", {}))
    struct.pack_into("<HHLL", data, len(data) - 14, 65535, 65535, 1 << 31, 0)
    path.write_bytes(data)


def _far_directory(path: Path) -> None:
    data = bytearray(archive(b"\x80\x02}.", {}))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 1 << 62, 1)
    data[-22:-22] = locator
    path.write_bytes(data)


def _cycle(path: Path) -> None:
    """A dict that is its own weights."""
    program = b"\x80\x02}q\x00" + text("model") + b"h\x00s" + text("state_dict") + b"h\x00s."
    path.write_bytes(archive(program, {}))


def _legacy_count(path: Path) -> None:
    """A stream whose last storage states another count."""
    write_legacy(path, {"wte.weight": np.ones(4, "f4")})
    path.write_bytes(path.read_bytes()[:-24] + struct.pack("<q", 1 << 40) + bytes(16))


HOSTILE: Final[dict[str, Write]] = {
    "os.system": _call("os.system", text(f"touch {FLAG}")),
    "posix.system": _call("posix.system", text(f"touch {FLAG}")),
    "os.system in a stream": _call("os.system", text(f"touch {FLAG}"), legacy=True),
    "getattr": _call("__builtin__.getattr", text("")),
    "eval": _call("builtins.eval", text("1+1")),
    "torch.load": _call("torch.serialization.load", text(FLAG)),
    "a bytearray of 64 GB": _call("__builtin__.bytearray", integer(1 << 36)),
    "a name from the stack": _archive(b"\x80\x04" + text("os") + text("system") + b"\x93."),
    "a stride of zero": _archive(
        tensor(shape=numbers((1 << 30, 1 << 10)), stride=numbers((0, 0))), _SIXTEEN
    ),
    "strides that overlap": _archive(
        tensor(shape=numbers((2, 3)), stride=numbers((1, 1))), _SIXTEEN
    ),
    "beyond its storage": _archive(tensor(shape=numbers((1 << 20,))), _SIXTEEN),
    "a negative offset": _archive(tensor(offset=-100), _SIXTEEN),
    "a negative stride": _archive(tensor(stride=numbers((-1,))), _SIXTEEN),
    "a huge stride": _archive(
        tensor(shape=numbers((1, 2)), stride=numbers((1 << 61, 1 << 61))), _SIXTEEN
    ),
    "a huge shape": _archive(
        tensor(shape=numbers((1 << 62, 1 << 62)), stride=numbers((1, 1))), _SIXTEEN
    ),
    "a shape of many axes": _archive(
        tensor(shape=numbers((1,) * 1000), stride=numbers((1,) * 1000)), _SIXTEEN
    ),
    "a shape of true": _archive(tensor(shape=b"(\x88t"), _SIXTEEN),
    "an empty tensor far away": _archive(tensor(shape=numbers((0,)), offset=1 << 40), _SIXTEEN),
    "a path as a key": _archive(tensor(key="../../../../etc/passwd"), _SIXTEEN),
    "no storage": _archive(tensor(key="7"), _SIXTEEN),
    "a short storage": _archive(tensor(count=1 << 20, shape=numbers((1 << 20,))), _SIXTEEN),
    "a storage of another size": _archive(tensor(), {"0": bytes(8)}),
    "a storage of an attribute": _archive(
        tensor(kind=b"torch\nFloatStorage.__class__\n"), _SIXTEEN
    ),
    "a storage of another module": _archive(tensor(kind=b"numpy\nFloatStorage\n"), _SIXTEEN),
    "compressed zeros": _archive(
        tensor(count=1 << 24, shape=numbers((1 << 24,))),
        {"0": bytes(1 << 26)},
        method=zipfile.ZIP_DEFLATED,
    ),
    "itself in a list": _archive(b"\x80\x02]q\x00" + b"h\x00a" * 100 + b"."),
    "itself in a dict": _cycle,
    "a text without an end": _archive(b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"abc"),
    "a name without an end": _archive(b"\x80\x02c" + b"a" * 100_000),
    "nested deeply": _archive(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."),
    "open marks": _archive(b"\x80\x02" + b"(" * 200_000),
    "millions of dicts": _archive(b"\x80\x02" + b"}" * 4_000_000),
    "millions of wide texts": _archive(
        b"\x80\x02" + (b"\x8c\xff" + "\U0001f600".encode() + b"a" * 251) * 100_000
    ),
    "millions of numbers": _archive(b"\x80\x02]" + (b"(" + b"K\1" * 1000 + b"e") * 5000 + b"."),
    "millions of memos": _archive(b"\x80\x02N" + b"\x94" * 4_000_000),
    "lists in lists": _archive(b"\x80\x02" + _nested_lists() + b"."),
    "tuples as a key": _archive(b"\x80\x02}" + _nested_tuples() + b"K\x01s."),
    "tuples as a length": _archive(tensor(shape=_nested_tuples() + b"\x85"), _SIXTEEN),
    "tuples as a size": _archive(
        b"\x80\x02}" + text("model_args") + b"}" + text("n_layer") + _nested_tuples() + b"ss."
    ),
    "numbers of one hash": _archive(
        b"\x80\x02}("
        + b"".join(integer(i * (2**61 - 1)) + b"N" for i in range(1, 30_000))
        + b"u."
    ),
    "an item set in a list": _archive(b"\x80\x02]K\x00K\x01s."),
    "a call of a list": _archive(b"\x80\x02])R."),
    "a state for a tuple": _archive(b"\x80\x02)}b."),
    "an instruction of protocol 0": _archive(b"(dp0\nS'a'\n."),
    "a persistent id as text": _archive(b"\x80\x02" + text("x") + b"Q."),
    "a marked end": _archive(b"\x80\x02(."),
    "an empty stack": _archive(b"\x80\x02a."),
    "protocol 9": _archive(b"\x80\x09}."),
    "TorchScript": _archive(b"\x80\x02}.", more={"archive/constants.pkl": b""}),
    "two roots": _archive(b"\x80\x02}.", more={"other/data.pkl": b"\x80\x02}."}),
    "an archive of something": _bytes(archive(b"", {}).replace(b"data.pkl", b"data.txt")),
    "two entries of one name": _twice,
    "an encrypted entry": _encrypted,
    "a directory of 2 GB": _many_entries,
    "a directory far away": _far_directory,
    "a directory elsewhere": _good(_end_record(16, "<L", 5)),
    "a directory of other sizes": _good(_end_record(12, "<L", 5)),
    "another count of entries": _good(_end_record(10, "<H", 3)),
    "two names of one entry": _good(_rename_local),
    "an unknown byte order": lambda path: write_zip(path, {}, order="middle"),
    "cut": _cut(write_zip, -4000),
    "a stream, cut": _cut(write_legacy, -4000),
    "a stream, cut early": _cut(write_legacy, 300),
    "a stream of another count": _legacy_count,
    "only the magic number": _bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."),
    "another pickle": _bytes(b"\x80\x02}."),
    "a pickle of nothing": _bytes(b"\x80\x04N."),
    "a Git LFS pointer": _bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 548118077\n"
    ),
    "a web page": _bytes(b"<!DOCTYPE html><html>404</html>"),
    "nothing": _bytes(b""),
    "noise": _bytes(bytes(range(256)) * 8),
}  # fmt: skip
"""Each writes a ``pytorch_model.bin``."""
