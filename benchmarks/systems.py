"""The systems under test: each a worker process in an environment of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fingerprint import ROOT

_PEERS: Final = Path(__file__).resolve().parent / "peers"
PEER_SCRIPTS: Final = {"pytorch": "pytorch.py", "llamacpp": "llamacpp.py"}
"""A peer's name, which is that of its environment, and its script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How to start one worker. ``label`` is its column; where empty, its own name for itself."""

    command: Sequence[str]
    label: str = ""


def engine_system(folder: Path, *, threads: int, label: str = "") -> System:
    """A model folder in gpt2edge, in this very environment."""
    script = _PEERS / "gpt2edge_engine.py"
    command = [sys.executable, str(script), str(folder), "--threads", str(threads)]
    return System(label=label, command=command)


def peer_system(name: str, envs: Path, checkpoint: Path, *, threads: int) -> System:
    """A peer on the checkpoint, in the environment ``envs/name``."""
    python = environment_python(envs, name)
    if python is None:
        raise SystemExit(
            f"no environment for {name} in {envs}: sh benchmarks/peers/setup.sh {envs} {name}"
        )
    script = _PEERS / PEER_SCRIPTS[name]
    command = [str(python), str(script), str(checkpoint), "--threads", str(threads)]
    return System(command=command)


def environment_python(envs: Path, name: str) -> Path | None:
    """The interpreter of environment ``name``, or None where it is not built."""
    places = (envs / name / "bin" / "python", envs / name / "Scripts" / "python.exe")
    return next((place for place in places if place.is_file()), None)


class Worker:
    """A started system: one JSON line out for each JSON line in."""

    def __init__(self, system: System) -> None:
        self._command = system.command
        self._process = subprocess.Popen(
            system.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.facts = self._answer()
        self.label = system.label or f"{self.facts['system']} {self.facts['variant']}"

    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> dict[str, Any]:
        """Run one request: see ``peers/worker.py``."""
        assert self._process.stdin is not None
        print(json.dumps({"prompts": prompts, "new": new}), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker ended early: {' '.join(self._command)}")
        answer: dict[str, Any] = json.loads(line)
        return answer
