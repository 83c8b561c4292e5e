"""Nothing is reported to anyone, and nothing is left in a home but our own cache."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gpt2edge._telemetry import decline, settings
from gpt2edge.model_dir import ModelDir
from tests.cli.running import output_json

STRACE = shutil.which("strace")


def run(home: Path, command: Sequence[object], *tracer: str) -> None:
    """Run Python in an empty folder, with a home of its own and of our environment only PATH."""
    place = home.parent / "place"
    place.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "USERPROFILE": str(home)}
    done = subprocess.run(
        [*tracer, sys.executable, *map(str, command)],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert list(place.iterdir()) == []


def files(home: Path) -> set[str]:
    """Files below ``home``."""
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["generate", "export", "quantize", "doctor"])
def test_a_run_leaves_nothing_but_our_own_cache(
    command: str, tiny_checkpoint: Path, tiny_model: ModelDir, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    arguments: dict[str, list[object]] = {
        "generate": ["-m", tiny_model.path, "-n", 2, "hi"],
        "export": [tiny_checkpoint, tmp_path / "exported"],
        "quantize": [tiny_model.path, tmp_path / "quantized", "--rounding", "compensate"],
        "doctor": [],
    }
    run(home, ["-m", "gpt2edge", command, *arguments[command]])
    assert files(home) <= {".cache/gpt2edge/verified.json"}


@pytest.mark.skipif(STRACE is None, reason="no strace here")
def test_no_socket_is_opened(tiny_model: ModelDir, tmp_path: Path) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    script = (
        "import socket, gpt2edge\n"
        f"gpt2edge.load({str(tiny_model.path)!r}).generate('hi', max_new_tokens=2)\n"
        "socket.socketpair()"  # the one that shows that the tracer sees what there is
    )
    tracer = [str(STRACE), "-f", "-qq", "-e", "trace=socket,socketpair,connect", "-o", str(log)]
    run(home, ["-c", script], *tracer)
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert "socketpair(" in line
    assert files(home) <= {".cache/gpt2edge/verified.json"}


def test_the_hubs_client_is_told_before_it_is_loaded(tmp_path: Path) -> None:
    script = (
        "from gpt2edge._extras import require\n"
        "hub = require('hub', 'huggingface_hub.constants')\n"
        "assert hub.HF_HUB_DISABLE_TELEMETRY"
    )
    (tmp_path / "home").mkdir()
    run(tmp_path / "home", ["-c", script])


def test_a_users_own_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    decline()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert output_json("doctor")["telemetry"] == settings()
    assert settings()["ORT_DISABLE_TELEMETRY"] == "0"
