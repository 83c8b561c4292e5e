"""CPU flags, and a warning where this CPU saturates in products of u8 and s8."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_X86: Final = ("x86_64", "amd64", "i386", "i686")
_EXACT: Final = ("avx512_vnni", "avx_vnni")
_CPUINFO: Final = Path("/proc/cpuinfo")


def cpu_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str] | None:
    """Return the flags that Linux lists for the first x86 processor; None where unknown."""
    if not cpuinfo.is_file():
        return None
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return None


def u8s8_saturates(machine: str | None = None, flags: frozenset[str] | None = None) -> bool | None:
    """Return whether int8 products are added in int16, as on x86 without VNNI; None if unknown."""
    if (machine or platform.machine()).lower() not in _X86:
        return False
    known = flags if flags is not None else cpu_flags()
    return None if known is None else not any(flag in known for flag in _EXACT)


def saturation_warning(
    recipe: Mapping[str, Any] | None, saturates: bool | None = None
) -> str | None:
    """Return a warning for a model with a recipe that this CPU computes wrongly, or None.

    ``recipe`` is the manifest's. ``saturates`` None checks this CPU; an unknown CPU counts as safe.
    """
    if not recipe or recipe.get("scheme") != "dynamic" or recipe.get("portable", True):
        return None
    if not (u8s8_saturates() if saturates is None else saturates):
        return None
    return (
        "this model's int8 weights need a CPU with VNNI; this CPU saturates on them, and the "
        "results will be wrong: quantize the model again with a portable recipe"
    )


def warn_of_saturation(path: Path, recipe: Mapping[str, Any] | None) -> None:
    """Log the warning of ``saturation_warning`` for the model at ``path``, if there is one."""
    warning = saturation_warning(recipe)
    if warning is not None:
        import logging  # slow to load, and needed only for a warning

        logging.getLogger("gpt2edge").warning("%s: %s", path, warning)
