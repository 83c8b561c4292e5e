"""What a result row says about the machine and the code that made it."""

import argparse
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from gpt2edge.runtime.system.cpu import cpu_flags, cpu_name
from gpt2edge.runtime.system.threads import allowed_cpus, cgroup_quota, physical_cores

ROOT: Final = Path(__file__).resolve().parents[2]
DIRTY: Final = "-dirty"
_NO_CODE: Final = (":!*.md", ":!benchmarks/results")
_FLAGS: Final = ("avx2", "fma", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_tile")
_ARM_FLAGS: Final = ("asimd", "asimddp", "i8mm", "bf16", "sve")


def provenance(command: str, threads: int) -> dict[str, Any]:
    """The part of a row that says where it comes from."""
    return {
        "command": command,
        "threads": threads,
        "test_time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "git_commit": git_commit(),
        "machine": machine(),
        "versions": versions("gpt2edge", "onnxruntime", "numpy", "onnx"),
    }


def machine() -> dict[str, Any]:
    """CPU, cores, governor, memory, system, Python."""
    flags = cpu_flags() or frozenset()
    return {
        "cpu": cpu_name(),
        "cpu_features": [flag for flag in (*_FLAGS, *_ARM_FLAGS) if flag in flags],
        "cores": len(physical_cores(allowed_cpus())),
        "cgroup_quota": cgroup_quota(),
        "governor": _governor(),
        "memory_bytes": _memory(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


def git_commit(root: Path = ROOT) -> str | None:
    """The commit of the working tree, with ``-dirty`` where code differs from it; None without git.

    Documents and published rows are no code: one publication does not spoil the next one.
    """

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        return done.stdout

    try:
        commit = git("rev-parse", "--short=12", "HEAD").strip()
        changes = git("status", "--porcelain", "--untracked-files=all", "--", ".", *_NO_CODE)
    except (OSError, subprocess.CalledProcessError):
        return None
    code = [line for line in changes.splitlines() if line[:2] != "??" or line.endswith(".py")]
    return f"{commit}{DIRTY}" if code else commit


def refusal(commit: object) -> str | None:
    """Why rows of ``commit`` are not published; None where they may be."""
    if commit is not None and not str(commit).endswith(DIRTY):
        return None
    return (
        f"rows of {commit or 'an unknown commit'} are not published: nobody else could run that "
        "code. Commit it first; git status lists what differs"
    )


def add_publish(parser: argparse.ArgumentParser) -> None:
    """Add ``--publish``, which is refused before the measuring where code is not committed."""
    words = "put the rows into results/ and their table into README.md; the code must be committed"
    parser.add_argument("--publish", action=_Publish, nargs=0, default=False, help=words)


class _Publish(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        _values: object,
        _option: str | None = None,
    ) -> None:
        if words := refusal(git_commit()):
            parser.error(words)
        namespace.publish = True


def versions(*packages: str) -> dict[str, str]:
    """The versions of those ``packages`` that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
