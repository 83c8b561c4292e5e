"""Facts about a graph file: operators, inputs and outputs, and the precision of every weight."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from gpt2edge._extras import require

_WEIGHTED: Final = 2  # dimensions: vectors are gains and biases


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFacts:
    """An input or output of the graph."""

    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """A product or lookup: its operator, and the precision and bytes of its matrix.

    ``bytes`` counts a tensor shared by two operators only for the first of them.
    """

    node: str
    operator: str
    precision: str
    bytes: int

    @property
    def layer(self) -> str:
        """Return the part of the model: "h.0", "wte", "lm_head"."""
        return self.node.split("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """The facts that ``gpt2edge inspect`` prints about ``model.onnx``."""

    operators: Mapping[str, int]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    weights: tuple[WeightFacts, ...]

    def layers(self) -> list[tuple[str, str, int]]:
        """Return layers, storage of their weights and bytes; equal neighbours share a row."""
        rows = []
        for layer, weights in groupby(self.weights, key=lambda weight: weight.layer):
            members = list(weights)
            kinds = Counter(f"{weight.operator} {weight.precision}" for weight in members)
            summary = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
            rows.append((layer, summary, sum(weight.bytes for weight in members)))
        merged = []
        for (summary, nbytes), alike in groupby(rows, key=lambda row: row[1:]):
            names = [name for name, _, _ in alike]
            label = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
            merged.append((label, summary, nbytes * len(names)))
        return merged


def read_graph(path: Path) -> GraphFacts:
    """Read a graph without its weights. Needs the export extra."""
    onnx = require("export", "onnx")
    graph = onnx.load(path, load_external_data=False).graph
    counts = Counter(node.op_type for node in graph.node)
    return GraphFacts(
        operators=dict(counts.most_common()),
        inputs=tuple(_tensor(onnx, value) for value in graph.input),
        outputs=tuple(_tensor(onnx, value) for value in graph.output),
        weights=tuple(_weights(onnx, graph)),
    )


def _tensor(onnx: Any, value: Any) -> TensorFacts:
    kind = value.type.tensor_type
    sizes = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
    name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
    return TensorFacts(name=value.name, type=name, shape=tuple(sizes))


def _weights(onnx: Any, graph: Any) -> list[WeightFacts]:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    facts, counted = [], set[str]()
    for node in graph.node:
        held = [tensors[name] for name in node.input if name in tensors]
        matrices = [item for item in held if len(item.dims) >= _WEIGHTED and all(item.dims)]
        if not matrices or not node.name:
            continue
        nbytes = sum(_nbytes(onnx, tensor) for tensor in held if tensor.name not in counted)
        counted |= {tensor.name for tensor in held}
        precision = _precision(onnx, node, matrices)
        facts.append(
            WeightFacts(node=node.name, operator=node.op_type, precision=precision, bytes=nbytes)
        )
    return facts


def _precision(onnx: Any, node: Any, matrices: Sequence[Any]) -> str:
    attributes = {item.name: item.i for item in node.attribute}
    if "bits" in attributes:
        return f"int{attributes['bits']}, blocks of {attributes.get('block_size', '?')}"
    widest = max(matrices, key=lambda tensor: _nbytes(onnx, tensor))
    name: str = onnx.TensorProto.DataType.Name(widest.data_type).lower()
    return {"float": "fp32", "float16": "fp16", "uint8": "int8"}.get(name, name)


def _nbytes(onnx: Any, tensor: Any) -> int:
    length = next((int(item.value) for item in tensor.external_data if item.key == "length"), None)
    if length is not None:
        return length
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    return int(onnx.numpy_helper.to_array(tensor).nbytes)
