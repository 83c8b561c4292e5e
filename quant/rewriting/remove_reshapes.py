"""remove_reshapes: keep activations as [batch, sequence, width]; only Gemm needs [rows, width]."""

from collections.abc import Iterable, Iterator, Sequence

from onnx import GraphProto, NodeProto
from onnx.helper import make_node, make_tensor_value_info

from gpt2edge.graph import names


def remove_reshapes(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Return ``nodes`` without the reshapes around products, unless a Gemm needs them.

    onnxruntime copies the array that it reshapes: 0.4 ms for the logits of a batch of 16.
    ``outputs`` are the graph's; nodes that no output depends on are removed too.
    """
    if any(node.op_type == "Gemm" and names.in_block(node.name) for node in nodes):
        return list(nodes)
    remaining = list(_between_products(nodes))
    last = next(node for node in remaining if node.output[0] == names.LOGITS)
    head = next(node for node in remaining if node.output[0] == last.input[0])
    if head.op_type != "Gemm":
        head.output[0] = names.LOGITS
        remaining.remove(last)
        _keep_positions(next(node for node in remaining if node.name == names.KEPT))
    return _needed(remaining, outputs)


def _between_products(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    source: dict[str, str] = {}
    for node in nodes:
        inputs = [source.get(name, name) for name in node.input]
        if node.op_type == "Reshape" and names.is_reshape_for_gemm(node.name):
            source[node.output[0]] = inputs[0]
            continue
        node.input[:] = inputs
        yield node


def _keep_positions(choice: NodeProto) -> None:
    """Make the ``If`` that selects positions return [batch, positions, n_embd]."""
    for branch in (attribute.g for attribute in choice.attribute):
        gather = next((node for node in branch.node if node.op_type == "GatherND"), None)
        hidden = branch.node[0].input[0]
        if gather is None:
            _replace(branch, [make_node("Identity", [hidden], [branch.output[0].name])])
        else:
            index = next(node for node in branch.node if node.op_type == "Unsqueeze")
            gather.input[0], gather.output[0] = hidden, branch.output[0].name
            _replace(branch, [index, gather])


def _replace(branch: GraphProto, nodes: Sequence[NodeProto]) -> None:
    output = branch.output[0]
    width = output.type.tensor_type.shape.dim[-1].dim_value
    shape = ["batch_size", "positions", width]
    wanted = make_tensor_value_info(output.name, output.type.tensor_type.elem_type, shape)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del branch.node[:], branch.output[:]
    branch.node.extend(copies)
    branch.output.append(wanted)


def _needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Return the nodes that ``outputs`` depend on, in their order."""
    wanted, needed = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            for attribute in node.attribute:
                wanted.update(name for inner in attribute.g.node for name in inner.input)
            needed.append(node)
    return needed[::-1]
