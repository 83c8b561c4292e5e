"""setuptools' build backend, which asks for ziglang where no compiler builds the kernels (PEP 517).

ziglang is asked for only where pip finds one for this platform: an install goes on without kernels
rather than fail.
"""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_ZIG: Final = "ziglang>=0.13"
_COMPILE: Final = Path(__file__).resolve().parents[1] / "native" / "compile.py"


def _load() -> Any:
    """Return native/compile.py as a module: the package is not installed while it is built."""
    spec = spec_from_file_location("gpt2edge_native_compile", _COMPILE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


kernels: Final = _load()


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return what a wheel's build needs beside ``requires``."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_compiler()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Return what an editable install's build needs beside ``requires``."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_compiler()]


def _compiler() -> list[str]:
    """Return ziglang where it is needed and there is one for this platform."""
    target = os.environ.get("GPT2EDGE_BUILD_TARGET", "")
    if target == kernels.PLAIN or (target or kernels.host()) not in kernels.TARGETS:
        return []
    if not target:
        try:
            kernels.find_system_compiler()
        except kernels.BuildError as error:
            print(f"kernels: {error}", file=sys.stderr)
        else:
            return []
    return [_ZIG] if _pip_finds_zig() else []


def _pip_finds_zig() -> bool:
    """Return whether pip finds ziglang; where there is no pip, it is another front end's to say."""
    # the build's own PYTHONPATH hides the pip that runs it
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--version"], env=variables, capture_output=True).returncode:
        return True
    command = [*pip, "--retries", "0", "--timeout", "15", "index", "versions", "ziglang"]
    return subprocess.run(command, env=variables, capture_output=True).returncode == 0
