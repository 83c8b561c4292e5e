"""Checkpoints as they are found: every fault is one ExportError that names the tensor or file."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.checkpoint import Checkpoint
from tests.checkpoints import SMALL, Tensors, random_tensors, save_tensors, write_checkpoint

SCORES = {**SMALL, "architectures": ["GPT2ForSequenceClassification"]}


def folder_of(tmp_path: Path, tensors: Tensors, **changes: Any) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, **changes}))
    save_tensors(tmp_path, tensors)
    return tmp_path


def refuse(folder: Path, *mentioned: str) -> None:
    pattern = ".*".join(re.escape(part) for part in mentioned)
    with pytest.raises(ExportError, match=f"(?s){pattern}"):
        read_all(folder)


def read_all(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    for name in checkpoint.parameter_names:
        checkpoint.tensor(name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_values_as_stored(dtype: str, shards: int, prefix: str, tmp_path: Path) -> None:
    tensors = write_checkpoint(tmp_path, dtype=dtype, shards=shards, prefix=prefix)
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.parameter_names == list(tensors)
    for name, expected in tensors.items():
        found = checkpoint.tensor(name)
        assert found.dtype == np.float32
        assert np.array_equal(found, expected)


def test_upstream_buffers_are_ignored(tmp_path: Path) -> None:
    tensors = random_tensors(SMALL)
    tensors["transformer.h.0.attn.bias"] = np.ones((1, 1, 64, 64), bool)
    tensors["h.1.attn.masked_bias"] = np.array(-1e4, np.float32)
    Checkpoint.open(folder_of(tmp_path, tensors))


def test_a_copy_of_the_tied_embedding_is_a_copy(tmp_path: Path) -> None:
    tensors = random_tensors(SMALL)
    tensors["lm_head.weight"] = tensors["wte.weight"].copy()
    assert Checkpoint.open(folder_of(tmp_path, tensors)).head.weight == "wte.weight"


def test_double_heads_keep_the_language_model(tmp_path: Path) -> None:
    tensors = random_tensors(SMALL)
    tensors["multiple_choice_head.summary.weight"] = np.ones((1, 32), np.float32)
    Checkpoint.open(folder_of(tmp_path, tensors, architectures=["GPT2DoubleHeadsModel"]))


@pytest.mark.parametrize(
    ("keys", "task", "weight", "size"),
    [
        ({}, "text-generation", "wte.weight", 97),
        ({"architectures": None}, "text-generation", "wte.weight", 97),
        ({"tie_word_embeddings": False}, "text-generation", "lm_head.weight", 97),
        (SCORES, "sequence-classification", "score.weight", 2),
        (
            {"architectures": ["GPT2ForTokenClassification"], "id2label": {"0": "value"}},
            "token-classification",
            "classifier.weight",
            1,
        ),
    ],
)
def test_heads(keys: Any, task: str, weight: str, size: int, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {**SMALL, **keys})
    head = Checkpoint.open(tmp_path).head
    assert (head.task, head.weight, head.size) == (task, weight, size)


def test_head_by_its_tensor_where_config_is_silent(tmp_path: Path) -> None:
    tensors = random_tensors(SCORES)
    folder_of(tmp_path, tensors, architectures=None)
    assert Checkpoint.open(tmp_path).head.task == "sequence-classification"


def missing(tensors: Tensors) -> None:
    del tensors["h.1.mlp.c_fc.bias"]


def extra(tensors: Tensors) -> None:
    tensors["h.2.ln_1.weight"] = np.ones(32, np.float32)


def cross_attention(tensors: Tensors) -> None:
    tensors["transformer.h.0.crossattention.c_attn.weight"] = np.ones((32, 64), np.float32)


def twice(tensors: Tensors) -> None:
    tensors["transformer.wte.weight"] = tensors["wte.weight"].copy()


def misshapen(tensors: Tensors) -> None:
    name = "h.0.attn.c_attn.weight"  # as nn.Linear would keep it
    tensors[name] = np.ascontiguousarray(tensors[name].T)


def not_a_number(tensors: Tensors) -> None:
    tensors["h.0.mlp.c_proj.weight"][3, 4] = np.nan


def infinite(tensors: Tensors) -> None:
    tensors["wpe.weight"] = tensors["wpe.weight"].astype(ml_dtypes.bfloat16)
    tensors["wpe.weight"][63, 31] = np.inf


def beyond_single_precision(tensors: Tensors) -> None:
    tensors["ln_f.weight"] = tensors["ln_f.weight"].astype(np.float64) * 1e200


def whole_numbers(tensors: Tensors) -> None:
    tensors["ln_f.bias"] = np.ones(32, np.int8)


@pytest.mark.parametrize(
    ("damage", "mentioned"),
    [
        (missing, ["'h.1.mlp.c_fc.bias'", "missing"]),
        (extra, ["'h.2.ln_1.weight'"]),
        (cross_attention, ["'h.0.crossattention.c_attn.weight'", "cross-attention"]),
        (twice, ["'wte.weight'", "twice"]),
        (misshapen, ["'h.0.attn.c_attn.weight'", "[96, 32]", "[32, 96]"]),
        (not_a_number, ["'h.0.mlp.c_proj.weight'", "NaN"]),
        (infinite, ["'wpe.weight'", "infinite"]),
        (beyond_single_precision, ["'ln_f.weight'", "infinite"]),
        (whole_numbers, ["'ln_f.bias'", "I8"]),
    ],
)
def test_damaged_tensors(
    damage: Callable[[Tensors], None], mentioned: list[str], tmp_path: Path
) -> None:
    tensors = random_tensors(SMALL)
    damage(tensors)
    refuse(folder_of(tmp_path, tensors), *mentioned)


@pytest.mark.parametrize(
    ("changes", "mentioned"),
    [
        ({"tie_word_embeddings": False}, ["'lm_head.weight'", "missing"]),
        ({"architectures": ["GPT2ForSequenceClassification"]}, ["'score.weight'", "missing"]),
        (
            {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
            ["config.json", "'llama'", "'gpt_neo'"],
        ),
        ({"architectures": ["GPT2ForQuestionAnswering"]}, ["'qa_outputs.weight'", "missing"]),
        ({"n_head": None}, ["config.json", "n_head is absent"]),
        ({"num_attention_heads": 8}, ["config.json", "n_head is 4", "num_attention_heads", "8"]),
        ({"hidden_size": 64}, ["config.json", "n_embd is 32", "hidden_size", "64"]),
        ({"num_hidden_layers": 3}, ["config.json", "n_layer is 2", "num_hidden_layers", "3"]),
        ({"max_position_embeddings": 4}, ["config.json", "n_positions is 64", "4"]),
        ({"per_layer_config": {"0": {"n_head": 2}}}, ["config.json", "per_layer_config"]),
        ({"vocab_size": 98}, ["'wte.weight'", "[97, 32]", "[98, 32]"]),
        ({"n_layer": 3}, ["'h.2.ln_1.weight'", "missing", "n_layer is 3"]),
        ({"n_layer": 2**24}, ["'h.2.ln_1.weight'", "missing"]),
        ({"model_type": "llama"}, ["config.json", "'llama'"]),
        ({"add_cross_attention": True}, ["config.json", "add_cross_attention"]),
        ({"activation_function": "xielu"}, ["config.json", "'xielu'"]),
        ({"n_head": 5}, ["config.json", "n_head 5"]),
    ],
)
def test_configurations_that_do_not_fit(
    changes: dict[str, Any], mentioned: list[str], tmp_path: Path
) -> None:
    refuse(folder_of(tmp_path, random_tensors(SMALL), **changes), *mentioned)


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    keys = {**SCORES, "id2label": {str(i): "x" for i in range(5)}}
    refuse(
        folder_of(tmp_path, random_tensors(SCORES), **keys), "'score.weight'", "[2, 32]", "[5, 32]"
    )


def test_no_folder_and_no_files(tmp_path: Path) -> None:
    refuse(tmp_path / "absent", "absent")
    refuse(tmp_path, "config.json")
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    refuse(tmp_path, "model.safetensors")
    save_tensors(tmp_path, random_tensors(SMALL))
    (tmp_path / "config.json").write_text("{")
    refuse(tmp_path, "config.json", "JSON")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "gpt2.pth"])
def test_a_pickle_with_code_is_not_run(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    (tmp_path / name).write_bytes(b"\x80\x02cos\nsystem\nX\x05\0\0\0false\x85R.")
    refuse(tmp_path, name, "holds code (os.system)")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "gpt2.pth"])
def test_a_pickle_of_protocol_0_is_none_of_torch(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    refuse(tmp_path, name, "torch.save")


def header_of(tmp_path: Path) -> tuple[Path, dict[str, Any], bytes]:
    write_checkpoint(tmp_path)
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return path, json.loads(data[8 : 8 + length]), data[8 + length :]


def write_header(path: Path, header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.mark.parametrize("offsets", [[0, 10**9], [-4, 4], [10**12, 10**12 + 128], [0, 4]])
def test_headers_that_lie(offsets: list[int], tmp_path: Path) -> None:
    path, header, body = header_of(tmp_path)
    header["transformer.ln_f.bias"]["data_offsets"] = offsets
    write_header(path, header, body)
    refuse(tmp_path, str(path))


@pytest.mark.parametrize("shape", [[-32], [2**62, 4], [33], "32"])
def test_shapes_that_lie(shape: Any, tmp_path: Path) -> None:
    path, header, body = header_of(tmp_path)
    header["transformer.ln_f.bias"]["shape"] = shape
    write_header(path, header, body)
    refuse(tmp_path, str(path))


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 5000, -1])
def test_truncated_files(keep: int, tmp_path: Path) -> None:
    path, _, _ = header_of(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    refuse(tmp_path, str(path))


def test_a_file_that_shrinks_after_it_was_opened(tmp_path: Path) -> None:
    path, _, _ = header_of(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(ExportError, match=r"ends inside tensor 'transformer\.wte\.weight'"):
        checkpoint.tensor("wte.weight")


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/passwd", "a\\b", 3, "absent"])
def test_shards_stay_in_the_folder(file: Any, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    keys = json.loads(index.read_text())
    keys["weight_map"]["transformer.ln_f.bias"] = file
    index.write_text(json.dumps(keys))
    refuse(tmp_path, "'transformer.ln_f.bias'")


def test_shards_hold_what_the_index_says(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, shards=2)
    index = tmp_path / "model.safetensors.index.json"
    keys = json.loads(index.read_text())
    first, *_, last = keys["weight_map"]
    keys["weight_map"][first] = keys["weight_map"][last]
    index.write_text(json.dumps(keys))
    refuse(tmp_path, repr(first))
    index.write_text(json.dumps({"weight_map": {}}))
    refuse(tmp_path, index.name, "weight_map")


def test_an_exported_model_is_not_a_checkpoint(tmp_path: Path) -> None:
    for name in ("config.json", "manifest.json", "model.onnx"):
        (tmp_path / name).write_text("{}")
    refuse(tmp_path, "exported model already")
