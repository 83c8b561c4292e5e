"""Protobuf's wire format, the part of it that is needed to take a model apart and rebuild it.

https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

VARINT, _FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: a number in base 128, and contents of a stated length or of four bytes."""
_FIXED: Final = {FIXED32: 4, _FIXED64: 8}


class Field(NamedTuple):
    """A field of a message: its number, all of its bytes, and its content without the header."""

    number: int
    whole: bytes
    content: bytes

    def strings(self, number: int) -> list[bytes]:
        """Return the contents of all fields of that number in the message inside this field."""
        return [part.content for part in fields(self.content) if part.number == number]

    def of_type(self, wire_type: int) -> bytes:
        """Return the content. Raises ValueError unless the field has this wire type."""
        if self.whole[0] & 7 != wire_type:
            raise ValueError(f"field {self.number} has wire type {self.whole[0] & 7}")
        return self.content


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of ``message``. Raises ValueError if it is not a valid message."""
    start = 0
    while start < len(message):
        tag, content = _varint(message, start)
        kind = tag & 7
        if kind == VARINT:
            _, end = _varint(message, content)
        elif kind == BYTES:
            length, content = _varint(message, content)
            end = content + length
        elif kind in _FIXED:
            end = content + _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if end > len(message):
            raise ValueError("a field extends beyond its message")
        yield Field(tag >> 3, message[start:end], message[content:end])
        start = end


def field(index: int, *parts: bytes) -> bytes:
    """Encode field number ``index``: a string, or a message of the fields ``parts``."""
    content = b"".join(parts)
    return _digits(index << 3 | BYTES) + _digits(len(content)) + content


def number(index: int, value: int) -> bytes:
    """Encode field number ``index``: a whole number of 0 or more."""
    return _digits(index << 3 | VARINT) + _digits(value)


def varint(content: bytes) -> int:
    """Decode the content of a field of the type ``VARINT``."""
    return _varint(content, 0)[0]


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """Decode a number in base 128, the lowest digit first; return it and its end."""
    value = 0
    for digit, byte in enumerate(message[start : start + 10]):
        value |= (byte & 127) << 7 * digit
        if byte < 128:
            return value, start + digit + 1
    raise ValueError("a number has no end")


def _digits(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
