"""Node order: the output projection is packed first, and nothing else changes."""

import onnx
import pytest

from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.node_order import head_first

GRAPH = (BUNDLED_MODEL / "model.onnx").read_bytes()


def test_the_head_comes_first_and_the_others_stay() -> None:
    before = onnx.load_from_string(GRAPH)
    after = onnx.load_from_string(head_first(GRAPH))
    head = after.graph.node[0]
    assert any(name.startswith("lm_head") for name in head.output)
    before.graph.node.remove(head)
    del after.graph.node[0]
    assert before == after


@pytest.mark.parametrize("damaged", [b"", b"no model at all", GRAPH[:-1], GRAPH[1:], b"\xff" * 99])
def test_what_is_no_model_stays_as_it_is(damaged: bytes) -> None:
    assert head_first(damaged) == damaged


def test_a_model_without_a_head_stays_as_it_is() -> None:
    model = onnx.load_from_string(GRAPH)
    del model.graph.node[10:]
    data = model.SerializeToString()
    assert head_first(data) == data
