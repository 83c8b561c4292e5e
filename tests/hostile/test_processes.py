"""Accidents of the machine: a kill in the middle, a full disk, a folder that cannot be written."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, write_checkpoint
from tests.cli.running import error, output, start
from tests.conftest import ROOT

LARGE: Final = {**SMALL, "n_layer": 12, "n_embd": 256, "vocab_size": 8192}
QUICKLY: Final = ("--recipe", "int8-block", "--rounding", "nearest")
"""Of these tests the writing matters, and not how the weights were rounded before."""


@pytest.fixture(scope="module")
def large_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that takes a moment: 46 MB."""
    folder = tmp_path_factory.mktemp("large")
    write_checkpoint(folder, LARGE)
    return folder


@pytest.fixture(scope="module")
def large_model(large_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, exported."""
    folder = tmp_path_factory.mktemp("large") / "model"
    output("export", large_checkpoint, folder)
    return folder


def _killed_while_writing(folder: Path, *args: object) -> None:
    """Start a command and kill it as soon as its weights begin to appear in ``folder``."""
    process = start(args)
    while process.poll() is None:
        if any(path.stat().st_size for path in folder.glob(".*.partial/*") if path.exists()):
            break
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"


def test_killed_export(large_checkpoint: Path, tmp_path: Path) -> None:
    _killed_while_writing(tmp_path, "export", large_checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    output("export", large_checkpoint, tmp_path / "out")
    assert ModelDir.open(tmp_path / "out").damaged_files() == []


def test_killed_quantize(large_model: Path, tmp_path: Path) -> None:
    args = ("quantize", large_model, tmp_path / "out", *QUICKLY)
    _killed_while_writing(tmp_path, *args)
    assert not (tmp_path / "out").exists()
    output(*args)
    assert ModelDir.open(tmp_path / "out").damaged_files() == []


def _with_little_disk(*args: object) -> "subprocess.CompletedProcess[str]":
    """A command whose files may not grow beyond 100 kB."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, "-m", "gpt2edge", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=limit)


@pytest.mark.parametrize("command", ["export", "quantize"])
def test_full_disk(command: str, large_checkpoint: Path, large_model: Path, tmp_path: Path) -> None:
    source = large_checkpoint if command == "export" else large_model
    recipe = QUICKLY if command == "quantize" else ()
    done = _with_little_disk(command, source, tmp_path / "out", *recipe)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error"))
    assert line == f"Error: cannot write '{tmp_path / 'out'}': File too large"
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that nobody can write here")
@pytest.mark.parametrize("command", ["export", "quantize"])
def test_a_folder_that_cannot_be_written(
    command: str, tiny_checkpoint: Path, tiny_model: ModelDir
) -> None:
    source = tiny_checkpoint if command == "export" else tiny_model.path
    assert "cannot write '/proc/out'" in error(command, source, "/proc/out")


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """All hostile checkpoints and folders in one process, within 200 MB of a harmless one."""
    code = f"""
import resource, sys
from pathlib import Path
from tests.cli.running import invoke
from tests.hostile.checkpoints import HOSTILE as CHECKPOINTS, hostile_checkpoint
from tests.hostile.folders import HOSTILE as FOLDERS, hostile_folder
from gpt2edge.model_dir import ModelDir
folder = Path({str(tmp_path)!r})
invoke("export", "tests/data/tiny", folder / "good")
invoke("generate", "-m", folder / "good", "Once", "-n", 3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number, name in enumerate(CHECKPOINTS):
    invoke("export", hostile_checkpoint(name, folder / f"c{{number}}"), folder / f"out{{number}}")
for number, name in enumerate(FOLDERS):
    (folder / f"f{{number}}").mkdir()
    good = ModelDir.open(folder / "good")
    invoke("generate", "-m", hostile_folder(name, good, folder / f"f{{number}}" / "model"), "Once")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 200e6
