"""Graph edits at load time: attention by the kernels of gpt2edge, over a paged cache.

Every ``GroupQueryAttention`` that the exporter wrote becomes ``gpt2edge.Attention``
(``native/src/attention_op.cpp``). The inputs and outputs of each layer's keys and values leave the
graph; in their place come two inputs for all layers,

    kv_cache     uint8 [blocks, n_layer, layer_bytes], which the operators read and write
    block_table  int32 [batch_size, row_blocks], the blocks of each row

This is done for all layers or for none.
"""

from typing import Final, NamedTuple

import numpy as np

from gpt2edge.graph import names
from gpt2edge.graph.protobuf import Field, field, fields, number
from gpt2edge.runtime.cache.block_layout import BlockLayout

# numbers of fields in onnx.proto
_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 11, 12  # of GraphProto
_INPUT, _OUTPUT, _NAME, _OPERATOR, _ATTRIBUTE, _DOMAIN = 1, 2, 3, 4, 5, 7  # of NodeProto
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TYPE = 1, 3, 20  # of AttributeProto
_INT: Final = 2  # of AttributeProto.AttributeType
_UINT8, _INT32 = 2, 6  # of TensorProto.DataType

_OLD: Final = b"GroupQueryAttention"
_NEW: Final = b"Attention"
DOMAIN: Final = "gpt2edge"
CACHE_TYPES: Final = {"float32": 0, "float16": 1, "int8": 2}
"""``CacheType`` of ``native/src/attention.h``."""
_WIDEST_HEAD: Final = 256
_KEPT: Final = (b"num_heads", b"scale")
_KNOWN: Final = frozenset(
    [*_KEPT, b"kv_num_heads", b"do_rotary", b"k_quant_type", b"v_quant_type", b"kv_cache_bit_width"]
)


class _Layer(NamedTuple):
    """An attention node of the graph."""

    node: Field
    number: int
    n_head: int
    head_dim: int
    kept: list[bytes]
    """The attributes that stay, encoded."""


def paged_layout(graph: list[Field], dtype: str) -> BlockLayout | None:
    """Return the layout of the cache after ``with_paged_attention``; None where it cannot be."""
    layers = _layers(graph)
    if not layers:
        return None
    first = layers[0]
    return BlockLayout(
        n_layer=len(layers),
        n_head=first.n_head,
        head_dim=first.head_dim,
        dtype=np.dtype(dtype),
    )


def with_paged_attention(graph: list[Field], layout: BlockLayout) -> list[Field]:
    """Return the parts of ``graph`` with our attention in place of onnxruntime's."""
    layers = {id(layer.node): layer for layer in _layers(graph)}
    gone = {name.encode() for pair in names.cache(layout.n_layer) for name in pair}
    gone.add(names.TOTAL_SEQUENCE_LENGTH.encode())
    kept = [
        part
        for part in graph
        if part.number not in (_GRAPH_INPUT, _GRAPH_OUTPUT) or not gone & set(part.strings(1))
    ]
    edited = [_node(layers[id(part)], layout) if id(part) in layers else part for part in kept]
    shape = (b"blocks", layout.n_layer, layout.layer_bytes)
    pool = field(_GRAPH_INPUT, *_tensor(names.KV_CACHE, _UINT8, *shape))
    table = field(_GRAPH_INPUT, *_tensor(names.BLOCK_TABLE, _INT32, b"batch_size", b"row_blocks"))
    return [*edited, *fields(pool), *fields(table)]


def _layers(graph: list[Field]) -> list[_Layer]:
    """Return the attention of every layer, in order; none where one is not as we know it."""
    inputs = {part.strings(1)[0]: part for part in graph if part.number == _GRAPH_INPUT}
    nodes = [part for part in graph if part.number == _NODE and part.strings(_OPERATOR) == [_OLD]]
    found = [_layer(number, node, inputs) for number, node in enumerate(nodes)]
    layers = [layer for layer in found if layer is not None]
    shapes = {(layer.n_head, layer.head_dim) for layer in layers}
    fed = names.SEQLENS_K.encode() in inputs
    return layers if fed and len(layers) == len(nodes) and len(shapes) == 1 else []


