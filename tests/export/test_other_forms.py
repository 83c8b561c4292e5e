"""Checkpoints in other forms than transformers' own: what does not matter is one warning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2edge.errors import ExportError
from gpt2edge.export import export_checkpoint
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, Tensors, random_tensors, save_tensors
from tests.cli.running import start
from tests.export.running import open_session, run

IDS = [5, 1, 7, 7, 0, 96]


def write(folder: Path, tensors: Tensors, keys: Any = SMALL) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(keys))
    save_tensors(folder, tensors)
    return folder


def logits(model: ModelDir) -> Any:
    return run(open_session(model), IDS)[0]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The logits of the checkpoint as transformers saves it."""
    folder = tmp_path_factory.mktemp("plain")
    return logits(export_checkpoint(write(folder / "hf", random_tensors(SMALL)), folder / "out"))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    return [line for line in lines if "no tokenizer" not in line]


OTHER_NAMES = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
    "n_positions": "max_position_embeddings",
}


@pytest.mark.parametrize("names", [*([name] for name in OTHER_NAMES), list(OTHER_NAMES)])
def test_sizes_under_their_other_names(
    names: list[str], expected: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = {OTHER_NAMES[key] if key in names else key: value for key, value in SMALL.items()}
    model = export_checkpoint(write(tmp_path / "hf", random_tensors(SMALL), keys), tmp_path / "out")
    assert np.array_equal(logits(model), expected)
    assert (model.config.n_head, model.config.n_positions) == (4, 64)
    assert not warnings_of(caplog)


def prefixed(prefix: str) -> Tensors:
    tensors = random_tensors(SMALL)
    return {f"{prefix}transformer.{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("prefix", "taken_off"),
    [
        ("_orig_mod.", "'_orig_mod.'"),
        ("module.", "'module.'"),
        ("module._orig_mod.", "'module.', '_orig_mod.'"),
        ("_fsdp_wrapped_module.", "'_fsdp_wrapped_module.'"),
        ("model.", "'model.'"),
        ("base_model.model.", "'base_model.model.'"),
        ("module.pretrained_model.", "'module.', 'pretrained_model.'"),
    ],
)
def test_what_wrapped_the_model_is_taken_off(
    prefix: str, taken_off: str, expected: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "hf", prefixed(prefix))
    assert np.array_equal(logits(export_checkpoint(source, tmp_path / "out")), expected)
    assert warnings_of(caplog) == [
        f"{source}: names of tensors hold {taken_off}, which is taken off"
    ]


@pytest.mark.parametrize("inner", ["transformer._orig_mod.", "transformer.module."])
def test_wrappers_within(inner: str, expected: Any, tmp_path: Path) -> None:
    tensors = {inner + name: tensor for name, tensor in random_tensors(SMALL).items()}
    block = {name.replace("h.1.", "h.1._orig_mod."): tensor for name, tensor in tensors.items()}
    model = export_checkpoint(write(tmp_path / "hf", block), tmp_path / "out")
    assert np.array_equal(logits(model), expected)


def test_two_models_in_one_file(tmp_path: Path) -> None:
    source = write(tmp_path / "hf", {**prefixed("actor."), **prefixed("critic.")})
    with pytest.raises(ExportError, match=r"2 models.*'actor\.'.*'critic\.'"):
        Checkpoint.open(source)


def test_wrapped_and_plain_at_once(tmp_path: Path) -> None:
    source = write(tmp_path / "hf", {**prefixed("module."), **prefixed("")})
    with pytest.raises(ExportError, match="stored twice"):
        Checkpoint.open(source)


def other_name(tensors: Tensors) -> Tensors:
    return {"lm_head.weight" if name == "wte.weight" else name: tensors[name] for name in tensors}


def test_the_tied_embedding_under_its_other_name(
    expected: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "hf", other_name(random_tensors(SMALL)))
    assert np.array_equal(logits(export_checkpoint(source, tmp_path / "out")), expected)
    assert not warnings_of(caplog)


def test_an_untied_head_is_no_embedding(tmp_path: Path) -> None:
    keys = {**SMALL, "tie_word_embeddings": False}
    source = write(tmp_path / "hf", other_name(random_tensors(SMALL)), keys)
    with pytest.raises(ExportError, match=r"'wte\.weight' is missing"):
        Checkpoint.open(source)


def test_a_head_that_is_not_the_embedding_unties_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    untied = {**SMALL, "tie_word_embeddings": False}
    tensors = random_tensors(untied)
    plain = export_checkpoint(write(tmp_path / "plain", tensors, untied), tmp_path / "a")
    assert not warnings_of(caplog)
    model = export_checkpoint(write(tmp_path / "hf", tensors), tmp_path / "b")
    assert np.array_equal(logits(model), logits(plain))
    assert not model.config.tie_word_embeddings
    (line,) = warnings_of(caplog)
    assert "'lm_head.weight' differs from 'wte.weight'" in line


ONES = np.ones((1, 32), np.float32)


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        (
            {"v_head.summary.weight": ONES, "v_head.summary.bias": ONES[0, :1]},
            "tensor 'v_head.summary.bias' (and 1 more) is of another head and left out",
        ),
        ({"score.weight": ONES}, "tensor 'score.weight' is of another head and left out"),
        ({"value_head.weight": ONES.astype(np.int8)}, "tensor 'value_head.weight' is of another"),
        ({"position_ids": np.arange(64)[None]}, None),
        ({"transformer.position_ids": np.arange(64)[None]}, None),
    ],
)
def test_tensors_that_do_not_matter(
    extra: Any, line: str | None, expected: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "hf", {**random_tensors(SMALL), **extra})
    assert np.array_equal(logits(export_checkpoint(source, tmp_path / "out")), expected)
    found = warnings_of(caplog)
    assert len(found) == (line is not None)
    assert not found or f"{source}: {line}" in found[0]


