"""Models by name: where they are, how they are found, and what a name may be."""

import json
import shutil
from pathlib import Path

import pytest

import gpt2edge
from gpt2edge import ModelDir, store
from gpt2edge.errors import ModelDirError
from tests.cli.running import error, invoke, output, output_json


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.STORE_VARIABLE, str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


@pytest.fixture
def stored(shelf: Path, tiny_model: ModelDir) -> Path:
    for name, variant in (("gpt2", "fp32"), ("someone--tiny", "fp32"), ("someone--tiny", "int8")):
        shutil.copytree(tiny_model.path, shelf / name / variant)
    (shelf / "someone--tiny" / ".int8.x.partial").mkdir()
    (shelf / "a file").touch()
    return shelf


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(store.STORE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert store.store_dir() == tmp_path / "gpt2edge" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")  # to be ignored, says its specification
    monkeypatch.setattr("sys.platform", "linux")
    assert store.store_dir() == Path.home() / ".local" / "share" / "gpt2edge" / "models"
    monkeypatch.setenv(store.STORE_VARIABLE, str(tmp_path / "own"))
    assert store.store_dir() == tmp_path / "own"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("gpt2", ("gpt2", None)),
        ("openai-community/gpt2", ("openai-community/gpt2", None)),
        ("a/b_c.d-1:int8-block", ("a/b_c.d-1", "int8-block")),
        ("", None),
        (".", None),
        ("..", None),
        ("../x", None),
        ("a/../b", None),
        ("a..b", None),
        ("a--b", None),
        ("/etc", None),
        ("a/b/c", None),
        ("a:b:c", None),
        ("a:", None),
        ("a\\b", None),
        ("a\n", None),
        ("ä", None),
        ("x" * 200, None),
    ],
)
def test_references(text: str, parsed: tuple[str, str | None] | None) -> None:
    assert store.parse_reference(text) == parsed


def test_a_name_is_taken_for_a_folder_everywhere(stored: Path, tiny_model: ModelDir) -> None:
    assert ModelDir.open("gpt2").path == stored / "gpt2" / "fp32"
    assert ModelDir.open("someone/tiny:int8").path == stored / "someone--tiny" / "int8"
    assert gpt2edge.load("gpt2").model.manifest == tiny_model.manifest
    assert output("generate", "-m", "someone/tiny:fp32", "-n", 1, "he") != ""
    Path("gpt2").mkdir()
    with pytest.raises(ModelDirError, match=r"no manifest\.json"):
        ModelDir.open("gpt2")  # a folder comes first


@pytest.mark.usefixtures("stored")
def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ModelDirError, match="several variants: give one of someone/tiny:fp32, som"):
        ModelDir.open("someone/tiny")
    with pytest.raises(ModelDirError, match="'gpt2edge pull distilgpt2'"):
        ModelDir.open("distilgpt2")
    with pytest.raises(ModelDirError, match="'gpt2edge pull gpt2 --recipe int4'"):
        ModelDir.open("gpt2:int4")
    assert "pull" not in error("inspect", "no/such/folder")


def test_models(stored: Path) -> None:
    lines = output("models").splitlines()
    assert [line.split()[0] for line in lines] == [
        "model",
        "gpt2:fp32",
        "someone/tiny:fp32",
        "someone/tiny:int8",
    ]
    (stored / "gpt2" / "fp32" / "model.onnx").unlink()
    rows = output_json("models", "list")["models"]
    assert rows[0]["source"].startswith("damaged: ")
    assert output("models", "path", "gpt2").strip() == str(stored / "gpt2" / "fp32")
    shown = json.loads(output("models", "show", "someone/tiny:int8", "--json"))
    assert shown["path"] == str(stored / "someone--tiny" / "int8")
    done = invoke("models", "rm", "gpt2", "someone/tiny:int8")
    assert (done.exit_code, done.stdout) == (0, "")
    assert not (stored / "gpt2").exists()
    assert [row["name"] for row in output_json("models", "list")["models"]] == ["someone/tiny:fp32"]
    assert "no model folder at 'gpt2'" in error("models", "rm", "someone/tiny", "gpt2")
    assert (stored / "someone--tiny" / "fp32").exists()  # all or none


def test_an_empty_store(shelf: Path) -> None:
    done = invoke("models")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"no models in {shelf}" in done.stderr


def test_what_pull_refuses_before_it_asks_anybody(shelf: Path) -> None:
    assert "model name is '../x'; it must be" in error("pull", "../x")
    assert "int3" in error("pull", "gpt2", "--recipe", "int3")
    assert not shelf.exists()
