"""Graph edits at load time: remove nodes that only callers other than the engine need.

The graph in a file takes an ``attention_mask`` and may be called without ``logits_to_keep``, as
Optimum does. The engine knows how many tokens each row holds, and always passes ``logits_to_keep``.
So the nodes that count the mask's ones and that choose whether to select logits are removed, and
their results become inputs:

    seqlens_k              int32 [batch_size], the position of each row's last token in the cache
    total_sequence_length  int32 [], how many tokens the cache has room for

This saves nine operators of 5 to 10 us each per step; the weights evict the operators' code from
the processor's caches between steps.

What the head reads becomes a further output, for embeddings: an output that no one binds costs
nothing.

The output projection is moved to the front. onnxruntime packs weights node by node in the order of
the graph, each on one core. With the largest weight at the end, one core would pack it while the
others are idle. onnxruntime sorts the nodes before it runs them; only the graph in a file must be
sorted.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from gpt2edge.graph import names
from gpt2edge.graph.protobuf import Field, field, fields, number
from gpt2edge.runtime.cache.block_layout import BlockLayout
from gpt2edge.runtime.ort.attention_edits import DOMAIN, paged_layout, with_paged_attention
from gpt2edge.runtime.ort.product_edits import has_other_products, with_products

# numbers of fields in onnx.proto
_GRAPH, _OPSET = 7, 8  # of ModelProto
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2  # of OperatorSetIdProto
_NODE, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 11, 12  # of GraphProto
_OUTPUT, _OPERATOR, _ATTRIBUTE, _DOMAIN = 2, 4, 5, 7  # of NodeProto
_ATTRIBUTE_NAME, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 1, 6, 11  # of AttributeProto
_FUNCTION: Final = 25  # of ModelProto
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN = 1, 7, 10  # of FunctionProto
_FLOAT, _INT32 = 1, 6  # of TensorProto.DataType

_HEAD: Final = names.LM_HEAD.encode()
_MASK: Final = names.ATTENTION_MASK.encode()
_CHOICE: Final = names.KEPT.encode()


class EditedGraph(NamedTuple):
    """A serialized graph as onnxruntime gets it."""

    model: bytes
    cache: BlockLayout | None = None
    """The layout of the paged cache, None where onnxruntime's attention stays."""
    uses_kernels: bool = False
    """Whether an operator is ours."""
    batch_invariant: bool = False
    """Whether a row's bits depend on no other row: attention and all products are ours."""


def edit_for_engine(model: bytes) -> bytes:
    """Return ``model``, a serialized graph of profile cpu, edited for the engine.

    Parts that differ from the exporter's output are not changed. Bytes that are not a model are
    returned as they are, for onnxruntime to report.
    """
    return _edit(model, lambda graph: (graph, None)).model


def edit_for_kernels(model: bytes, cache: str) -> EditedGraph:
    """Edit ``model`` for the engine and the kernels of gpt2edge, with a paged cache.

    ``cache`` is the type of its elements, "float32", "float16" or "int8". Attention and products
    that are not as the exporter and ``quant`` write them are left to onnxruntime.
    """

    def kernels(graph: list[Field]) -> tuple[list[Field], BlockLayout | None]:
        layout = paged_layout(graph, cache)
        if layout is not None:
            graph = with_paged_attention(graph, layout)
        return with_products(graph), layout

    return _edit(model, kernels)


def _edit(
    model: bytes, kernels: Callable[[list[Field]], tuple[list[Field], BlockLayout | None]]
) -> EditedGraph:
    try:
        parts = list(fields(model))
        ((index, graph),) = [pair for pair in enumerate(parts) if pair[1].number == _GRAPH]
        plain = _taking_lengths(list(fields(graph.content)))
        plain = _head_first(_showing_hidden(_always_choosing(plain)))
        inner, layout = kernels(plain)
        ours = inner is not plain
        invariant = layout is not None and not has_other_products(inner)
    except ValueError:
        return EditedGraph(model)
    encoded = [part.whole for part in parts]
    encoded[index] = field(_GRAPH, *(part.whole for part in inner))
    if ours:
        domain = field(_OPSET_DOMAIN, DOMAIN.encode())
        encoded.append(field(_OPSET, domain, number(_OPSET_VERSION, 1)))
    return EditedGraph(b"".join(encoded), layout, ours, invariant)


def calls_itself(model: bytes) -> bool:
    """Return whether a function of ``model`` calls itself, directly or through others."""
    try:
        functions = [part for part in fields(model) if part.number == _FUNCTION]
        calls = {
            (b"".join(part.strings(_FUNCTION_DOMAIN)), b"".join(part.strings(_FUNCTION_NAME))): {
                call for node in part.strings(_FUNCTION_NODE) for call in _called(node)
            }
            for part in functions
        }
    except ValueError:  # not a model, which onnxruntime will report
        return False
    for name in calls:
        reached, waiting = set[tuple[bytes, bytes]](), {name}
        while waiting:
            reached |= (found := calls.get(waiting.pop(), set()) - reached)
            waiting |= found
        if name in reached:
            return True
    return False


