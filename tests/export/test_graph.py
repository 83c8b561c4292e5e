"""The graph, run by onnxruntime, against the numpy reference; and its shape on disk."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gpt2edge.export import export_checkpoint
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.verify import reference
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, write_checkpoint
from tests.export.configurations import CASES
from tests.export.running import open_session, run

TOLERANCE = 5e-5


def export(tmp_path: Path, keys: Any = SMALL, **options: Any) -> tuple[Checkpoint, ModelDir]:
    write_checkpoint(tmp_path / "hf", keys, **options)
    return Checkpoint.open(tmp_path / "hf"), export_checkpoint(tmp_path / "hf", tmp_path / "out")


def reference_logits(checkpoint: Checkpoint, ids: list[int]) -> NDArray[Any]:
    """[n, size] in float64."""
    weights = double(checkpoint)
    hidden, _ = reference.forward(checkpoint.config, weights, ids)
    return reference.logits(hidden, weights, checkpoint.head.weight, checkpoint.head.bias)


def double(checkpoint: Checkpoint) -> Callable[[str], NDArray[Any]]:
    return cache(lambda name: checkpoint.tensor(name).astype(np.float64))


@pytest.mark.parametrize("name", CASES)
def test_prefill_append_and_decode_are_the_reference(name: str, tmp_path: Path) -> None:
    keys, options = CASES[name]
    checkpoint, model = export(tmp_path, keys, **options)
    session = open_session(model)
    ids = np.random.default_rng(1).integers(0, keys["vocab_size"], 40).tolist()
    expected = reference_logits(checkpoint, ids)
    found, past = run(session, ids[:20])
    pieces = [found]
    for start, end in [(20, 33), *((i, i + 1) for i in range(33, 40))]:
        found, past = run(session, ids[start:end], past)
        pieces.append(found)
    assert np.abs(np.concatenate(pieces) - expected).max() <= TOLERANCE


def test_only_the_wanted_positions(tmp_path: Path) -> None:
    _, model = export(tmp_path)
    session = open_session(model)
    everything, _ = run(session, [5, 6, 7, 8])
    chosen, _ = run(session, [5, 6, 7, 8], keep=[3, 1])
    assert np.array_equal(chosen, everything[[3, 1]])


def test_ragged_rows_are_each_row_alone(tmp_path: Path) -> None:
    _, model = export(tmp_path)
    session = open_session(model)
    rows = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10]]
    feeds = {
        "input_ids": np.array([row + [0] * (5 - len(row)) for row in rows]),
        "attention_mask": np.array([[1] * len(row) + [0] * (5 - len(row)) for row in rows]),
        "position_ids": np.tile(np.arange(5), (3, 1)),
        "logits_to_keep": np.array([[len(row) - 1] for row in rows]),
    }
    for value in session.get_inputs()[3:]:
        feeds[value.name] = np.zeros((3, value.shape[1], 0, value.shape[3]), np.float32)
    logits = session.run(["logits"], feeds)[0]
    for row, found in zip(rows, logits, strict=True):
        assert np.array_equal(found, run(session, row, keep=[len(row) - 1])[0])


def test_inputs_and_outputs_have_optimums_names(tmp_path: Path) -> None:
    _, model = export(tmp_path)
    session = open_session(model)
    cached = [f"{i}.{part}" for i in range(2) for part in ("key", "value")]
    assert [value.name for value in session.get_inputs()] == [
        "input_ids",
        "attention_mask",
        "position_ids",
        *(f"past_key_values.{name}" for name in cached),
    ]
    assert [value.name for value in session.get_overridable_initializers()] == ["logits_to_keep"]
    assert session.get_outputs()[0].shape == ["batch_size", "sequence_length", 97]
    assert [value.name for value in session.get_outputs()[1:]] == [f"present.{n}" for n in cached]
    assert session.get_outputs()[1].shape == [
        "batch_size",
        4,
        "past_sequence_length + sequence_length",
        8,
    ]


def test_the_graph_is_fused_and_readable(tmp_path: Path) -> None:
    checkpoint, model = export(tmp_path)
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    counts = Counter(node.op_type for node in graph.node)
    assert counts["GroupQueryAttention"] == 2
    assert counts["FastGelu"] == 2
    assert counts["Gemm"] == 2 * 4 + 1
    assert counts["LayerNormalization"] == 2 * 2 + 1
    assert not {"MatMul", "Transpose", "Softmax", "Erf", "Tanh", "SkipLayerNormalization"} & {
        *counts
    }
    assert {"h.0/attn/c_attn", "h.1/mlp/act", "ln_f", "lm_head"} <= {n.name for n in graph.node}
    weights = [tensor.name for tensor in graph.initializer if tensor.data_type == 1]
    assert weights == checkpoint.parameter_names  # the tied embedding once


def test_every_onnxruntime_since_124_reads_it(tmp_path: Path) -> None:
    _, model = export(tmp_path)
    onnx.checker.check_model(model.graph_path)
    proto = onnx.load(model.graph_path, load_external_data=False)
    assert proto.ir_version == model.manifest.ir_version == 8
    assert {entry.domain: entry.version for entry in proto.opset_import} == {
        "": model.manifest.opset,
        "com.microsoft": 1,
    }
    assert model.manifest.opset == 17


def test_the_files_are_as_large_as_the_parameters(tmp_path: Path) -> None:
    keys = {**SMALL, "n_embd": 512, "n_head": 8, "vocab_size": 4000}
    tensors = write_checkpoint(tmp_path / "hf", keys)
    model = export_checkpoint(tmp_path / "hf", tmp_path / "out")
    parameter_bytes = sum(tensor.nbytes for tensor in tensors.values())
    assert parameter_bytes <= model.nbytes <= 1.01 * parameter_bytes


def test_large_weights_begin_on_a_page(tmp_path: Path) -> None:
    _, model = export(tmp_path, {**SMALL, "n_embd": 512, "n_head": 8})
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    external = [
        {entry.key: entry.value for entry in tensor.external_data} for tensor in graph.initializer
    ]
    large = [int(e["offset"]) for e in external if e and int(e["length"]) >= 1 << 20]
    small = [int(e["offset"]) for e in external if e and int(e["length"]) < 1 << 20]
    assert large
    assert not any(offset % 4096 for offset in large)
    assert small
    assert not any(offset % 64 for offset in small)
