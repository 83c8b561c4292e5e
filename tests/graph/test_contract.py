"""What the exporter writes, the edits find: which nodes each of them takes, and what is left.

An edit that finds nothing leaves a graph that computes the same, only slower: nothing but these
tests would notice.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, Final

import onnx
import pytest
from onnx import GraphProto

from gpt2edge.export import export_checkpoint
from gpt2edge.graph import names
from gpt2edge.graph.names import Block
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import RECIPES, QuantRecipe, quantize
from gpt2edge.runtime.ort.graph_edits import edit_for_engine
from tests.checkpoints import SMALL, write_checkpoint
from tests.graph.conftest import Written
from tests.graph.listing import listing

STRUCTURE: Final = Path(__file__).parent / "structure"
WEIGHTS: Final = "905669458937099783055d0131fa50b5e3d6ca5f864d601cdf77f397a30c1cb2"
INT8_NEAREST: Final = QuantRecipe(name="nearest", bits=8)

# Nodes that leave while a graph is loaded, and those that come out of the branch of the If.
COUNTING: Final = {"mask/lengths", "mask/last", "mask/shape", "mask/width"}
LOADED: Final = {*COUNTING, "seqlens_k", "total_sequence_length", "kept/size", "kept/fed"}
CHOOSING: Final = {"kept/3d", "kept/index", "kept/gathered"}

# Nodes that leave when no Gemm is left: reshapes, and what only they needed.
ENDS: Final = {"embedding/2d", "logits/shape", "shape/batch", "input_ids/shape", "shape/3d"}

CLASSIFIER: Final = {"architectures": ["GPT2ForTokenClassification"], "id2label": {"0": "value"}}
FAMILY: Final[dict[str, dict[str, Any]]] = {
    "tied": {},
    "one_layer": {"n_layer": 1},
    "untied": {"tie_word_embeddings": False},
    "head_bias": {"lm_head_bias": True},
    "padded_heads": {"n_embd": 20},
    "relu": {"activation_function": "relu"},
    "classifier": CLASSIFIER,
}

ALWAYS: Final = {"Add": 5, "LayerNormalization": 5, "Sub": 1}
FUSED: Final = {
    **{**ALWAYS, "Cast": 3, "FastGelu": 2, "GroupQueryAttention": 2},
    **{"If": 1, "ReduceSum": 1, "Size": 1},
}
BLOCKS: Final = {**FUSED, "Gather": 1, "GatherBlockQuantized": 2, "MatMulNBits": 9, "Shape": 1}
OPERATORS: Final[dict[str, dict[str, int]]] = {
    "cpu": {**FUSED, "Concat": 2, "Gather": 4, "Gemm": 9, "Reshape": 6, "Shape": 2},
    "portable": {
        **{**ALWAYS, "Add": 11, "And": 1, "Cast": 1, "Concat": 6, "Gather": 5, "Gemm": 9},
        **{"LessOrEqual": 1, "MatMul": 4, "Mul": 14, "Range": 2, "Reshape": 10, "Shape": 2},
        **{"Softmax": 2, "Split": 2, "Tanh": 2, "Transpose": 10, "Unsqueeze": 2, "Where": 1},
    },
    "int8": {
        **{**BLOCKS, "Abs": 1, "Add": 8, "Div": 3, "DynamicQuantizeMatMul": 6},
        **{"MatMulNBits": 3, "Max": 3, "Mul": 3, "ReduceMax": 3},
    },
    "int8-block": BLOCKS,
    "int8-decode": BLOCKS,
    "int4": BLOCKS,
    "int4-decode": {
        **{**BLOCKS, "GatherBlockQuantized": 3, "MatMul": 1, "ScatterElements": 1},
        **{"Squeeze": 1, "TopK": 1, "Unsqueeze": 1},
    },
}
"""Of a model of two layers."""


def graph_of(model: ModelDir) -> GraphProto:
    return onnx.load(model.graph_path, load_external_data=False).graph


def loaded(model: ModelDir) -> GraphProto:
    return onnx.load_from_string(edit_for_engine(model.graph_path.read_bytes())).graph


def outputs(graph: GraphProto) -> list[str]:
    return [node.output[0] for node in graph.node]


def export(folder: Path, keys: dict[str, Any]) -> ModelDir:
    write_checkpoint(folder / "hf", {**SMALL, **keys})
    return export_checkpoint(folder / "hf", folder / "fp32")


def reshapes_around_attention(n_layer: int) -> set[str]:
    return {f"h.{layer}/attn/{part}" for layer in range(n_layer) for part in ("qkv", "2d")}


@pytest.mark.parametrize("name", FAMILY)
def test_loading_takes_out_what_the_engine_feeds(name: str, tmp_path: Path) -> None:
    model = export(tmp_path, FAMILY[name])
    before, after = outputs(graph_of(model)), outputs(loaded(model))
    assert set(before) - set(after) == LOADED
    assert set(after) - set(before) == CHOOSING
    taken = {value.name for value in loaded(model).input}
    assert {"seqlens_k", "total_sequence_length", "logits_to_keep"} <= taken
    assert "attention_mask" not in taken
    if name != "classifier":
        assert loaded(model).node[0].name == "lm_head"


@pytest.mark.parametrize("name", RECIPES)
def test_loading_takes_the_same_out_of_quantized_graphs(name: str, written: Written) -> None:
    before, after = outputs(graph_of(written[name])), outputs(loaded(written[name]))
    assert set(before) - set(after) == LOADED
    assert set(after) - set(before) == {"kept/index"}  # there are no reshapes around the choice
    first = loaded(written[name]).node[0]
    assert first.name.startswith("lm_head")
    assert first.op_type == "MatMulNBits"


@pytest.mark.parametrize("name", FAMILY)
def test_quantizing_takes_out_the_reshapes(name: str, tmp_path: Path) -> None:
    source = export(tmp_path, FAMILY[name])
    model = quantize(source, tmp_path / "int8", recipe=INT8_NEAREST)
    gone = set(outputs(graph_of(source))) - set(outputs(graph_of(model)))
    reshapes = reshapes_around_attention(source.config.n_layer)
    if name == "classifier":  # its head of few labels stays a Gemm, and what that needs
        assert gone == {*reshapes, "embedding/2d"}
    else:
        assert gone == {*reshapes, *ENDS, "lm_head"}  # the head itself gives the logits


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_out_the_reshapes(name: str, written: Written) -> None:
    gone = set(outputs(graph_of(written["cpu"]))) - set(outputs(graph_of(written[name])))
    assert gone == {*reshapes_around_attention(2), *ENDS, "lm_head"}


@pytest.mark.parametrize("name", ["cpu", "portable", *RECIPES])
def test_operators_of_every_profile_and_recipe(name: str, written: Written) -> None:
    assert Counter(node.op_type for node in graph_of(written[name]).node) == OPERATORS[name]


@pytest.mark.parametrize("name", ["cpu", "portable", "int8", "int4-decode"])
def test_structure(name: str, written: Written) -> None:
    """Node by node. After a change that is meant, write what ``listing`` gives into the file."""
    expected = (STRUCTURE / f"{name}.txt").read_text(encoding="utf-8")
    assert listing(written[name].graph_path) == expected


@pytest.mark.parametrize("profile", ["cpu", "portable"])
def test_float_weights_keep_every_byte(profile: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = export_checkpoint(tiny_checkpoint, tmp_path / "out", profile=profile)
    digest = hashlib.sha256((model.path / "model.onnx_data").read_bytes()).hexdigest()
    assert digest == WEIGHTS


def test_every_text_of_a_recipe_names_a_weight(written: Written) -> None:
    weights = [tensor.name for tensor in graph_of(written["cpu"]).initializer]
    for recipe in RECIPES.values():
        for text in (*recipe.by_row, *recipe.wide, *recipe.exclude):
            assert any(text in weight for weight in weights), f"{recipe.name}: {text}"


def test_every_name_of_a_block_is_in_the_graph(written: Written) -> None:
    """What calibration and comparison read by name, beside what edits take out."""
    found = set(outputs(graph_of(written["cpu"])))
    for block in (Block(0), Block(1)):
        assert {block.qkv, block.attention, block.attention_rows, block.activation} <= found
        assert {block.attention_residual, block.mlp_residual} <= found
        parts = (names.LN_1, names.C_ATTN, names.ATTN_C_PROJ, names.LN_2, names.C_FC)
        assert {names.node(block.part(part)) for part in (*parts, names.MLP_C_PROJ)} <= found
    assert {names.WTE, names.WPE, names.EMBEDDING, names.LN_F, names.LM_HEAD} <= found