def _layer(number: int, node: Field, inputs: dict[bytes, Field]) -> _Layer | None:
    """Return what a node says, or None where it is not as the exporter writes it."""
    past = [names.past(number, part).encode() for part in names.CACHE_PARTS]
    expected = [b"", b"", *past, names.SEQLENS_K.encode(), names.TOTAL_SEQUENCE_LENGTH.encode()]
    if node.strings(_INPUT)[1:7] != expected or past[0] not in inputs:
        return None
    attributes = {
        b"".join(Field(0, b"", content).strings(_ATTRIBUTE_NAME)): content
        for content in node.strings(_ATTRIBUTE)
    }
    if not set(_KEPT) <= attributes.keys() <= _KNOWN:
        return None
    heads = _integer(attributes[b"num_heads"])
    shape = _shape(inputs[past[0]])
    if len(shape) != 4 or heads is None or shape[1] != heads or shape[3] is None:
        return None
    same = _integer(attributes.get(b"kv_num_heads", b"")) == heads
    rotary = _integer(attributes.get(b"do_rotary", b"")) or 0
    if not same or rotary or not 0 < shape[3] <= _WIDEST_HEAD:
        return None
    kept = [field(_ATTRIBUTE, attributes[name]) for name in _KEPT]
    return _Layer(node, number, heads, shape[3], kept)


def _node(layer: _Layer, layout: BlockLayout) -> Field:
    """Return the node of our operator."""
    own = {
        "head_dim": layer.head_dim,
        "layer": layer.number,
        "cache_type": CACHE_TYPES[layout.dtype.name],
    }
    inputs = [layer.node.strings(_INPUT)[0]]
    inputs += [name.encode() for name in (names.KV_CACHE, names.BLOCK_TABLE, names.SEQLENS_K)]
    output = layer.node.strings(_OUTPUT)[0]
    encoded = field(
        _NODE,
        *(field(_INPUT, name) for name in inputs),
        field(_OUTPUT, output),
        field(_NAME, output),
        field(_OPERATOR, _NEW),
        *layer.kept,
        *(_attribute(name, value) for name, value in own.items()),
        field(_DOMAIN, DOMAIN.encode()),
    )
    (node,) = fields(encoded)
    return node


def _attribute(name: str, value: int) -> bytes:
    parts = (number(_ATTRIBUTE_INT, value), number(_ATTRIBUTE_TYPE, _INT))
    return field(_ATTRIBUTE, field(_ATTRIBUTE_NAME, name.encode()), *parts)


def _integer(attribute: bytes) -> int | None:
    """Return the whole number in an encoded attribute."""
    return next((_value(part) for part in fields(attribute) if part.number == _ATTRIBUTE_INT), None)


def _value(part: Field) -> int:
    """Return the number in a field: its bytes in base 128, the lowest digit first."""
    return sum((byte & 127) << 7 * place for place, byte in enumerate(part.content))


def _shape(tensor: Field) -> list[int | None]:
    """Return the dimensions of a ValueInfoProto; None for those without a number."""
    (kind,) = tensor.strings(2)
    (of_tensor,) = Field(0, b"", kind).strings(1)
    (shape,) = Field(0, b"", of_tensor).strings(2)
    return [
        next((_value(part) for part in fields(dimension) if part.number == 1), None)
        for dimension in Field(0, b"", shape).strings(1)
    ]


def _tensor(name: str, kind: int, *dimensions: int | bytes) -> tuple[bytes, bytes]:
    """Return the fields of a ValueInfoProto for a tensor."""
    sizes = (number(1, size) if isinstance(size, int) else field(2, size) for size in dimensions)
    shape = field(2, *(field(1, size) for size in sizes))
    return field(1, name.encode()), field(2, field(1, number(1, kind), shape))
