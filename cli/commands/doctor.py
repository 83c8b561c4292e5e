"""``gpt2edge doctor``."""

import platform
from pathlib import Path
from typing import Any, Final

from gpt2edge.cli.display.output import print_facts, print_json
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import json_option
from gpt2edge.errors import ModelDirError

_X86: Final = "sse4_1 avx avx2 fma f16c avx_vnni avx512f avx512bw avx512_vnni avx512_bf16 amx_int8"
_ARM: Final = "asimd asimddp i8mm sve"
_FEATURES: Final = (*_X86.split(), *_ARM.split())
_PACKAGES: Final = (
    "gpt2edge",
    "onnxruntime",
    "numpy",
    "tokenizers",
    "click",
    "onnx",
    "safetensors",
)


@command()
@json_option
def doctor(as_json: bool) -> None:
    """Show what this machine offers; check the installation.

    Shows the processor and its features, the variant of the kernels that runs and why no better
    one, the number of threads and its reason, execution providers, versions, telemetry switches,
    and the checksums of the bundled model. Paste the output into a bug report. The exit code is 1
    if the bundled model is damaged.

    With --json: cpu, kernels, threads, memory, onnxruntime, packages, telemetry, bundled_model.

    \b
    Examples:
      gpt2edge doctor
      gpt2edge doctor --json
    """
    report = {
        "cpu": cpu_facts(),
        "kernels": kernel_facts(),
        "threads": thread_facts(),
        "memory": memory_facts(),
        "onnxruntime": _providers(),
        "packages": package_versions(),
        "telemetry": telemetry_facts(),
        "bundled_model": bundled_facts(),
    }
    if as_json:
        print_json(report)
    else:
        for title, facts in report.items():
            print_facts(
                title.replace("_", " "), {name: _shown(value) for name, value in facts.items()}
            )
    if not report["bundled_model"]["intact"]:
        raise ModelDirError(f"the bundled model: {report['bundled_model']['problem']}")


def cpu_facts(listing: Path | None = None) -> dict[str, Any]:
    """Return the processor's name and its features that speed up matrix products."""
    from gpt2edge.runtime.system import cpu

    listing = listing or cpu.CPUINFO
    flags = cpu.cpu_flags(listing) or frozenset()
    return {
        "model": cpu.cpu_name(listing),
        "architecture": platform.machine(),
        "system": platform.platform(),
        "features": [name for name in _FEATURES if name in flags],
    }


def kernel_facts() -> dict[str, Any]:
    """Return the variant of the kernels that runs here, and why no better one."""
    from gpt2edge.native.library import facts

    return facts()


def package_versions() -> dict[str, str | None]:
    """List the versions of Python, of this package and of its dependencies."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def thread_facts() -> dict[str, Any]:
    """Return the number of threads and the limits behind it."""
    from gpt2edge.runtime.system import threads

    cpus = threads.allowed_cpus()
    return {
        "used": threads.available_threads(),
        "allowed_processors": len(cpus),
        "physical_cores": len(threads.physical_cores(cpus)),
        "cgroup_quota": threads.cgroup_quota(),
    }


def memory_facts() -> dict[str, Any]:
    """Tell whether weights can be moved to huge pages."""
    from gpt2edge.runtime.system.huge_pages import huge_pages_setting

    return {"huge_pages": huge_pages_setting()}


def bundled_facts() -> dict[str, Any]:
    """Locate and check the bundled model."""
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.runtime.bundled import BUNDLED_MODEL

    facts: dict[str, Any] = {"path": str(BUNDLED_MODEL), "intact": False}
    try:
        model = ModelDir.open(BUNDLED_MODEL)
        damaged = model.damaged_files()
    except ModelDirError as error:
        return {**facts, "problem": str(error)}
    if damaged:
        return {**facts, "problem": f"damaged, by its sha256: {', '.join(damaged)}"}
    return {**facts, "intact": True, "variant": model.manifest.variant, "bytes": model.nbytes}


def telemetry_facts() -> dict[str, str]:
    """Return the variables that turn off other packages' telemetry, as they are set."""
    from gpt2edge._telemetry import settings

    return settings()


def _providers() -> dict[str, Any]:
    from gpt2edge.runtime.ort.session import runtime_facts

    facts = runtime_facts()
    return {"version": facts["onnxruntime"], "providers": facts["providers"]}


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # slow: not for --help

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shown(value: Any) -> Any:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "none" if isinstance(value, list) else value
