"""The operators of products in onnxruntime, and the edits that put them into a graph."""

from collections import Counter
from typing import Any, Final

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from gpt2edge import load
from gpt2edge.graph import names
from gpt2edge.model_dir import ModelDir
from gpt2edge.native.library import Library
from gpt2edge.quant import quantize
from gpt2edge.quant.recipes import RECIPES
from gpt2edge.runtime.ort.graph_edits import edit_for_engine, edit_for_kernels
from gpt2edge.runtime.ort.library import ort
from tests.native.products import Around, Kernel, random_weights

N, K, BLOCK = 40, 96, 32
PRODUCTS: Final = ("MatMulNBits", "DynamicQuantizeMatMul")


def _session(kernels: Library, operator: str = "BlockProduct", **changes: Any) -> Any:
    """A session over one operator; ``changes`` replace attributes and constants."""
    columns = operator == "ColumnProduct"
    weights = random_weights(
        np.random.default_rng(0), N, K, 8 if columns else 4, BLOCK, columns=columns
    )
    stored, scales = weights.stored()
    constants: dict[str, Any] = {
        "weights": stored.view(np.int8) if columns else stored,
        "scales": scales,
        "bias": np.ones(N, np.float32),
        "gain": np.ones(K, np.float32),
        "norm_bias": np.ones(K, np.float32),
    }
    attributes: dict[str, Any] = {"K": K, "N": N, "bits": weights.bits, "block_size": BLOCK}
    attributes |= {"activation": 0, "alpha": 0.0, "epsilon": 1e-5}
    attributes |= {name: value for name, value in changes.items() if name in attributes}
    constants |= {name: value for name, value in changes.items() if name in constants}
    fed = [name for name, value in constants.items() if value is None]
    inputs = ["x", *constants, "residual"]
    node = helper.make_node(
        operator,
        inputs,
        ["y"],
        domain="gpt2edge",
        **{name: value for name, value in attributes.items() if value is not None},
    )
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in ("x", "residual", "y")
    ]
    ends[2:2] = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in fed]
    tensors = [from_array(value, name) for name, value in constants.items() if value is not None]
    graph = helper.make_graph([node], "graph", ends[:-1], ends[-1:], tensors)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("gpt2edge", 1)]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(kernels.path))
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _feeds(*leading: int) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(1)
    shapes = {"x": (*leading, K), "residual": (*leading, N)}
    return {name: random.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


@pytest.mark.parametrize("operator", ["BlockProduct", "ColumnProduct"])
@pytest.mark.parametrize("leading", [(), (1,), (7,), (2, 3), (0,), (2, 0), (300,)])
def test_it_computes_what_the_kernels_do(
    kernels: Library, operator: str, leading: tuple[int, ...]
) -> None:
    feeds = _feeds(*leading)
    (found,) = _session(kernels, operator).run(None, feeds)
    assert found.shape == (*leading, N)
    columns = operator == "ColumnProduct"
    weights = random_weights(
        np.random.default_rng(0), N, K, 8 if columns else 4, BLOCK, columns=columns
    )
    around = Around(
        gain=np.ones(K, np.float32),
        norm_bias=np.ones(K, np.float32),
        bias=np.ones(N, np.float32),
        residual=feeds["residual"].reshape(-1, N),
    )
    variant = kernels.functions.gpt2edge_variant()
    expected = Kernel(kernels, variant, weights)(feeds["x"].reshape(-1, K), around)
    assert np.array_equal(found.reshape(-1, N), expected)


HOSTILE: Final[dict[str, dict[str, Any]]] = {
    "no K": {"K": None},
    "K of 0": {"K": 0},
    "negative N": {"N": -5},
    "huge N": {"N": 2**62},
    "another K": {"K": K + 1},
    "another N": {"N": N - 1},
    "5 bits": {"bits": 5},
    "8 bits of 4": {"bits": 8},
    "blocks of 24": {"block_size": 24},
    "blocks of 0": {"block_size": 0},
    "unknown activation": {"activation": 5},
    "negative activation": {"activation": -1},
    "short weights": {"weights": np.zeros((N, 2, BLOCK // 2), np.uint8)},
    "weights of floats": {"weights": np.zeros((N, 3, BLOCK // 2), np.float32)},
    "no weights": {"weights": np.zeros((0, 3, BLOCK // 2), np.uint8)},
    "short scales": {"scales": np.zeros((N, 2), np.float32)},
    "short bias": {"bias": np.zeros(N - 1, np.float32)},
    "long gain": {"gain": np.zeros(K + 1, np.float32)},
    "scales of bytes": {"scales": np.zeros((N, 3), np.uint8)},
    "scales that a caller gives": {"scales": None},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_graph_is_an_error_as_it_loads(kernels: Library, kind: str) -> None:
    with pytest.raises(Exception, match=r"(?i)product|attribute|type|invalid"):
        _session(kernels, **HOSTILE[kind])


@pytest.mark.parametrize(
    ("x", "residual"),
    [((), ()), ((K + 1,), (N,)), ((2, K), (3, N)), ((2, K), (2, N + 1)), ((2, K), ())],
)
def test_hostile_shapes_are_an_error_of_the_call(
    kernels: Library, x: tuple[int, ...], residual: tuple[int, ...]
) -> None:
    feeds = {"x": np.ones(x, np.float32), "residual": np.ones(residual, np.float32)}
    with pytest.raises(Exception, match="product"):
        _session(kernels).run(None, feeds)


# ---- in a model's graph


@pytest.fixture(scope="module", params=RECIPES)
def quantized(
    request: pytest.FixtureRequest, tiny_model: ModelDir, tmp_path_factory: pytest.TempPathFactory
) -> ModelDir:
    """A tiny model by every named recipe."""
    out = tmp_path_factory.mktemp("products") / request.param
    return quantize(tiny_model, out, recipe=request.param)


def test_every_product_becomes_ours_with_what_stands_around_it(quantized: ModelDir) -> None:
    graph = quantized.graph_path.read_bytes()
    edited = edit_for_kernels(graph, "float16")
    assert edited.uses_kernels
    assert edited.batch_invariant
    before = Counter(
        node.op_type for node in onnx.load_from_string(edit_for_engine(graph)).graph.node
    )
    after = Counter(node.op_type for node in onnx.load_from_string(edited.model).graph.node)
    products = before["MatMulNBits"] + before["DynamicQuantizeMatMul"]
    assert after["BlockProduct"] == before["MatMulNBits"]
    assert after["BlockProduct"] + after["ColumnProduct"] == products
    gone = ("FastGelu", "Div", "Mul", "Abs", "ReduceMax", "Max", *PRODUCTS)
    assert not any(after[operator] for operator in gone)
    assert after["Add"] == 1  # of the two embeddings


@pytest.mark.usefixtures("kernels")
def test_logits_are_those_of_onnxruntime_but_for_rounding(
    quantized: ModelDir, tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.random.default_rng(0).integers(0, tiny_model.config.vocab_size, 40).tolist()
    exact = load(tiny_model.path).logits(ids)
    ours = load(quantized.path).logits(ids)
    monkeypatch.setattr("gpt2edge.runtime.ort.session.library", lambda: None)
    theirs = load(quantized.path).logits(ids)
    size = np.linalg.norm(exact)
    assert not np.array_equal(ours, theirs)
    assert np.linalg.norm(ours - exact) <= 1.1 * np.linalg.norm(theirs - exact) + 1e-3 * size


@pytest.mark.parametrize("changes", ["activation", "norm", "residual"])
def test_what_something_else_uses_stays(quantized: ModelDir, changes: str) -> None:
    model = onnx.load(quantized.graph_path, load_external_data=False)
    block = names.Block(0)
    product = names.node(block.part(names.C_FC))
    wanted = {
        "activation": product,
        "norm": names.node(block.part(names.LN_2)),
        "residual": names.node(block.part(names.ATTN_C_PROJ)),
    }[changes]
    model.graph.output.append(helper.make_tensor_value_info(wanted, TensorProto.FLOAT, None))
    edited = onnx.load_from_string(edit_for_kernels(model.SerializeToString(), "float16").model)
    (maker,) = [node for node in edited.graph.node if wanted in node.output]
    assert maker.op_type in ("LayerNormalization", "BlockProduct", "ColumnProduct", "Add")
    made = {name for node in edited.graph.node for name in node.output}
    made |= {tensor.name for tensor in edited.graph.initializer}
    made |= {value.name for value in edited.graph.input}
    assert all(name in made for node in edited.graph.node for name in node.input if name)


@pytest.mark.parametrize("kind", ["zero points", "float arithmetic", "replaceable weights"])
def test_a_product_that_we_do_not_know_stays(quantized: ModelDir, kind: str) -> None:
    model = onnx.load(quantized.graph_path, load_external_data=False)
    node = [item for item in model.graph.node if item.op_type in PRODUCTS][-1]
    attributes = {item.name: item for item in node.attribute}
    if kind == "zero points":
        node.input[3:4] = ["zeros"]
    elif kind == "float arithmetic" and "accuracy_level" in attributes:
        attributes["accuracy_level"].i = 0
    else:
        model.graph.input.append(
            helper.make_tensor_value_info(node.input[1], TensorProto.UINT8, None)
        )
    if kind == "zero points" and len(node.input) < 4:
        node.input.extend(["zeros"] * (4 - len(node.input)))
    edited = edit_for_kernels(model.SerializeToString(), "float16")
    assert not edited.batch_invariant
    found = onnx.load_from_string(edited.model).graph.node
    assert [item.name for item in found if item.op_type in PRODUCTS] == [node.name]


@pytest.mark.usefixtures("kernels")
def test_a_row_is_the_same_in_any_batch_and_chunk(quantized: ModelDir) -> None:
    random = np.random.default_rng(3)
    prompts = [random.integers(0, 90, size).tolist() for size in (3, 17, 9, 30, 1)]
    engine = load(quantized.path)
    alone = [engine.generate(item, max_new_tokens=12, temperature=0).token_ids for item in prompts]
    together = engine.generate_batch(prompts, max_new_tokens=12, temperature=0)
    assert [item.token_ids for item in together] == alone
    logits = engine.logits(prompts[3])
    for size in (1, 7, 16):
        assert np.array_equal(engine.logits(prompts[3][:size]), logits[:size])