@pytest.mark.parametrize("name", ["rotary_emb.inv_freq", "h.0.attn.lora_A.weight", "embed_ln.bias"])
def test_tensors_that_may_matter_are_refused(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "hf", {**random_tensors(SMALL), name: ONES})
    with pytest.raises(ExportError, match=f"'{name}' belongs to no model"):
        Checkpoint.open(source)


def test_a_classifier_keeps_its_own_head(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = {**SMALL, "architectures": ["GPT2ForSequenceClassification"]}
    tensors = random_tensors(keys)
    more = {"lm_head.weight": tensors["wte.weight"]}
    head = Checkpoint.open(write(tmp_path / "hf", {**tensors, **more}, keys)).head
    assert (head.weight, head.size) == ("score.weight", 2)
    assert "'lm_head.weight' is of another head" in warnings_of(caplog)[0]
    bias = {"score.bias": ONES[0, :2]}
    with pytest.raises(ExportError, match=r"'score\.bias' belongs to no model"):
        Checkpoint.open(write(tmp_path / "biased", {**tensors, **bias}, keys))


def test_the_count_of_labels_wins_over_their_names(tmp_path: Path) -> None:
    keys = {**SMALL, "architectures": ["GPT2ForSequenceClassification"], "num_labels": 2}
    keys["id2label"] = {"0": "a", "1": "b", "2": "c"}
    source = write(tmp_path / "hf", random_tensors({**keys, "id2label": {"0": "", "1": ""}}), keys)
    assert Checkpoint.open(source).head.size == 2


def test_doubles_are_rounded(
    expected: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = {name: tensor.astype(np.float64) for name, tensor in random_tensors(SMALL).items()}
    source = write(tmp_path / "hf", tensors)
    assert np.array_equal(logits(export_checkpoint(source, tmp_path / "out")), expected)
    assert warnings_of(caplog) == [
        f"{source}: {len(tensors)} tensors are stored as F64 and rounded to float32"
    ]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"architectures": ["MyGPT"]},
            "architecture 'MyGPT' is read as a plain GPT-2 for text-generation",
        ),
        (
            {"architectures": ["MyGPT"], "auto_map": {"AutoModel": "my.MyGPT"}},
            "architecture 'MyGPT' is read as a plain GPT-2 for text-generation; its own code "
            "(auto_map) is not run",
        ),
        (
            {"hidden_act": "relu", "layer_norm_eps": 0.1},
            "config.json: hidden_act, layer_norm_eps: no keys of GPT-2's, without effect",
        ),
    ],
)
def test_keys_that_are_not_ours(
    keys: Any, line: str, expected: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "hf", random_tensors(SMALL), {**SMALL, **keys})
    assert np.array_equal(logits(export_checkpoint(source, tmp_path / "out")), expected)
    assert warnings_of(caplog) == [f"{source}: {line}"]


def test_an_unknown_architecture_of_no_model_type(tmp_path: Path) -> None:
    keys = {key: value for key, value in SMALL.items() if key != "model_type"}
    source = write(tmp_path / "hf", random_tensors(SMALL), {**keys, "architectures": ["MyGPT"]})
    with pytest.raises(ExportError, match="'MyGPT' is not one of"):
        Checkpoint.open(source)


def test_the_command_prints_the_warning_on_stderr(tmp_path: Path) -> None:
    source = write(tmp_path / "hf", prefixed("module."))
    stdout, stderr = start(["export", source, tmp_path / "out"]).communicate()
    assert not stdout
    lines = stderr.decode().splitlines()
    assert len(lines) == 3  # no tokenizer either
    assert lines[0] == f"{source}: names of tensors hold 'module.', which is taken off"
    assert "verified" in lines[-1]
