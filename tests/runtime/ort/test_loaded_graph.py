"""The graph as it is loaded: fewer inputs to make, the projection first, and the same numbers."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from gpt2edge import Engine
from gpt2edge.errors import ModelDirError, ProviderError
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.ort import session
from gpt2edge.runtime.ort.graph_edits import calls_itself, edit_for_engine
from tests.conftest import ROOT

LENGTHS = ("seqlens_k", "total_sequence_length")
GRAPH = (BUNDLED_MODEL / "model.onnx").read_bytes()
COUNTED = frozenset([*(f"mask/{part}" for part in ("lengths", "last", "shape", "width")), *LENGTHS])


@pytest.fixture(params=["bundled", "exported"])
def folder(request: pytest.FixtureRequest, tiny_model: ModelDir) -> Path:
    """A quantized model, and one as it was exported."""
    return BUNDLED_MODEL if request.param == "bundled" else tiny_model.path


def test_lengths_come_in_and_positions_are_always_chosen(folder: Path) -> None:
    before = onnx.load_from_string((folder / "model.onnx").read_bytes()).graph
    after = onnx.load_from_string(edit_for_engine((folder / "model.onnx").read_bytes())).graph
    (asking,) = (node for node in before.node if node.op_type == "If")
    (choosing,) = (part.g for part in asking.attribute if part.name == "then_branch")
    choosing.node[-1].output[0] = asking.output[0]
    gone = {*COUNTED, "kept/size", "kept/fed", "kept"}
    kept = [node for node in before.node if node.output[0] not in gone]
    expected = [*kept, *choosing.node]
    assert sorted(map(str, after.node)) == sorted(map(str, expected))
    names = [value.name for value in before.input if value.name != "attention_mask"]
    assert [value.name for value in after.input] == [
        *names,
        *LENGTHS,
    ]
    types = [value.type.tensor_type for value in after.input[-2:]]
    assert [kind.elem_type for kind in types] == [onnx.TensorProto.INT32] * 2
    assert [len(kind.shape.dim) for kind in types] == [1, 0]
    assert before.initializer == after.initializer
    *outputs, hidden = after.output
    assert list(before.output) == outputs
    assert hidden.name == "ln_f"


def test_the_head_comes_first_and_the_others_stay_in_order() -> None:
    before = [node.output[0] for node in onnx.load_from_string(GRAPH).graph.node]
    head, *others = (
        node.output[0] for node in onnx.load_from_string(edit_for_engine(GRAPH)).graph.node
    )
    assert head.startswith("lm_head")
    assert [name for name in others if name in before] == [
        name for name in before if name in others
    ]


@pytest.mark.usefixtures("without_kernels")
def test_the_logits_are_the_file_s_to_the_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a graph that is not ours in every part, which takes a mask."""
    ids = list(range(40))

    def logits() -> list[np.ndarray]:
        with Engine(folder) as engine:
            decoder = engine.decoder(rows=3, max_length=50)
            found = [decoder.prefill(1, ids[:20]), *decoder.prefill_all(0, ids)]
            decoder.cache.fork(0, [1], stop=7)
            decoder.cache.truncate(0, 33)
            decoder.prefill(2, ids[5:9])
            for rows in (3, 1, 2):
                found.append(decoder.decode([4] * rows).copy())
            return found

    loaded = logits()
    monkeypatch.setattr(session, "edit_for_engine", lambda model: model)
    with Engine(folder) as engine:
        assert not engine._session.takes_lengths
    for ours, file_s in zip(loaded, logits(), strict=True):
        assert np.array_equal(ours, file_s)


@pytest.mark.parametrize("damaged", [b"", b"no model at all", GRAPH[:-1], GRAPH[1:], b"\xff" * 99])
def test_what_is_no_model_stays_as_it_is(damaged: bytes) -> None:
    assert edit_for_engine(damaged) == damaged


