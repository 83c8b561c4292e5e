"""Hostile checkpoints: one clear line, nothing written, no traceback."""

from pathlib import Path

import pytest

from tests.cli.running import error, invoke
from tests.hostile.checkpoints import HOSTILE, hostile_checkpoint

HARMLESS = {"tokenizer a pipe", "tokenizer endless", "weights in doubles"}
"""What is no regular file is no tokenizer: the model works on token ids, and a warning says so.
Doubles are rounded, and another says so."""


@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - HARMLESS))
def test_is_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    source = hostile_checkpoint(name, tmp_path / "hf")
    line = error("export", source, tmp_path / "out")
    assert len(line) < 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf"]


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_is_a_warning(name: str, tmp_path: Path) -> None:
    result = invoke("export", hostile_checkpoint(name, tmp_path / "hf"), tmp_path / "out")
    assert result.exit_code == 0
    assert not (tmp_path / "out" / "tokenizer.json").exists()
