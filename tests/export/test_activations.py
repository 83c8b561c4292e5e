"""Every activation, far out on both sides, against its definition in float64."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2edge.config import ACTIVATIONS
from gpt2edge.export.architectures.activations import activation
from gpt2edge.export.verify import reference
from gpt2edge.graph.builder import Graph, floats
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.runtime.ort.library import ort

X = np.concatenate(
    [
        np.linspace(-12, 12, 4801, dtype=np.float32),
        np.array([-1e4, -1e3, -200, -90, -50, -0.0, 1e-20, 50, 90, 200, 1e3, 1e4], np.float32),
    ]
)


def run_graph(kind: str, folder: Path, *, fused: bool) -> NDArray[np.float32]:
    with WeightsFile(folder / "unused") as store:
        g = Graph(store)
        g.op("Identity", activation(g, kind, "x", name="act", fused=fused), name="y")
    assert fused or not {node.domain for node in g.nodes} - {""}
    model = g.model(kind, [floats("x", ["n"])], [floats("y", ["n"])])
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
        activation(Graph(store), "softmax", "x", name="act")