@pytest.mark.parametrize("output", ["mask/last", "kept/size"])
def test_an_operator_that_the_exporter_did_not_write_stays(output: str) -> None:
    """Else a damaged graph would run as if it were whole."""
    model = onnx.load_from_string(GRAPH)
    (node,) = (node for node in model.graph.node if node.output[0] == output)
    node.op_type = "Damaged"
    after = onnx.load_from_string(edit_for_engine(model.SerializeToString()))
    assert "Damaged" in {node.op_type for node in after.graph.node}


@pytest.mark.parametrize("missing", ["mask/last", "kept", "lm_head", ""])
def test_parts_that_the_exporter_did_not_write_stay(missing: str) -> None:
    """A graph without one of the nodes that are looked for, or without any."""
    model = onnx.load_from_string(GRAPH)
    nodes = [node for node in model.graph.node if missing and missing not in node.output[0]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    after = onnx.load_from_string(edit_for_engine(model.SerializeToString())).graph
    names = {node.output[0] for node in after.node}
    left = names ^ {node.output[0] for node in nodes}
    assert all(name.startswith("kept/") or name in COUNTED for name in left)
    takes_mask = "attention_mask" in {value.name for value in after.input}
    assert takes_mask == ("mask/lengths" in names or not names)


def _functions(**calls: tuple[str, ...]) -> bytes:
    """A model of functions in the domain "own", each with the operators that it calls."""
    model = onnx.ModelProto()
    for name, operators in calls.items():
        nodes = [onnx.helper.make_node(part, ["x"], ["y"], domain="own") for part in operators]
        branch = onnx.helper.make_graph(nodes, "branch", [], [])
        within = onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch)
        plain = onnx.helper.make_node(name, ["x"], ["y"])  # the standard operator of that name
        opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("own", 1)]
        function = onnx.helper.make_function("own", name, ["x"], ["y"], [plain, within], opsets)
        model.functions.append(function)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (_functions(Gelu=("Gelu",)), True),
        (_functions(A=("B",), B=("C", "D"), C=("A",), D=()), True),
        (_functions(A=("B",), B=("C",), C=("C",)), True),
        (_functions(A=("B", "C"), B=("C",), C=(), Gelu=("Erf",)), False),
        (_functions(Gelu=()), False),
        (GRAPH, False),
        (b"\xff" * 99, False),
        (b"", False),
    ],
)
def test_functions_that_call_themselves_are_found(model: bytes, expected: bool) -> None:
    """onnxruntime before 1.24 crashes on one."""
    assert calls_itself(model) is expected


def test_a_function_that_calls_itself_is_refused_before_it_can_crash(
    tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_CRASHES_ON_CYCLES", True)
    assert Engine(tiny_model.path).generate("a", max_new_tokens=1).token_ids
    monkeypatch.setattr(session, "calls_itself", lambda _: True)
    with pytest.raises(ModelDirError, match="a function in it calls itself"):
        Engine(tiny_model.path)


@pytest.mark.parametrize(
    ("python", "advice"),
    [
        ((3, 10, 13), "Python 3.10 has no newer one than 1.23, so use Python 3.11 or newer, or"),
        ((3, 11, 0), "upgrade it, or"),
    ],
)
def test_who_lacks_an_int8_cache_gets_advice_that_can_be_followed(
    python: tuple[int, ...], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2edge.runtime.ort.session.ort.__version__", "1.23.2")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", python)
        with pytest.raises(ProviderError, match=f"1.23.2: {advice} quantize with a float32"):
            session.require_int8_cache()


def test_windows_need_a_newer_onnxruntime_only_in_profile_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neo = ROOT / "tests" / "data" / "relatives" / "gpt_neo"
    monkeypatch.setattr("gpt2edge.runtime.ort.session.ort.__version__", "1.23.2")
    with pytest.raises(ProviderError, match=r"needs onnxruntime 1\.24 or newer.*1\.23\.2"):
        export_checkpoint(neo, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    Engine(export_checkpoint(neo, tmp_path / "portable", profile="portable").path)
