"""The builder: what it appends, run by onnxruntime."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from gpt2edge.graph.builder import MICROSOFT, Graph, floats, integers
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.runtime.ort.library import ort


@pytest.fixture
def g(tmp_path: Path) -> Iterator[Graph]:
    with WeightsFile(tmp_path / "weights") as store:
        yield Graph(store)


def test_a_branch_is_a_side_of_an_if(g: Graph) -> None:
    positive = g.op("Greater", g.op("ReduceSum", "x", name="sum", keepdims=0), "zero", name="test")
    g.constant("zero", np.asarray(0, np.float32))
    with g.branch() as doubled:
        g.op("Mul", "x", g.scalar(2.0), name="doubled")
    with g.branch() as negated:
        g.op("Neg", "x", name="negated")
    sides = {"then_branch": doubled.graph(["n"]), "else_branch": negated.graph(["n"])}
    g.op("If", positive, name="y", **sides)
    model = g.model("test", [floats("x", ["n"])], [floats("y", ["n"])])
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for x, expected in (([1, 2], [2, 4]), ([1, -2], [-1, 2])):
        assert session.run(None, {"x": np.array(x, np.float32)})[0].tolist() == expected


def test_a_branch_that_fails_leaves_the_graph_outside(g: Graph) -> None:
    def fail() -> None:
        with g.branch():
            g.op("Neg", "x", name="lost")
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    g.op("Neg", "x", name="y")
    assert [node.name for node in g.nodes] == ["y"]


def test_constants_are_stored_once_and_by_type(g: Graph) -> None:
    assert g.scalar(1) == g.scalar(1) == "const/1"
    assert g.scalar(1.0) == "const/1.0"
    assert g.ints(-1, 3) == g.ints(-1, 3) == "const/[-1, 3]"
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in g.initializers}
    assert list(found) == ["const/1", "const/1.0", "const/[-1, 3]"]
    assert [array.dtype for array in found.values()] == [np.int64, np.float32, np.int64]
    assert [array.shape for array in found.values()] == [(), (), (2,)]


def test_a_node_has_the_name_of_its_first_output(g: Graph) -> None:
    assert g.op("Split", "x", name=["left", "right"], axis=1) == "left"
    (node,) = g.nodes
    assert node.name == "left"
    assert list(node.output) == ["left", "right"]


def test_a_model_names_the_operator_sets_of_its_nodes(tmp_path: Path) -> None:
    """ONNX's own among them always, as a graph without its version is refused."""

    def domains(*nodes: str) -> list[str]:
        with WeightsFile(tmp_path / "weights") as store:
            g = Graph(store)
            for domain in nodes:
                g.op("Gelu", "x", name=f"y{domain}", domain=domain)
            return [item.domain for item in g.model("x", [integers("x", [])], []).opset_import]

    assert domains("") == [""]
    assert domains(MICROSOFT, "") == domains(MICROSOFT) == ["", MICROSOFT]
