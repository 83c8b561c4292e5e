"""Values inside a graph: read them, change them, cut the graph at them, on its serialized bytes.

onnxruntime returns only what a graph declares as an output, and a graph in a file declares logits
and cache. So the bytes are rewritten before a session is made of them:

    a tap       declares an intermediate value as one more output
    an edit     computes ``y = x * keep + add`` behind the node that makes ``x``; ``keep`` and
                ``add`` are optional inputs, 1 and 0 where nothing is fed
    a constant  the same with ``keep`` and ``add`` written into the graph
    the head    is a graph of the nodes between the last hidden state and the logits

A tap that is not asked for costs nothing, and an edit that is not fed changes no bit.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from gpt2edge.graph import names
from gpt2edge.graph.names import Block
from gpt2edge.graph.protobuf import Field, field, fields, number
from gpt2edge.runtime.arrays import FloatArray

# numbers of fields in onnx.proto
_GRAPH: Final = 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # of GraphProto
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _OPERATOR = 1, 2, 3, 4  # of NodeProto
_DIMS, _DATA_TYPE, _TENSOR_NAME, _RAW_DATA = 1, 2, 8, 9  # of TensorProto
_FLOAT: Final = 1  # of TensorProto.DataType


class Constant(NamedTuple):
    """What is written over a value: ``x * keep + add``, each [1, n] or [1, 1], float32."""

    keep: FloatArray
    add: FloatArray


class GraphValues:
    """A serialized graph, taken apart once. Raises ValueError where the bytes are no model."""

    def __init__(self, model: bytes) -> None:
        self._parts = list(fields(model))
        found = [pair for pair in enumerate(self._parts) if pair[1].number == _GRAPH]
        if len(found) != 1:
            raise ValueError("the bytes hold no graph")
        ((self._at, graph),) = found
        self._inner = list(fields(graph.content))
        self._producers = {
            output.decode(): part
            for part in self._inner
            if part.number == _NODE
            for output in part.strings(_NODE_OUTPUT)
        }

    def __contains__(self, value: str) -> bool:
        return value in self._producers

    def operator(self, value: str) -> str:
        """Return the operator of the node that makes ``value``."""
        return self._producers[value].strings(_OPERATOR)[0].decode()

    def opened(self, taps: Collection[str] = (), edits: Collection[str] = ()) -> bytes:
        """Return the graph with ``taps`` as outputs, and ``edits`` as values to change."""
        parts: list[bytes] = []
        for part in self._inner:
            made = self._made(part, edits)
            if made is None:
                parts.append(part.whole)
                continue
            parts += _edited(part, made)
            for end, neutral in ((edit_keep(made), 1.0), (edit_add(made), 0.0)):
                value = np.full((1, 1), neutral, np.float32)
                parts += [_initializer(end, value), field(_INPUT, _value_info(end))]
        return self._assembled([*parts, *(field(_OUTPUT, _value_info(name)) for name in taps)])

    def with_constants(self, constants: Mapping[str, Constant]) -> bytes:
        """Return the graph with each value of ``constants`` changed for good.

        Raises ValueError for a value that no node makes.
        """
        missing = sorted(set(constants) - set(self._producers))
        if missing:
            raise ValueError(f"no node makes the value {missing[0]!r}")
        parts: list[bytes] = []
        for part in self._inner:
            made = self._made(part, constants)
            if made is None:
                parts.append(part.whole)
                continue
            parts += _edited(part, made)
            parts.append(_initializer(edit_keep(made), constants[made].keep))
            parts.append(_initializer(edit_add(made), constants[made].add))
        return self._assembled(parts)

    def head(self, n_layer: int) -> tuple[bytes, str, str]:
        """Return the graph of final norm and output projection, and its input and output.

        The input is [..., n_embd], the output [..., vocab_size] or [rows, vocab_size].
        """
        hidden = names.KEPT if names.KEPT in self else Block(n_layer - 1).mlp_residual
        logits = names.LM_HEAD if names.LM_HEAD in self else names.LOGITS
        needed = self._between(hidden, logits)
        read = {name for part in needed for name in part.strings(_NODE_INPUT)}
        kept = [
            part.whole
            for part in self._inner
            if part in needed
            or (part.number == _INITIALIZER and part.strings(_TENSOR_NAME)[0] in read)
            or part.number not in (_NODE, _INITIALIZER, _INPUT, _OUTPUT)
        ]
        ends = [field(_INPUT, _value_info(hidden)), field(_OUTPUT, _value_info(logits))]
        return self._assembled([*kept, *ends]), hidden, logits

    def initializers(self) -> Iterator[Field]:
        """Yield the graph's tensors, TensorProto messages."""
        return (part for part in self._inner if part.number == _INITIALIZER)

    def _between(self, start: str, end: str) -> list[Field]:
        """Return the nodes that ``end`` needs, back to the value ``start``."""
        needed: list[Field] = []
        waiting = [end]
        while waiting:
            part = self._producers.get(name := waiting.pop())
            if part is not None and name != start and part not in needed:
                needed.append(part)
                waiting += [read.decode() for read in part.strings(_NODE_INPUT)]
        return needed

    def _made(self, part: Field, values: Collection[str]) -> str | None:
        """Return which of ``values`` the node ``part`` makes, if any."""
        if part.number != _NODE or not values:
            return None
        outputs = (output.decode() for output in part.strings(_NODE_OUTPUT))
        return next((output for output in outputs if output in values), None)

    def _assembled(self, parts: Sequence[bytes]) -> bytes:
        whole = [part.whole for part in self._parts]
        whole[self._at] = field(_GRAPH, *parts)
        return b"".join(whole)


def edit_keep(value: str) -> str:
    """Name the input that a value is multiplied by."""
    return f"{value}/keep"


def edit_add(value: str) -> str:
    """Name the input that is added to a value."""
    return f"{value}/add"


def _edited(part: Field, value: str) -> list[bytes]:
    """Return the node that makes ``value`` under another name, and the two that change it."""
    raw, scaled = f"{value}/raw", f"{value}/kept"
    renamed = [
        field(_NODE_OUTPUT, raw.encode())
        if item.number == _NODE_OUTPUT and item.content == value.encode()
        else item.whole
        for item in fields(part.content)
    ]
    return [
        field(_NODE, *renamed),
        field(_NODE, _node("Mul", raw, edit_keep(value), scaled)),
        field(_NODE, _node("Add", scaled, edit_add(value), value)),
    ]


def _node(operator: str, first: str, second: str, output: str) -> bytes:
    """Encode a NodeProto of two inputs; its name is unlike that of the node it follows."""
    return b"".join(
        (
            field(_NODE_INPUT, first.encode()),
            field(_NODE_INPUT, second.encode()),
            field(_NODE_OUTPUT, output.encode()),
            field(_NODE_NAME, f"{output}/edit".encode()),
            field(_OPERATOR, operator.encode()),
        )
    )


def _value_info(name: str) -> bytes:
    """Encode a ValueInfoProto of float32 without a shape: of any rank."""
    return field(1, name.encode()) + field(2, field(1, number(1, _FLOAT)))


def _initializer(name: str, value: FloatArray) -> bytes:
    """Encode a float32 tensor as a field of the graph."""
    dims = b"".join(number(_DIMS, size) for size in value.shape)
    data = field(_RAW_DATA, np.ascontiguousarray(value, "<f4").tobytes())
    kind = number(_DATA_TYPE, _FLOAT)
    return field(_INITIALIZER, dims + kind + field(_TENSOR_NAME, name.encode()) + data)
