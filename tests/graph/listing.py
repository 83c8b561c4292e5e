"""A graph as text: what it takes and gives, its tensors, its nodes; without the tensors' values."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import get_attribute_value


def listing(path: Path) -> str:
    """List the graph of a model file, a line for each thing that is in it."""
    model = onnx.load(path, load_external_data=False)
    opsets = ", ".join(f"{item.domain or 'ai.onnx'} {item.version}" for item in model.opset_import)
    lines = [f"ir {model.ir_version}, opsets {opsets}"]
    lines += [f"input {_value(value)}" for value in model.graph.input]
    lines += [f"output {_value(value)}" for value in model.graph.output]
    lines += [f"tensor {_tensor(tensor)}" for tensor in model.graph.initializer]
    return "\n".join([*lines, *_nodes(model.graph)]) + "\n"


def _value(value: ValueInfoProto) -> str:
    kind = value.type.tensor_type
    sizes = ", ".join(str(dim.dim_param or dim.dim_value) for dim in kind.shape.dim)
    return f"{value.name}: {_dtype(kind.elem_type)} [{sizes}]"


def _tensor(tensor: TensorProto) -> str:
    return f"{tensor.name}: {_dtype(tensor.data_type)} {list(tensor.dims)}"


def _dtype(number: int) -> str:
    return str(TensorProto.DataType.Name(number).lower())


def _nodes(graph: GraphProto, indent: str = "") -> Iterator[str]:
    for node in graph.node:
        outputs, inputs = ", ".join(node.output), ", ".join(name or "-" for name in node.input)
        operator = f"{node.domain}.{node.op_type}".lstrip(".")
        yield f"{indent}{outputs} = {operator}({inputs}){_attributes(node)}"
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield f"{indent}  {attribute.name}: {', '.join(map(_value, attribute.g.output))}"
                yield from _nodes(attribute.g, f"{indent}    ")


def _attributes(node: NodeProto) -> str:
    plain = [item for item in node.attribute if not item.HasField("g")]
    shown = (f"{item.name}={_shown(get_attribute_value(item))}" for item in plain)
    return f" {' '.join(shown)}" if plain else ""


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace(" ", "")
