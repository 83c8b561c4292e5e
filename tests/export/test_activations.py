"""Every activation, far out on both sides, against its definition in float64."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_opsetid, make_tensor_value_info

from gpt2edge.config import ACTIVATIONS
from gpt2edge.export import reference
from gpt2edge.export.architectures.activations import add_activation
from gpt2edge.export.architectures.gpt2 import IR_VERSION, OPSET
from gpt2edge.graph.builder import Nodes
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.runtime.ort import ort

X = np.concatenate(
    [
        np.linspace(-12, 12, 4801, dtype=np.float32),
        np.array([-1e4, -1e3, -200, -90, -50, -0.0, 1e-20, 50, 90, 200, 1e3, 1e4], np.float32),
    ]
)


def run_graph(kind: str, folder: Path, *, fused: bool) -> NDArray[np.float32]:
    with WeightsFile(folder / "unused") as store:
        nodes = Nodes(store)
        activation = add_activation(nodes, kind, x="x", output="act", fused=fused)
        nodes.add("Identity", [activation], "y")
    assert fused or not {node.domain for node in nodes.nodes} - {""}
    x, y = (make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = make_graph(nodes.nodes, kind, [x], [y], initializer=nodes.initializers)
    opsets = [make_opsetid("", OPSET), make_opsetid("com.microsoft", 1)]
    model = make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"x": X})[0]
    return result


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "standard"])
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_graph_is_the_definition(kind: str, fused: bool, tmp_path: Path) -> None:
    expected = reference.ACTIVATIONS[kind](X.astype(np.float64))
    error = np.abs(run_graph(kind, tmp_path, fused=fused) - expected)
    assert (error <= 1.5e-6 * np.maximum(1, np.abs(expected))).all(), X[error.argmax()]


def test_the_reference_knows_every_activation() -> None:
    assert sorted(reference.ACTIVATIONS) == sorted(ACTIVATIONS)


def test_unknown_activation(tmp_path: Path) -> None:
    with WeightsFile(tmp_path / "unused") as store, pytest.raises(ValueError, match="softmax"):
        add_activation(Nodes(store), "softmax", x="x", output="act")
