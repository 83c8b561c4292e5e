"""The systems under test: each a worker process in an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.common.fingerprint import ROOT
from gpt2edge._telemetry import decline

PEERS: Final = {
    "llamacpp": ("llamacpp", ("f32", "q8_0", "q4_0")),
    "ctranslate2": ("ct2", ("int8",)),
    "openvino": ("openvino_ir", ("int8", "int4")),
    "optimum": ("optimum_ort", ("fp32", "int8")),
    "pytorch": ("pytorch", ("fp32",)),
}
"""A peer's name, which is that of its environment; its module, and the variants measured."""
PEER_NAMES: Final = tuple(
    f"{peer}:{variant}" for peer, (_, variants) in PEERS.items() for variant in variants
)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How to start one worker. ``label`` is its row; where empty, its own name for itself."""

    command: Sequence[str]
    label: str = ""

    def prepare(self) -> None:
        """Convert the model, where the system has a format of its own."""
        done = subprocess.run(
            [*self.command, "--prepare"], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(self.command)} --prepare failed:\n{done.stderr[-2000:]}")


def engine_system(folder: Path, *, threads: int, label: str = "") -> System:
    """A model folder in gpt2edge, in this very environment."""
    command = worker_command(sys.executable, "gpt2edge_engine", str(folder))
    return System(label=label, command=[*command, "--threads", str(threads)])


def peer_system(name: str, envs: Path, checkpoint: Path, *, threads: int) -> System:
    """A peer's variant, ``openvino:int4``, on the checkpoint; its environment is in ``envs``."""
    peer, _, variant = name.partition(":")
    python = environment_python(envs, peer)
    if python is None:
        raise SystemExit(
            f"no environment for {peer} in {envs}: sh benchmarks/peers/setup.sh {envs} {peer}"
        )
    command = worker_command(python, PEERS[peer][0], str(checkpoint))
    return System(command=[*command, "--variant", variant, "--threads", str(threads)])


def worker_command(python: str | Path, module: str, *arguments: str) -> list[str]:
    """Start a module of ``benchmarks.peers`` with this interpreter; run it in ``ROOT``."""
    return [str(python), "-m", f"benchmarks.peers.{module}", *arguments]


def peer_systems(
    names: Sequence[str] | None, envs: Path, checkpoint: Path, *, threads: int
) -> list[System]:
    """The peers of these names, or all whose environments are built; each with its model ready."""
    if names is None:
        names = [name for name in PEER_NAMES if environment_python(envs, name.partition(":")[0])]
    systems = [peer_system(name, envs, checkpoint, threads=threads) for name in names]
    for system in systems:
        system.prepare()
    return systems


def environment_python(envs: Path, name: str) -> Path | None:
    """The interpreter of environment ``name``, or None where it is not built."""
    places = (envs / name / "bin" / "python", envs / name / "Scripts" / "python.exe")
    return next((place for place in places if place.is_file()), None)


def installed_environment() -> dict[str, str]:
    """The environment, with bytecode kept, as pip keeps it, and with no telemetry of peers."""
    decline()
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


class Worker:
    """A started system: one JSON line out for each JSON line in."""

    def __init__(self, system: System, *options: str) -> None:
        self._command = [*system.command, *options]
        self._process = subprocess.Popen(
            self._command,
            env=installed_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        self.facts = self._answer()
        self.label = system.label or f"{self.facts['system']} {self.facts['variant']}"

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one request: see ``peers/worker.py``."""
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
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
