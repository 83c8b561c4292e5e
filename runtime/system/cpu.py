"""This CPU: its name and features, and whether it multiplies u8 by s8 without saturating."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_X86: Final = ("x86_64", "amd64", "i386", "i686")
_EXACT: Final = ("avx512_vnni", "avx_vnni")
CPUINFO: Final = Path("/proc/cpuinfo")
"""Where Linux lists the processors."""


def cpu_name(listing: Path = CPUINFO) -> str:
    """Return the first processor's name, its architecture where the system says no more."""
    return _fields(listing).get("model name") or platform.processor() or platform.machine()


def cpu_flags(listing: Path = CPUINFO) -> frozenset[str] | None:
    """Return the features that Linux lists for the first processor; None where it lists none."""
    fields = _fields(listing)
    flags = fields.get("flags") or fields.get("Features")  # of x86, and of ARM
    return frozenset(flags.split()) if flags else None


def _fields(listing: Path) -> dict[str, str]:
    """Return the fields of the first processor in ``listing``, none where there is no such file."""
    text = listing.read_text(encoding="utf-8", errors="replace") if listing.is_file() else ""
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


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
