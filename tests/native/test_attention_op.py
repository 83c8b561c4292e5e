"""The operator in onnxruntime: the edit that puts it into a graph, and graphs that misuse it."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gpt2edge.graph import names
from gpt2edge.model_dir import ModelDir
from gpt2edge.native.library import Library
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.cache.block_layout import BlockLayout
from gpt2edge.runtime.ort import graph_edits
from gpt2edge.runtime.ort.graph_edits import EditedGraph, edit_for_engine, edit_for_kernels
from gpt2edge.runtime.ort.library import ort

LAYOUT: Final = BlockLayout(n_layer=2, n_head=2, head_dim=16)


@pytest.fixture(params=["bundled", "exported"])
def graph(request: pytest.FixtureRequest, tiny_model: ModelDir) -> bytes:
    """A quantized graph, and one as it was exported."""
    folder = BUNDLED_MODEL if request.param == "bundled" else tiny_model.path
    return (Path(folder) / "model.onnx").read_bytes()


def _with_our_attention(graph: bytes) -> EditedGraph:
    """A graph as it is loaded, with onnxruntime's products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_edits, "with_products", lambda fields: fields)
        return edit_for_kernels(graph, "float16")


def test_every_layer_gets_our_attention_and_nothing_else_changes(graph: bytes) -> None:
    before = onnx.load_from_string(edit_for_engine(graph))
    edited = _with_our_attention(graph)
    layout, after = edited.cache, onnx.load_from_string(edited.model)
    old = [node for node in before.graph.node if node.op_type == "GroupQueryAttention"]
    new = [node for node in after.graph.node if node.domain == "gpt2edge"]
    assert layout is not None
    assert layout.n_layer == len(old) == len(new) > 0
    for number, (ours, theirs) in enumerate(zip(new, old, strict=True)):
        assert (ours.op_type, ours.name) == ("Attention", theirs.output[0])
        inputs = [theirs.input[0], names.KV_CACHE, names.BLOCK_TABLE, names.SEQLENS_K]
        assert (list(ours.input), list(ours.output)) == (inputs, [theirs.output[0]])
        found = {item.name: helper.get_attribute_value(item) for item in ours.attribute}
        known = {item.name: helper.get_attribute_value(item) for item in theirs.attribute}
        expected = {"num_heads": known["num_heads"], "scale": known["scale"]}
        expected |= {"head_dim": layout.head_dim, "layer": number, "cache_type": 1}
        assert found == expected
    others = [node for node in before.graph.node if node not in old]
    assert [node for node in after.graph.node if node not in new] == others
    gone = {name for pair in names.cache(layout.n_layer) for name in pair}
    gone.add(names.TOTAL_SEQUENCE_LENGTH)
    kept = [value for value in before.graph.input if value.name not in gone]
    assert list(after.graph.input)[:-2] == kept
    assert [value.name for value in after.graph.input][-2:] == [names.KV_CACHE, names.BLOCK_TABLE]
    pool = after.graph.input[-2].type.tensor_type
    sizes = [size.dim_value for size in pool.shape.dim]
    assert (pool.elem_type, sizes) == (TensorProto.UINT8, [0, len(old), layout.layer_bytes])
    shown = [value.name for value in before.graph.output if value.name not in gone]
    assert [value.name for value in after.graph.output] == shown
    assert ("gpt2edge", 1) in {(item.domain, item.version) for item in after.opset_import}


def _changed(graph: bytes, kind: str) -> bytes:
    model = onnx.load_from_string(graph)
    node = [item for item in model.graph.node if item.op_type == "GroupQueryAttention"][-1]
    attributes = {item.name: item for item in node.attribute}
    if kind == "fewer keys than queries":
        attributes["kv_num_heads"].i = 1
    elif kind == "rotary":
        attributes["do_rotary"].i = 1
    elif kind == "unknown attribute":
        node.attribute.append(helper.make_attribute("local_window_size", 8))
    elif kind == "no scale":
        node.attribute.remove(attributes["scale"])
    elif kind == "separate keys":
        node.input[1] = node.input[0]
    elif kind == "another past":
        node.input[3] = names.past(0, names.KEY)
    elif kind == "wide heads":
        for value in model.graph.input:
            if names.is_past(value.name):
                value.type.tensor_type.shape.dim[3].dim_value = 264
    changed: bytes = model.SerializeToString()
    return changed


