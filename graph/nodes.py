"""Nodes of a serialized graph, read without the onnx package: what a load-time edit looks at."""

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from gpt2edge.graph.protobuf import Field, field, fields, number

# numbers of fields in onnx.proto
NODE, INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12  # of GraphProto
_INPUT, _OUTPUT, _NAME, _OPERATOR, _ATTRIBUTE, _DOMAIN = 1, 2, 3, 4, 5, 7  # of NodeProto
_ATTRIBUTE_NAME, _FLOAT, _INT, _GRAPH, _GRAPHS, _TYPE = 1, 2, 3, 6, 11, 20  # of AttributeProto
_FLOAT_TYPE, _INT_TYPE = 1, 2  # of AttributeProto.AttributeType
_DIMS, _TENSOR_NAME = 1, 8  # of TensorProto
_SIGN: Final = 1 << 63


class Node(NamedTuple):
    """A node: its field in the graph, and what is in it. A name of "" is an omitted input."""

    field: Field
    operator: str
    """With its domain, "com.microsoft.FastGelu", unless that is onnx's own."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int | float | None]
    """Whole numbers and floats; None for those of another type."""
    captured: tuple[str, ...]
    """The inputs of the nodes in its branches."""

    def input(self, index: int) -> str:
        """Return an input's name, or "" where the node has fewer."""
        return self.inputs[index] if index < len(self.inputs) else ""


def read_node(part: Field) -> Node:
    """Read a node of a graph. Raises ValueError where it is none."""
    found: dict[int, list[bytes]] = {}
    for inner in fields(part.content):
        found.setdefault(inner.number, []).append(inner.content)
    inputs, outputs = (
        tuple(name.decode() for name in found.get(kind, [])) for kind in (_INPUT, _OUTPUT)
    )
    attributes: dict[str, int | float | None] = {}
    captured: list[str] = []
    for content in found.get(_ATTRIBUTE, []):
        name, value = _attribute(content)
        attributes[name] = value
        if value is None:
            captured += _captured(content)
    domain = b".".join([*filter(None, found.get(_DOMAIN, [])), *found.get(_OPERATOR, [])])
    return Node(part, domain.decode(), inputs, outputs, attributes, tuple(captured))


def write_node(node: Node, domain: str, operator: str) -> Field:
    """Encode a node of ``operator``; whole numbers become INT attributes, others FLOAT."""
    encoded = field(
        NODE,
        *(field(_INPUT, name.encode()) for name in node.inputs),
        *(field(_OUTPUT, name.encode()) for name in node.outputs),
        field(_NAME, node.outputs[0].encode()),
        field(_OPERATOR, operator.encode()),
        *(_encoded(name, value) for name, value in node.attributes.items() if value is not None),
        field(_DOMAIN, domain.encode()),
    )
    (written,) = fields(encoded)
    return written


def shapes(graph: Sequence[Field]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the constants of a graph: initializers that no caller may replace."""
    replaceable = {part.strings(1)[0] for part in graph if part.number == GRAPH_INPUT}
    found = {}
    for part in graph:
        if part.number == INITIALIZER:
            (name,) = part.strings(_TENSOR_NAME)
            if name not in replaceable:
                found[name.decode()] = tuple(_dims(part))
    return found


def _dims(tensor: Field) -> Iterator[int]:
    for part in fields(tensor.content):
        if part.number == _DIMS:  # one number, or all of them one behind the other
            value, place = 0, 0
            for byte in part.content:
                value |= (byte & 127) << place
                place += 7
                if byte < 128:
                    yield value
                    value, place = 0, 0


def _whole(part: Field) -> int:
    value = 0
    for place, byte in enumerate(part.content):
        value |= (byte & 127) << 7 * place
    return value - 2 * _SIGN if value & _SIGN else value


def _attribute(content: bytes) -> tuple[str, int | float | None]:
    name: str = ""
    value: int | float | None = None
    for part in fields(content):
        if part.number == _ATTRIBUTE_NAME:
            name = part.content.decode()
        elif part.number == _INT:
            value = _whole(part)
        elif part.number == _FLOAT:
            (value,) = struct.unpack("<f", part.content)
    return name, value


def _captured(attribute: bytes) -> Iterator[str]:
    for part in fields(attribute):
        if part.number in (_GRAPH, _GRAPHS):
            for inner in fields(part.content):
                if inner.number == NODE:
                    node = read_node(inner)
                    yield from (*node.inputs, *node.captured)


def _encoded(name: str, value: float) -> bytes:
    if isinstance(value, int):
        parts = (number(_INT, value), number(_TYPE, _INT_TYPE))
    else:
        parts = (_float(value), number(_TYPE, _FLOAT_TYPE))
    return field(_ATTRIBUTE, field(_ATTRIBUTE_NAME, name.encode()), *parts)


def _float(value: float) -> bytes:
    return bytes([_FLOAT << 3 | 5]) + struct.pack("<f", value)
