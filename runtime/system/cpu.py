"""Whether this CPU multiplies u8 by s8 without saturating in between."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_X86: Final = ("x86_64", "amd64", "i386", "i686")
_EXACT: Final = ("avx512_vnni", "avx_vnni")
_CPUINFO: Final = Path("/proc/cpuinfo")


def cpu_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str] | None:
    """The flags that Linux lists for the first x86 processor; None where they are not known."""
    if not cpuinfo.is_file():
        return None
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return None


def u8s8_saturates(machine: str | None = None, flags: frozenset[str] | None = None) -> bool | None:
    """Whether int8 products add pairs in int16, as x86 without VNNI does; None where unknown."""
    if (machine or platform.machine()).lower() not in _X86:
        return False
    known = flags if flags is not None else cpu_flags()
    return None if known is None else not any(flag in known for flag in _EXACT)


def saturation_warning(
    recipe: Mapping[str, Any] | None, saturates: bool | None = None
) -> str | None:
    """What to say of a model whose recipe assumes more than this CPU has; None where all is well.

    ``recipe`` is the manifest's. ``saturates`` None asks this CPU; an unknown one counts as safe.
    """
    if not recipe or recipe.get("scheme") != "dynamic" or recipe.get("portable", True):
        return None
    if not (u8s8_saturates() if saturates is None else saturates):
        return None
    return (
        "this model's int8 weights assume a CPU with VNNI; this one saturates on them, and the "
        "results will be wrong: quantize it again with a portable recipe"
    )


def warn_of_saturation(path: Path, recipe: Mapping[str, Any] | None) -> None:
    """Log that warning for the model at ``path``, where there is one."""
    warning = saturation_warning(recipe)
    if warning is not None:
        import logging  # which a start without a warning need not load

        logging.getLogger("gpt2edge").warning("%s: %s", path, warning)