KINDS: Final = (
    *("fewer keys than queries", "rotary", "unknown attribute", "no scale", "separate keys"),
    *("another past", "wide heads"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_that_we_do_not_know_stays_in_every_layer(graph: bytes, kind: str) -> None:
    changed = _changed(graph, kind)
    edited = _with_our_attention(changed)
    assert (edited.cache, edited.uses_kernels, edited.batch_invariant) == (None, False, False)
    assert edited.model == edit_for_engine(changed)


def test_what_is_no_model_stays_as_it_is() -> None:
    for damaged in (b"", b"no model", b"\xff" * 99):
        assert edit_for_kernels(damaged, "float16") == (damaged, None, False, False)


def _session(kernels: Library, **attributes: Any) -> Any:
    """A session over the operator alone."""
    own = {"num_heads": 2, "head_dim": 16, "layer": 1, "cache_type": 0, "scale": 0.25, **attributes}
    inputs = [
        helper.make_tensor_value_info("qkv", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("kv_cache", TensorProto.UINT8, None),
        helper.make_tensor_value_info("block_table", TensorProto.INT32, None),
        helper.make_tensor_value_info("last", TensorProto.INT32, None),
    ]
    attributes = {name: value for name, value in own.items() if value is not None}
    node = helper.make_node(
        "Attention", [item.name for item in inputs], ["out"], domain="gpt2edge", **attributes
    )
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("gpt2edge", 1)]
    graph = helper.make_graph([node], "graph", inputs, [output])
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(kernels.path))
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _feeds(**changes: Any) -> dict[str, Any]:
    feeds = {
        "qkv": np.ones((2, 3, 96), np.float32),
        "kv_cache": np.zeros((4, 2, LAYOUT.layer_bytes), np.uint8),
        "block_table": np.array([[0, 1], [2, 3]], np.int32),
        "last": np.array([2, 20], np.int32),
    }
    return feeds | changes


def test_it_takes_rows_or_a_batch(kernels: Library) -> None:
    session = _session(kernels)
    (batch,) = session.run(None, _feeds())
    (rows,) = session.run(None, _feeds(qkv=np.ones((6, 96), np.float32)))
    assert (batch.shape, rows.shape) == ((2, 3, 32), (6, 32))
    assert np.array_equal(batch.reshape(6, 32), rows)
    empty = _feeds(
        qkv=np.ones((0, 3, 96), np.float32),
        block_table=np.zeros((0, 2), np.int32),
        last=np.zeros(0, np.int32),
    )
    assert session.run(None, empty)[0].shape == (0, 3, 32)


HOSTILE: Final[dict[str, dict[str, Any]]] = {
    "no rank": {"qkv": np.ones((), np.float32)},
    "rank 1": {"qkv": np.ones(96, np.float32)},
    "rank 9": {"qkv": np.ones((1,) * 8 + (96,), np.float32)},
    "narrow": {"qkv": np.ones((2, 3, 95), np.float32)},
    "another batch": {"qkv": np.ones((3, 3, 96), np.float32)},
    "uneven rows": {"qkv": np.ones((5, 96), np.float32)},
    "no rows, tokens": {"last": np.zeros(0, np.int32), "block_table": np.zeros((0, 2), np.int32)},
    "flat pool": {"kv_cache": np.zeros(4096, np.uint8)},
    "narrow pool": {"kv_cache": np.zeros((4, 2, LAYOUT.layer_bytes - 1), np.uint8)},
    "fewer layers": {"kv_cache": np.zeros((4, 1, LAYOUT.layer_bytes), np.uint8)},
    "no blocks": {"kv_cache": np.zeros((0, 2, LAYOUT.layer_bytes), np.uint8)},
    "no layers": {"kv_cache": np.zeros((4, 0, LAYOUT.layer_bytes), np.uint8)},
    "narrow table": {"block_table": np.array([[0], [1]], np.int32)},
    "short table": {"block_table": np.array([[0, 1]], np.int32)},
    "negative block": {"block_table": np.array([[0, 1], [-1, 3]], np.int32)},
    "block behind": {"block_table": np.array([[0, 1], [2, 4]], np.int32)},
    "lengths of rank 2": {"last": np.array([[2, 20]], np.int32)},
    "too few tokens": {"last": np.array([1, 20], np.int32)},
    "least": {"last": np.array([-(2**31), 20], np.int32)},
    "most": {"last": np.array([2, 2**31 - 1], np.int32)},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_hostile_inputs_are_errors(kernels: Library, changes: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        _session(kernels).run(None, _feeds(**changes))


ATTRIBUTES: Final[dict[str, dict[str, Any]]] = {
    "no heads": {"num_heads": 0},
    "negative heads": {"num_heads": -2},
    "very many heads": {"num_heads": 2**62},
    "wide heads": {"head_dim": 2**40},
    "another layer": {"layer": 2},
    "negative layer": {"layer": -1},
    "another type": {"cache_type": 3},
    "a type past an int": {"cache_type": 2**32},
    "absent": {"layer": None},
    "of another kind": {"scale": 1},
}


@pytest.mark.parametrize("changes", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_hostile_attributes_are_errors(kernels: Library, changes: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"Attention|ttribute"):
        _session(kernels, **changes).run(None, _feeds())
