"""What the TAB key completes."""

import shutil
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from gpt2edge import ModelDir
from gpt2edge.cli.app import cli
from gpt2edge.quant.recipes import RECIPES
from gpt2edge.runtime.ort.providers import requested
from gpt2edge.store import stored_path


def completed(args: list[str], incomplete: str) -> list[str]:
    """Words that the shell is offered."""
    complete = BashComplete(cli, {}, "gpt2edge", "_GPT2EDGE_COMPLETE")
    found = complete.get_completions(args, incomplete)
    return [item.value for item in found if item.type == "plain"]


@pytest.fixture
def store(tiny_model: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of one model in two variants."""
    monkeypatch.setenv("GPT2EDGE_STORE", str(tmp_path))
    for variant in ("fp32", "int8"):
        shutil.copytree(tiny_model.path, stored_path("me/tiny", variant))
    return tmp_path


def test_commands_and_options() -> None:
    assert completed([], "ge") == ["generate"]
    assert completed(["generate"], "--top") == ["--top-k", "--top-p"]
    assert completed(["generate"], "--help") == ["--help", "--help-all"]
    assert completed(["Once upon a time"], "--top-k") == ["--top-k"]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "args",
    [
        ["generate", "-m"],
        ["A prompt", "--model"],
        ["generate", "--draft-model"],
        ["inspect"],
        ["bench"],
        ["evaluate"],
        ["quantize"],
        ["models", "rm"],
    ],
)
def test_models(args: list[str]) -> None:
    assert completed(args, "me/") == ["me/tiny:fp32", "me/tiny:int8"]
    assert completed(args, "you") == []


def test_folders_too() -> None:
    complete = BashComplete(cli, {}, "gpt2edge", "_GPT2EDGE_COMPLETE")
    kinds = [item.type for item in complete.get_completions(["generate", "-m"], "mo")]
    assert kinds[0] == "dir"  # bash keeps what follows it


@pytest.mark.parametrize("args", [["quantize", "--recipe"], ["pull", "--recipe"]])
def test_recipes(args: list[str]) -> None:
    assert completed(args, "") == [*RECIPES, "int4-mixed", "auto"]
    assert completed(args, "int4-d") == ["int4-decode"]


def test_providers_are_names_that_onnxruntime_knows() -> None:
    assert completed(["generate", "--provider"], "open") == ["openvino"]
    known = ["CPU", "CUDA", "OpenVINO", "Dml", "CoreML", "Tensorrt", "Xnnpack"]
    available = [f"{name}ExecutionProvider" for name in known]
    names = completed(["generate", "--provider"], "")
    assert [item.name for item in requested("cpu", names, available)] == available
