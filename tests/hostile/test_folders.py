"""Hostile model folders: one clear line, whichever command opens them."""

from pathlib import Path

import pytest

from gpt2edge.model_dir import ModelDir
from tests.cli.running import error, output
from tests.hostile.folders import HARMLESS, HOSTILE, hostile_folder


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_is_one_line(name: str, tiny_model: ModelDir, tmp_path: Path) -> None:
    folder = hostile_folder(name, tiny_model, tmp_path / "model")
    line = error("generate", "-m", folder, "Once upon", "-n", 3)
    assert len(line) < 700


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_does_no_harm(name: str, tiny_model: ModelDir, tmp_path: Path) -> None:
    folder = hostile_folder(name, tiny_model, tmp_path / "model")
    args = ("Once upon", "-n", 3)
    assert output("generate", "-m", folder, *args) == output(
        "generate", "-m", tiny_model.path, *args
    )


def test_a_context_that_the_graph_does_not_have(tiny_model: ModelDir, tmp_path: Path) -> None:
    folder = hostile_folder("config of a longer context", tiny_model, tmp_path / "model")
    assert "cannot run the model" in error("generate", "-m", folder, "a" * 500, "-n", 200)


def test_checksums_can_be_skipped(tiny_model: ModelDir, tmp_path: Path) -> None:
    folder = hostile_folder("manifest checksum a number", tiny_model, tmp_path / "model")
    assert output("generate", "-m", folder, "--no-verify", "Once", "-n", 3)
    assert f"{folder / 'model.onnx'} is damaged" in error("generate", "-m", folder, "Once", "-n", 3)


def test_a_snapshot_of_a_hub_cache_is_links_to_blobs(tiny_model: ModelDir, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0f3a"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(tiny_model.path.iterdir())):
        (blobs / f"{number:040x}").write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", f"{number:040x}"))
    assert output("generate", "-m", snapshot, "Once", "-n", 3)