def _called(node: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield domain and name of a node's operator, and of the operators in its branches."""
    message = Field(_NODE, node, node)
    yield b"".join(message.strings(_DOMAIN)), b"".join(message.strings(_OPERATOR))
    for attribute in message.strings(_ATTRIBUTE):
        for part in fields(attribute):
            if part.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                for inner in part.strings(_NODE):
                    yield from _called(inner)


def _taking_lengths(graph: list[Field]) -> list[Field]:
    """Replace the nodes that count the mask by inputs with their results."""
    counting = _written_as(names.MASK_COUNTING, graph)
    rest = [part for part in graph if part not in counting and not _is_mask(part)]
    if not counting or any(part.number == _NODE and _MASK in part.content for part in rest):
        return graph
    last = field(_GRAPH_INPUT, *_int32(names.SEQLENS_K, b"batch_size"))
    room = field(_GRAPH_INPUT, *_int32(names.TOTAL_SEQUENCE_LENGTH))
    return [*rest, *fields(last), *fields(room)]


def _written_as(operators: Mapping[str, str], graph: list[Field]) -> list[Field]:
    """Return the nodes with these outputs and ``operators``; none where one is missing."""
    wanted = [
        (field(_OUTPUT, output.encode()), operator.encode())
        for output, operator in operators.items()
    ]
    found = [
        part
        for part in graph
        if part.number == _NODE
        and any(
            output in part.content and part.strings(_OPERATOR) == [operator]
            for output, operator in wanted
        )
    ]
    return found if len(found) == len(operators) else []


def _is_mask(part: Field) -> bool:
    return part.number == _GRAPH_INPUT and _MASK in part.strings(1)


def _int32(name: str, *dimensions: bytes) -> tuple[bytes, bytes]:
    """Return the fields of a ValueInfoProto for an int32 tensor."""
    shape = field(2, *(field(1, field(2, dimension)) for dimension in dimensions))
    return field(1, name.encode()), field(2, field(1, number(1, _INT32), shape))


def _always_choosing(graph: list[Field]) -> list[Field]:
    """Replace the node that decides whether to select positions by the nodes that select them."""
    asking = _written_as(names.POSITION_CHOICE, graph)
    if not asking:
        return graph
    index = graph.index(asking[-1])
    before, after = graph[:index], graph[index + 1 :]
    return [*(part for part in before if part not in asking), *_choosing(asking[-1]), *after]


def _choosing(asking: Field) -> list[Field]:
    """Return the nodes of ``then_branch``; the last one gets the output of the node ``asking``.

    Raises ValueError where there is no such branch.
    """
    attributes = [part for part in fields(asking.content) if part.number == _ATTRIBUTE]
    (branch,) = (
        graph
        for attribute in attributes
        if attribute.strings(_ATTRIBUTE_NAME) == [b"then_branch"]
        for graph in attribute.strings(_ATTRIBUTE_GRAPH)
    )
    *before, last = (part for part in fields(branch) if part.number == _NODE)
    renamed = field(
        _NODE,
        *(
            field(_OUTPUT, _CHOICE) if part.number == _OUTPUT else part.whole
            for part in fields(last.content)
        ),
    )
    return [*before, *fields(renamed)]


def _showing_hidden(graph: list[Field]) -> list[Field]:
    """Declare what the head reads as an output, unless there is one of hidden states."""
    outputs = [part for part in graph if part.number == _GRAPH_OUTPUT]
    if any(names.HIDDEN_STATES.encode() in part.strings(1) for part in outputs):
        return graph
    nodes = [part for part in graph if part.number == _NODE]
    for name in names.HEAD_INPUTS:
        output = field(_OUTPUT, name.encode())
        if any(output in part.content and name.encode() in part.strings(_OUTPUT) for part in nodes):
            kind = field(2, field(1, number(1, _FLOAT)))
            return [*graph, *fields(field(_GRAPH_OUTPUT, field(1, name.encode()), kind))]
    return graph


def _head_first(graph: list[Field]) -> list[Field]:
    """Move the output projection before all other nodes."""
    nodes = [index for index, part in enumerate(graph) if part.number == _NODE]
    head = next((index for index in nodes if _HEAD in graph[index].content), None)
    if head is None:
        return graph
    first = nodes[0]
    return [*graph[:first], graph[head], *graph[first:head], *graph[head + 1 :]]
