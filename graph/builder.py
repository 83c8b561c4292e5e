"""Graph: ONNX nodes in the order in which they compute, with their weights and constants."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from gpt2edge.graph.tensors import write_tensor
from gpt2edge.graph.weights_file import WeightsFile

MICROSOFT: Final = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""
OPSET: Final = 17  # the first with LayerNormalization
IR_VERSION: Final = 8  # the IR version of opset 17: every onnxruntime since 1.12 reads it


class Branch:
    """One side of an ``If``, filled by ``Graph.branch``."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []

    def graph(self, shape: Sequence[str | int]) -> GraphProto:
        """Make the subgraph; its one output is that of the last node, float32 of ``shape``."""
        output = self.nodes[-1].output[0]
        return make_graph(self.nodes, output, [], [floats(output, shape)])


class Graph:
    """A graph under construction. Weights go to ``store``, constants into the graph.

    Methods that append an operator or a tensor return its name, for use as an input.
    """

    def __init__(self, store: WeightsFile) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._store = store
        self._constants: set[str] = set()
        self._branch: Branch | None = None

    def op(
        self,
        op_type: str,
        *inputs: str,
        name: str | Sequence[str],
        domain: str | None = None,
        **attributes: Any,
    ) -> str:
        """Append an operator; ``name`` names its output or outputs, the first also the node.

        An empty input is an omitted optional input.
        """
        outputs = [name] if isinstance(name, str) else list(name)
        if self._branch is None:
            node_name = outputs[0]
            node = make_node(op_type, inputs, outputs, node_name, domain=domain, **attributes)
            self.nodes.append(node)
        else:
            self._branch.nodes.append(make_node(op_type, inputs, outputs, **attributes))
        return outputs[0]

    @contextmanager
    def branch(self) -> Iterator[Branch]:
        """Collect the operators of a ``with`` block in one side of an ``If``."""
        self._branch = branch = Branch()
        try:
            yield branch
        finally:
            self._branch = None

    def tensor(self, name: str, array: NDArray[Any]) -> str:
        """Append an initializer whose value goes to the store."""
        self.initializers.append(write_tensor(self._store, name, array))
        return name

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Append a small initializer inside the graph, unless one of that name exists."""
        if name not in self._constants:
            self._constants.add(name)
            self.initializers.append(from_array(array, name))
        return name

    def scalar(self, value: float) -> str:
        """Append a constant of shape []: int64 where ``value`` is an int, else float32."""
        dtype = np.int64 if isinstance(value, int) else np.float32
        return self.constant(f"const/{value!r}", np.asarray(value, dtype))

    def ints(self, *values: int) -> str:
        """Append an int64 constant of shape [len(values)]."""
        return self.constant(f"const/{list(values)}", np.asarray(values, np.int64))

    def model(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> ModelProto:
        """Make the model, with the operator sets of its nodes."""
        for node in self.nodes:
            node.domain = node.domain  # writes "" out, as in every folder exported so far
        domains = sorted({"", *(node.domain for node in self.nodes)})
        opsets = [make_opsetid(domain, 1 if domain else OPSET) for domain in domains]
        graph = make_graph(self.nodes, name, inputs, outputs, initializer=self.initializers)
        return make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="gpt2edge"
        )


def floats(name: str, shape: Sequence[str | int]) -> ValueInfoProto:
    """Declare a float32 input or output."""
    return make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def integers(name: str, shape: Sequence[str | int]) -> ValueInfoProto:
    """Declare an int64 input or output."""
    return make_tensor_value_info(name, TensorProto.INT64, list(shape))
