"""Model folders: nothing half-written, nothing of anybody else's replaced."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpt2edge.errors import ModelDirError
from gpt2edge.model_dir import Manifest, ModelDir, staged_folder, write_json, write_manifest

MANIFEST = Manifest(profile="cpu", variant="fp32", task="text-generation", opset=17, ir_version=8)


@contextmanager
def writing(out: Path, word: str = "new", *, overwrite: bool = False) -> Iterator[Path]:
    """Stage a folder that holds a configuration and a file with ``word``."""
    with staged_folder(out, overwrite=overwrite) as folder:
        write_json(folder / "config.json", {"model_type": "gpt2"})
        (folder / "word.txt").write_text(word)
        write_manifest(folder, MANIFEST)
        yield folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with writing(tmp_path / "deep" / "model"):
        assert not (tmp_path / "deep" / "model").exists()
    model = ModelDir.open(tmp_path / "deep" / "model")
    assert set(model.manifest.files) == {"config.json", "word.txt"}
    assert model.nbytes == sum((model.path / name).stat().st_size for name in model.manifest.files)
    assert model.damaged_files() == []
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "model"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_replacing_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with writing(out, "old"):
        pass
    with pytest.raises(ModelDirError, match="pass overwrite=True"), writing(out):
        pass
    assert (out / "word.txt").read_text() == "old"
    with writing(out, overwrite=True):
        pass
    assert (out / "word.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_only_a_model_folder_with_nothing_else_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with writing(out, "old"):
        pass
    (out / "notes.txt").write_text("mine")
    with (
        pytest.raises(ModelDirError, match=r"also holds 'notes\.txt'"),
        writing(out, overwrite=True),
    ):
        pass
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("manifest", ["{}", "not json", '{"name": "a browser extension"}'])
def test_somebody_else_s_manifest_is_not_ours(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "ext").mkdir()
    (tmp_path / "ext" / "manifest.json").write_text(manifest)
    (tmp_path / "ext" / "main.js").write_text("1")
    with (
        pytest.raises(ModelDirError, match="not a model folder"),
        writing(tmp_path / "ext", overwrite=True),
    ):
        pass
    assert (tmp_path / "ext" / "main.js").read_text() == "1"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_appears_meanwhile_stays(tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "model"

    def export() -> None:
        with writing(out, overwrite=overwrite):
            out.mkdir()
            (out / "precious.txt").write_text("mine")

    with pytest.raises(ModelDirError):
        export()
    assert (out / "precious.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_exchange_keeps_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    with writing(out, "old"):
        pass
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == out and self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ModelDirError, match="Input/output error"), writing(out, overwrite=True):
        pass
    assert (out / "word.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path: Path) -> None:
    for name, age in (("old", 90_000), ("young", 60)):
        leftover = tmp_path / f".model.{name}.partial"
        leftover.mkdir()
        then = leftover.stat().st_mtime - age
        os.utime(leftover, (then, then))
    with writing(tmp_path / "model"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.young.partial", "model"]


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    with writing(tmp_path / ("m" * 250)):
        pass
    assert ModelDir.open(tmp_path / ("m" * 250)).damaged_files() == []


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with pytest.raises(ModelDirError, match="no model folder at"):
        ModelDir.open(out)
    with writing(out):
        pass
    with pytest.raises(ModelDirError, match="is a file"):
        ModelDir.open(out / "word.txt")
    (out / "word.txt").write_text("longer than before")
    with pytest.raises(ModelDirError, match=r"word\.txt has 18 bytes; manifest\.json says 3"):
        ModelDir.open(out)
    (out / "word.txt").write_text("wen")
    assert ModelDir.open(out).damaged_files() == ["word.txt"]
    keys = json.loads((out / "manifest.json").read_text())
    keys["files"]["../word.txt"] = keys["files"]["word.txt"]
    (out / "manifest.json").write_text(json.dumps(keys))
    with pytest.raises(ModelDirError, match="not a plain file"):
        ModelDir.open(out)
