"""Configurations and checkpoints as people leave them, against what transformers makes of them.

The check at export reads ``config.json`` as the exporter does, and so cannot see a key misread.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2edge.errors import ExportError
from gpt2edge.export import export_checkpoint
from tests.export.running import open_session, run

torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

torch.set_num_threads(1)  # the models are tiny

SIZES = {"n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 64, "vocab_size": 97}
IDS = list(range(3, 43))
TOLERANCE = 1e-4

ODD: dict[str, dict[str, Any]] = {
    "plain": {},
    "one head": {"n_head": 1},
    "many heads": {"n_head": 16},
    "inner": {"n_inner": 50},
    "epsilon": {"layer_norm_epsilon": 0.05},
    "relu": {"activation_function": "relu"},
    "exact gelu": {"activation_function": "gelu"},
    "unscaled": {"scale_attn_weights": False},
    "by layer": {"scale_attn_by_inverse_layer_idx": True},
    "upcast": {"reorder_and_upcast_attn": True},
    "untied": {"tie_word_embeddings": False},
    "ends": {"bos_token_id": 3, "eos_token_id": [5, 6]},
}
Edit = Callable[[dict[str, Any]], dict[str, Any]]


def renamed(*names: tuple[str, str]) -> Edit:
    """Keys under other names."""
    table = dict(names)
    return lambda keys: {table.get(key, key): value for key, value in keys.items()}


def without(*names: str) -> Edit:
    """Keys left out."""
    return lambda keys: {key: value for key, value in keys.items() if key not in names}


def adding(**changes: Any) -> Edit:
    """Keys added or changed."""
    return lambda keys: {**keys, **changes}


HEADS = ("n_head", "num_attention_heads")
LAYERS = ("n_layer", "num_hidden_layers")
WIDTH = ("n_embd", "hidden_size")
CONTEXT = ("n_positions", "max_position_embeddings")

EDITS: dict[str, Edit] = {
    "heads": renamed(HEADS),
    "layers": renamed(LAYERS),
    "width": renamed(WIDTH),
    "context": renamed(CONTEXT),
    "all of them": renamed(HEADS, LAYERS, WIDTH, CONTEXT),
    "both names alike": adding(num_attention_heads=4, hidden_size=32),
    "legacy context": adding(n_ctx=64),
    "another legacy context": adding(n_ctx=16),
    "defaults left out": without(
        "layer_norm_epsilon",
        "activation_function",
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
        "reorder_and_upcast_attn",
        "tie_word_embeddings",
        "n_inner",
        "add_cross_attention",
    ),
    "legacy type": adding(torch_dtype="float16"),
    "type": adding(dtype="bfloat16"),
    "no model type": without("model_type"),
    "no architectures": without("architectures"),
    "another architecture": adding(architectures=["MyGPT"]),
    "other families' keys": adding(hidden_act="relu", layer_norm_eps=0.3, intermediate_size=9),
    "regularization": adding(attn_pdrop=0.9, resid_pdrop=0.9, embd_pdrop=0.9, dropout=0.9),
    "labels": adding(id2label={"0": "a"}, problem_type="regression", num_labels=1),
    "summary": adding(summary_type="mean", summary_activation="tanh", summary_use_proj=False),
    "odd ends": adding(bos_token_id=None, eos_token_id=50256, pad_token_id=-1),
    "decoder": adding(is_decoder=True, use_cache=False, chunk_size_feed_forward=2),
    "task parameters": adding(task_specific_params={"text-generation": {"n_head": 8}}),
    "own code": adding(auto_map={"AutoModelForCausalLM": "my.MyGPT"}),
}


def save(folder: Path, **changes: Any) -> Any:
    """A random model of a configuration of transformers', saved by transformers."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(**{**SIZES, **changes})
    model = transformers.GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():  # upstream's start is too small for a difference to show
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return model


