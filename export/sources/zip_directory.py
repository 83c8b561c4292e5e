"""The directory of a zip archive whose entries are stored as they are, without compression.

Written for archives that somebody may have made to hurt: nothing is unpacked, sizes are compared
before anything is read, and an archive that readers could understand in two ways is refused. The
format is PKWARE's APPNOTE.TXT.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from gpt2edge.errors import ExportError

SIGNATURE: Final = b"PK\x03\x04"
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT: Final = 0xFFFF
_IN_EXTRA: Final = 0xFFFFFFFF  # a size that stands in the entry's zip64 extra field
_ZIP64_FIELD: Final = 1
_ENCRYPTED: Final = 0x2041  # flags: encrypted, strongly, or with a masked header
_MOST_ENTRIES: Final = 50_000
_LARGEST_DIRECTORY: Final = 1 << 23


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive: where its local header begins, and its size in bytes."""

    header: int
    size: int


class ZipDirectory:
    """The entries of the archive ``path`` by name, and the first byte of each one's data."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._size = file.seek(0, 2)
                self.entries = dict(self._read(file))
        except OSError as error:
            raise ExportError(f"cannot be read: {error.strerror}") from None
        except (struct.error, UnicodeDecodeError):
            raise ExportError("its zip directory is damaged: get the file again") from None

    def data_offset(self, file: BinaryIO, name: str) -> int:
        """Return where the data of ``name`` begins. Raises ExportError for a damaged entry."""
        entry = self.entries[name]
        file.seek(entry.header)
        raw = file.read(_LOCAL.size)
        if len(raw) != _LOCAL.size or raw[:4] != SIGNATURE:
            raise ExportError(f"the entry {name!r} is damaged: get the file again")
        *_, name_length, extra_length = _LOCAL.unpack(raw)
        start = entry.header + _LOCAL.size + int(name_length) + int(extra_length)
        if file.read(name_length) != name.encode() or start + entry.size > self._size:
            raise ExportError(f"the entry {name!r} is damaged: get the file again")
        return start

    def _read(self, file: BinaryIO) -> list[tuple[str, Entry]]:
        count, size, offset = self._end(file)
        if count > _MOST_ENTRIES or size > _LARGEST_DIRECTORY:
            raise ExportError(f"an archive of {count} files: torch.save makes no such file")
        file.seek(offset)
        raw, at = file.read(size), 0
        found: dict[str, Entry] = {}
        for _ in range(count):
            name, entry, at = _entry(raw, at)
            if name in found:
                raise ExportError(f"two entries are named {name[:80]!r}")
            found[name] = entry
        if at != len(raw):
            raise ExportError("its zip directory is damaged: get the file again")
        return list(found.items())

    def _end(self, file: BinaryIO) -> tuple[int, int, int]:
        """Return the count of entries, and the directory's size and offset."""
        length = min(self._size, _END.size + _LONGEST_COMMENT)
        file.seek(self._size - length)
        tail = file.read(length)
        at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
        if at < 0:
            raise ExportError("it ends in the middle: get the file again")
        _, disk, first, here, count, size, offset, comment = _END.unpack_from(tail, at)
        end = self._size - length + at
        if at + _END.size + comment != len(tail):
            raise ExportError("its zip directory is damaged: get the file again")
        locator = at - _LOCATOR64.size
        if locator >= 0 and tail.startswith(b"PK\6\7", locator):
            _, disk, end, _ = _LOCATOR64.unpack_from(tail, locator)
            file.seek(end)
            record = _END64.unpack(file.read(_END64.size))
            signature, _, _, _, disk, first, here, count, size, offset = record
            if signature != b"PK\6\6":
                raise ExportError("its zip directory is damaged: get the file again")
        if disk or first or here != count or offset + size != end:
            raise ExportError("its zip directory is damaged: get the file again")
        return count, size, offset


def _entry(raw: bytes, at: int) -> tuple[str, Entry, int]:
    """Return one entry of the directory, and where the next one begins."""
    head = _ENTRY.unpack_from(raw, at)
    signature, _, _, flags, method, _, _, _, packed, size = head[:10]
    name_length, extra_length, comment_length, *_, header = head[10:]
    start = at + _ENTRY.size
    name = raw[start : start + name_length].decode()
    extra = raw[start + name_length : start + name_length + extra_length]
    if signature != b"PK\1\2" or len(extra) != extra_length:
        raise ExportError("its zip directory is damaged: get the file again")
    size, packed, header = _wide(extra, size, packed, header)
    if flags & _ENCRYPTED:
        raise ExportError(f"the entry {name[:80]!r} is encrypted")
    if method or packed != size:
        raise ExportError(f"the entry {name[:80]!r} is compressed, which torch.save never does")
    return name, Entry(header, size), start + name_length + extra_length + comment_length


def _wide(extra: bytes, *values: int) -> list[int]:
    """Return size, packed size and header; those beyond 32 bits stand in the zip64 field."""
    wide, at = b"", 0
    while at + 4 <= len(extra):
        field, length = struct.unpack_from("<HH", extra, at)
        if field == _ZIP64_FIELD:
            wide = extra[at + 4 : at + 4 + length]
        at += 4 + length
    result = []
    for value in values:
        if value == _IN_EXTRA:
            (value,) = struct.unpack_from("<Q", wide)
            wide = wide[8:]
        result.append(value)
    return result
