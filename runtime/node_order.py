"""Node order: what onnxruntime packs first.

It packs weights node by node in the order of the file, each on one core. The output projection, the
largest by far, stands at the end, so that one core packed it while the others had nothing left.
onnxruntime sorts nodes by itself before it runs them; a file must be sorted, bytes in memory not.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

_GRAPH: Final = 7  # field of onnx.ModelProto
_NODE: Final = 1  # field of onnx.GraphProto
_HEAD: Final = b"lm_head"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """One field of a protobuf message: its number, and where it, its content and the next begin."""

    number: int
    start: int
    content: int
    end: int


def head_first(model: bytes) -> bytes:
    """``model``, a serialized ONNX model, with the output projection before all other nodes.

    As it is where no node mentions it, or where the bytes are none: onnxruntime will say so.
    """
    try:
        (graph,) = (field for field in _fields(model, 0, len(model)) if field.number == _GRAPH)
        inner = _fields(model, graph.content, graph.end)
        nodes = [field for field in inner if field.number == _NODE]
    except ValueError:
        return model
    head = next((node for node in nodes if _HEAD in model[node.content : node.end]), None)
    if head is None:
        return model
    first = nodes[0].start
    return b"".join(
        (model[:first], model[head.start : head.end], model[first : head.start], model[head.end :])
    )


def _fields(data: bytes, at: int, end: int) -> Iterator[_Field]:
    """The fields of the message in ``data[at:end]``. Raises ValueError where there is none."""
    while at < end:
        tag, content = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, last = _varint(data, content)
        elif kind == _BYTES:
            length, content = _varint(data, content)
            last = content + length
        elif kind in (_FIXED32, _FIXED64):
            last = content + (4 if kind == _FIXED32 else 8)
        else:
            raise ValueError(f"wire type {kind}")
        if last > end:
            raise ValueError("a field beyond its message")
        yield _Field(tag >> 3, at, content, last)
        at = last


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in base 128, the lowest digit first, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number without an end")
