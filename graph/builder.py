"""The nodes and initializers of a graph under construction."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto
from onnx.helper import make_node
from onnx.numpy_helper import from_array

from gpt2edge.graph.weights_file import WeightsFile

MICROSOFT: Final = "com.microsoft"


class Nodes:
    """Appends nodes in order; weights go to ``store``, constants into the graph."""

    def __init__(self, store: WeightsFile) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._store = store
        self._constants: set[str] = set()

    def weight(self, name: str, array: NDArray[np.float32]) -> str:
        """An initializer of this name; returns the name."""
        array = np.ascontiguousarray(array, dtype="<f4")
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        self._store.attach(tensor, array.data)
        self.initializers.append(tensor)
        return name

    def scalar(self, value: float) -> str:
        """A float32 constant of shape ``[]``, stored once."""
        return self.constant(f"const/{value!r}", np.asarray(value, np.float32))

    def integer(self, value: int) -> str:
        """An int64 constant of shape ``[]``, stored once."""
        return self.constant(f"const/{value}", np.asarray(value, np.int64))

    def integers(self, *values: int) -> str:
        """An int64 constant of shape ``[len(values)]``, stored once."""
        return self.constant(f"const/{list(values)}", np.asarray(values, np.int64))

    def add(
        self,
        op_type: str,
        inputs: Sequence[str],
        output: str | Sequence[str],
        *,
        domain: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Append a node, named after its first output; returns that output's name."""
        outputs = [output] if isinstance(output, str) else list(output)
        self.nodes.append(
            make_node(
                op_type, inputs, outputs, name=outputs[0], domain=domain, **(attributes or {})
            )
        )
        return outputs[0]

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """A small initializer inside the graph, stored once; returns its name."""
        if name not in self._constants:
            self._constants.add(name)
            self.initializers.append(from_array(array, name))
        return name
