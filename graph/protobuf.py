"""Protobuf's wire format, as far as a model is taken apart and put together again.

https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED: Final = {_FIXED32: 4, _FIXED64: 8}


class Field(NamedTuple):
    """One field of a message: its number, all of its bytes, and the content among them."""

    number: int
    whole: bytes
    content: bytes

    def strings(self, number: int) -> list[bytes]:
        """Return the contents of the fields of that number in the message that this field holds."""
        return [part.content for part in fields(self.content) if part.number == number]


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of ``message``. Raises ValueError where it is none."""
    at = 0
    while at < len(message):
        tag, content = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, end = _varint(message, content)
        elif kind == _BYTES:
            length, content = _varint(message, content)
            end = content + length
        elif kind in _FIXED:
            end = content + _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if end > len(message):
            raise ValueError("a field beyond its message")
        yield Field(tag >> 3, message[at:end], message[content:end])
        at = end


def field(at: int, *parts: bytes) -> bytes:
    """Write field ``at``, which holds bytes: a string, or a message of the fields ``parts``."""
    content = b"".join(parts)
    return _digits(at << 3 | _BYTES) + _digits(len(content)) + content


def number(at: int, value: int) -> bytes:
    """Write field ``at``, which holds a number that is not negative."""
    return _digits(at << 3 | _VARINT) + _digits(value)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in base 128, the lowest digit first, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number without an end")


def _digits(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
