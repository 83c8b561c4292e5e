"""Hostile torch files: one clear line, nothing run, nothing written, little memory."""

import ast
import json
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.torch_files import read_torch_file
from tests.checkpoints import SMALL
from tests.cli.running import error
from tests.conftest import ROOT
from tests.hostile.torch_files import FLAG, HOSTILE
from tests.test_layout import ROOMS

MEMORY = 60 << 20


@pytest.mark.parametrize("name", HOSTILE)
def test_is_one_line_and_runs_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "hf"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(SMALL))
    HOSTILE[name](source / "pytorch_model.bin")
    line = error("export", source, tmp_path / "out")
    assert len(line) < 400
    assert "pytorch_model.bin" in line
    assert line.isprintable()
    assert not list(tmp_path.rglob(FLAG))
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HOSTILE if "millions" in name or "deep" in name])
def test_needs_little_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    HOSTILE[name](path)
    tracemalloc.start()
    try:
        with suppress(ExportError):
            read_torch_file(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_the_package_imports_no_pickle() -> None:
    """Nor what reads one by itself."""
    readers = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for room in (*(ROOT / room for room in ROOMS), ROOT / "src" / "gpt2edge"):
        for path in room.rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(source)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                assert not {name.split(".")[0] for name in names} & readers, path
            assert "allow_pickle=True" not in source, path
