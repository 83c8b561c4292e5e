"""From folder to folder: what is written, what is verified, what a failure leaves behind."""

import errno
import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError, MissingExtraError, ModelDirError, ParityError
from gpt2edge.export import export_checkpoint
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.verify import parity as verify
from gpt2edge.export.verify import reference
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, save_tensors, write_checkpoint
from tests.export.running import SORTER, TOY_CHAT, greedy, open_session, run

TINY = Path(__file__).parents[1] / "data" / "tiny"
KEYS = {**SMALL, "_name_or_path": "somewhere", "task_specific_params": {"x": 1}}


def test_the_model_folder(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf", KEYS)
    (tmp_path / "hf" / "generation_config.json").write_text('{"temperature": 0.5}')
    model = export_checkpoint(tmp_path / "hf", tmp_path / "out")
    assert model.path == tmp_path / "out"
    assert json.loads((model.path / "config.json").read_text()) == KEYS
    assert model.generation_config == {"temperature": 0.5}
    assert model.tokenizer_path is None
    assert sorted(model.manifest.files) == [
        "config.json",
        "genai_config.json",
        "generation_config.json",
        "model.onnx",
        "model.onnx_data",
    ]
    assert model.damaged_files() == []
    manifest = model.manifest
    assert (manifest.profile, manifest.variant, manifest.source) == ("cpu", "fp32", "hf")
    assert (manifest.task, manifest.recipe) == ("text-generation", None)
    assert manifest.tool_versions["onnx"] == onnx.__version__
    assert [path.name for path in tmp_path.iterdir()] in (["hf", "out"], ["out", "hf"])


def test_the_tiny_checkpoint_of_the_repository(tmp_path: Path) -> None:
    model = export_checkpoint(TINY, tmp_path / "out")
    assert model.tokenizer_path is not None
    assert model.tokenizer_path.read_bytes() == (TINY / "tokenizer.json").read_bytes()
    assert model.nbytes < 300_000


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    first = export_checkpoint(tmp_path / "hf", tmp_path / "a")
    assert first.manifest == export_checkpoint(tmp_path / "hf", tmp_path / "b").manifest


@pytest.mark.parametrize(
    "keys",
    [
        {"eos_token_id": "a"},
        {"max_new_tokens": "x"},
        {"max_new_tokens": -5},
        {"do_sample": True, "top_p": 2},
        {"do_sample": True, "top_k": 5.5},
        {"do_sample": True, "temperature": "warm"},
        {"repetition_penalty": -1},
    ],
)
def test_settings_that_would_not_load_are_refused(keys: dict[str, Any], tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    (tmp_path / "hf" / "generation_config.json").write_text(json.dumps(keys))
    name = next(key for key in keys if key != "do_sample")
    with pytest.raises(ExportError, match=rf"hf: generation_config\.json: {name} is"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_no_json_holds_is_not_copied(name: str, number: float, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    (tmp_path / "hf" / name).write_text(json.dumps({**SMALL, "dropout": [number]}))
    with pytest.raises(ExportError, match=rf"{name} holds NaN or Infinity"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")


@pytest.mark.parametrize("name", ["o" * 250, "\u00f6" * 125])
def test_the_longest_name_that_a_folder_may_have(name: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    export_checkpoint(tmp_path / "hf", tmp_path / name)
    assert export_checkpoint(tmp_path / "hf", tmp_path / name, overwrite=True).path.name == name


def test_an_existing_folder_is_replaced_only_on_request(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    export_checkpoint(tmp_path / "hf", tmp_path / "out")
    with pytest.raises(ModelDirError, match="overwrite=True"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")
    write_checkpoint(tmp_path / "hf", {**SMALL, "n_layer": 1})
    export_checkpoint(tmp_path / "hf", tmp_path / "out", overwrite=True)
    assert ModelDir.open(tmp_path / "out").config.n_layer == 1


def test_the_checkpoint_itself_is_never_replaced(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    with pytest.raises(ModelDirError, match="not a model folder"):
        export_checkpoint(tmp_path / "hf", tmp_path / "hf", overwrite=True)
    assert Checkpoint.open(tmp_path / "hf")


def wrong_scale(self: ModelConfig, layer: int) -> float:
    return float(self.head_dim**-0.5) * (1.02 if layer == 1 else 1)


def broken_step(self: Any, token_ids: Any, past: int) -> Any:
    logits = real_step(self, token_ids, past)
    return logits + (0.01 if past else 0)


real_step = verify._Stepper.step


@pytest.mark.parametrize(
    ("target", "name", "fault", "phase"),
    [
        (ModelConfig, "attention_scale", wrong_scale, ""),
        (verify._Stepper, "step", broken_step, "decode"),
    ],
)
def test_disagreement_leaves_nothing(
    target: Any, name: str, fault: Any, phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "hf")
    monkeypatch.setattr(target, name, fault)
    with pytest.raises(ParityError, match=f"differ from the reference.*{phase}"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_disagreement_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "hf")
    before = export_checkpoint(tmp_path / "hf", tmp_path / "out")
    monkeypatch.setattr(ModelConfig, "attention_scale", wrong_scale)
    with pytest.raises(ParityError):
        export_checkpoint(tmp_path / "hf", tmp_path / "out", overwrite=True)
    assert ModelDir.open(tmp_path / "out") == before
    assert before.damaged_files() == []


def test_not_a_number_is_a_disagreement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "hf")
    step = verify._Stepper.step
    monkeypatch.setattr(verify._Stepper, "step", lambda *a: np.full_like(step(*a), np.nan))
    with pytest.raises(ParityError, match="nan"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")


def test_a_bad_weight_found_late_leaves_nothing(tmp_path: Path) -> None:
    tensors = write_checkpoint(tmp_path / "hf", prefix="")
    tensors["ln_f.bias"][0] = np.inf
    save_tensors(tmp_path / "hf", tensors)
    with pytest.raises(ExportError, match=r"'ln_f\.bias'"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path / "hf")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(WeightsFile, "attach", full)
    with pytest.raises(ModelDirError, match="No space left"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize("n_positions", [1, 2, 5])
def test_very_short_contexts(n_positions: int, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf", {**SMALL, "n_positions": n_positions})
    assert export_checkpoint(tmp_path / "hf", tmp_path / "out").config.n_positions == n_positions


def test_sorter_sorts_every_input(shared_data: Path, tmp_path: Path) -> None:
    model = export_checkpoint(shared_data / SORTER, tmp_path / "out")
    session = open_session(model)
    for letters in product(range(3), repeat=6):
        assert greedy(session, letters, 6) == sorted(letters)


def test_toy_chat_is_the_reference(shared_data: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(shared_data / TOY_CHAT)
    session = open_session(export_checkpoint(checkpoint.path, tmp_path / "out"))
    ids = np.random.default_rng(3).integers(0, 4096, 190).tolist()
    hidden, _ = reference.forward(checkpoint.config, checkpoint.tensor, ids)
    expected = reference.logits(hidden, checkpoint.tensor, "lm_head.weight", "lm_head.bias")
    found, _ = run(session, ids)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    import gpt2edge.export

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"run (uv )?pip install .*\[export\]"):
        importlib.reload(gpt2edge.export)