def edit(folder: Path, change: Edit) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def theirs(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


def reloaded(folder: Path) -> Any:
    return transformers.GPT2LMHeadModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def ours(folder: Path, out: Path) -> Any:
    return run(open_session(export_checkpoint(folder, out)), IDS)[0]


def assert_close(found: Any, expected: Any) -> None:
    assert np.abs(found - expected).max() <= TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", ODD)
def test_odd_settings(name: str, tmp_path: Path) -> None:
    model = save(tmp_path / "hf", **ODD[name])
    assert_close(ours(tmp_path / "hf", tmp_path / "out"), theirs(model))


@pytest.mark.parametrize("name", EDITS)
def test_edited_configurations(name: str, tmp_path: Path) -> None:
    save(tmp_path / "hf")
    edit(tmp_path / "hf", EDITS[name])
    expected = theirs(reloaded(tmp_path / "hf"))
    assert_close(ours(tmp_path / "hf", tmp_path / "out"), expected)


def test_the_attribute_map_is_all_there_is() -> None:
    from gpt2edge.config import _OTHER_NAMES

    upstream = transformers.GPT2Config.attribute_map
    assert upstream == {other: name for name, other in _OTHER_NAMES.items()}


def rewritten(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / "model.safetensors"
    tensors = change(safetensors_torch.load_file(path))
    safetensors_torch.save_file({name: t.clone() for name, t in tensors.items()}, path)


WTE, HEAD = "transformer.wte.weight", "lm_head.weight"

LOADED: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "the embedding's other name": (
        {},
        lambda t: {HEAD if name == WTE else name: t[name] for name in t},
    ),
    "a copy of the embedding": ({}, lambda t: {**t, HEAD: t[WTE]}),
    "another head though tied": ({}, lambda t: {**t, HEAD: t[WTE].flip(0)}),
    "another head": ({"tie_word_embeddings": False}, lambda t: t),
    "a value head": (
        {},
        lambda t: {
            **t,
            "v_head.summary.weight": torch.ones(1, 32),
            "v_head.summary.bias": torch.ones(1),
        },
    ),
    "doubles": ({}, lambda t: {name: tensor.double() for name, tensor in t.items()}),
    "halves": ({}, lambda t: {name: tensor.half() for name, tensor in t.items()}),
    "positions": ({}, lambda t: {**t, "transformer.position_ids": torch.arange(64)[None]}),
    "masks": (
        {},
        lambda t: {
            **t,
            "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool),
            "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        },
    ),
    "no prefix": (
        {},
        lambda t: {name.removeprefix("transformer."): tensor for name, tensor in t.items()},
    ),
}


@pytest.mark.parametrize("name", LOADED)
def test_checkpoints_that_transformers_loads(name: str, tmp_path: Path) -> None:
    changes, change = LOADED[name]
    save(tmp_path / "hf", **changes)
    rewritten(tmp_path / "hf", change)
    expected = theirs(reloaded(tmp_path / "hf"))
    assert_close(ours(tmp_path / "hf", tmp_path / "out"), expected)


def test_what_safetensors_save_model_writes(tmp_path: Path) -> None:
    model = save(tmp_path / "hf")
    path = tmp_path / "hf" / "model.safetensors"
    safetensors_torch.save_model(model, path)
    assert WTE not in safetensors_torch.load_file(path)
    assert_close(ours(tmp_path / "hf", tmp_path / "out"), theirs(model))


def test_a_head_alone_is_no_embedding_where_untied(tmp_path: Path) -> None:
    """Transformers goes on with a random embedding, and warns."""
    save(tmp_path / "hf", tie_word_embeddings=False)
    rewritten(tmp_path / "hf", lambda t: {name: t[name] for name in t if name != WTE})
    with pytest.raises(ExportError, match=r"'wte\.weight' is missing"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")


@pytest.mark.parametrize("wrapper", ["compile", "DataParallel"])
def test_wrapped_models(wrapper: str, tmp_path: Path) -> None:
    """Transformers loads random weights here: the oracle is the model before it was saved."""
    model = save(tmp_path / "hf")
    wrapped = torch.compile(model) if wrapper == "compile" else torch.nn.DataParallel(model)
    names = wrapped.state_dict()
    assert all(name.startswith(("_orig_mod.", "module.")) for name in names)
    rewritten(tmp_path / "hf", lambda _: dict(names))
    assert_close(ours(tmp_path / "hf", tmp_path / "out"), theirs(model))
    assert np.abs(theirs(reloaded(tmp_path / "hf")) - theirs(model)).max() > 0.1


@pytest.mark.parametrize("keys", [{"num_labels": 4}, {"id2label": {"0": "a"}, "num_labels": 4}])
def test_numbers_of_labels(keys: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(**SIZES, num_labels=4)
    model = transformers.GPT2ForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path / "hf")
    edit(tmp_path / "hf", lambda read: {**without("id2label", "label2id")(read), **keys})
    assert transformers.GPT2Config.from_pretrained(tmp_path / "hf").num_labels == 4
    with torch.no_grad():
        expected = model.score(model.transformer(torch.tensor([IDS]))[0])[0].numpy()
    assert_close(ours(tmp_path / "hf", tmp_path / "out"), expected)
