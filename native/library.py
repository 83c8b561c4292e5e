"""The library of kernels: whether there is one, which variant of it runs here, and why no better.

Two variables choose: GPT2EDGE_NATIVE=0 uses none of it, GPT2EDGE_ISA=avx2 that variant.
"""

import ctypes
import json
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gpt2edge.errors import ArgumentError

FOLDER: Final = Path(os.environ.get("GPT2EDGE_LIBRARY") or Path(__file__).resolve().parent)
"""Where the library is; GPT2EDGE_LIBRARY names another folder, for one built with sanitizers."""
NAME: Final = {
    "win32": "gpt2edge_kernels.dll",
    "darwin": "libgpt2edge_kernels.dylib",
}.get(sys.platform, "libgpt2edge_kernels.so")
"""As native/compile.py names it, which is too slow to import at every start."""
SWITCH: Final = "GPT2EDGE_NATIVE"
CHOICE: Final = "GPT2EDGE_ISA"
_SWITCHES: Final = {"": True, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library, and its variant in use."""

    path: Path
    functions: ctypes.CDLL
    variant: str


@cache
def library() -> Library | None:
    """Load the library once per process; None where it is switched off, or there is none.

    Raises ArgumentError where GPT2EDGE_NATIVE or GPT2EDGE_ISA has a value that is not allowed here.
    """
    if not _switched_on():
        return None
    path = FOLDER / NAME
    if not path.is_file():
        _check_no_choice(f"there are no kernels: {_absence()}")
        return None
    try:
        functions = _declared(ctypes.CDLL(str(path)))
    except (OSError, AttributeError) as error:
        import logging  # slow to load, and needed only for a warning

        logging.getLogger("gpt2edge").warning("runs without its kernels: %s", error)
        return None
    return Library(path, functions, _chosen(functions))


def variants() -> dict[str, str]:
    """Return the variants, the best last, each with a feature that this processor lacks, or "".

    There are none without a library.
    """
    loaded = library()
    return {} if loaded is None else _variants(loaded.functions)


def facts() -> dict[str, Any]:
    """Return which variant runs, why no better one, and how the library was built.

    ``variant`` is None where none runs; ``reason`` is None where the best one of this kind of
    processor does.
    """
    loaded = library()
    if loaded is None:
        return {"variant": None, "reason": _why_none(), "library": None, "compiler": None}
    better = list(_variants(loaded.functions).items())
    better = better[[name for name, _ in better].index(loaded.variant) + 1 :]
    lacking = [f"{name} needs {missing}" for name, missing in better if missing]
    if len(lacking) < len(better):
        reason: str | None = f"{CHOICE} is {os.environ.get(CHOICE)}"
    else:
        reason = f"this processor has no more: {', '.join(lacking)}" if lacking else None
    return {
        "variant": loaded.variant,
        "reason": reason,
        "library": str(loaded.path),
        "compiler": _report().get("compiler"),
    }


def _switched_on() -> bool:
    given = os.environ.get(SWITCH, "")
    if given not in _SWITCHES:
        raise ArgumentError(f"{SWITCH} is {given!r}; it must be 0, for no kernels, or 1")
    return _SWITCHES[given]


def _chosen(functions: ctypes.CDLL) -> str:
    """Choose the variant that GPT2EDGE_ISA names, or the best, and return its name."""
    given = os.environ.get(CHOICE, "")
    variants = _variants(functions)
    number: int = functions.gpt2edge_use_variant(given.encode())
    if number < 0:
        runs = ", ".join(name for name, missing in variants.items() if not missing)
        missing = variants.get(given)
        why = f", which needs {missing}" if missing else ""
        raise ArgumentError(f"{CHOICE} is {given!r}{why}; on this processor it must be of {runs}")
    return list(variants)[number]


def _variants(functions: ctypes.CDLL) -> dict[str, str]:
    """Return the variants, the best last, each with a feature that it lacks here, or ""."""
    found: dict[str, str] = {}
    while (name := functions.gpt2edge_variant_name(len(found))) is not None:
        found[name.decode()] = functions.gpt2edge_variant_missing(len(found)).decode()
    return found


def _declared(functions: ctypes.CDLL) -> ctypes.CDLL:
    for name in ("gpt2edge_variant_name", "gpt2edge_variant_missing"):
        function = getattr(functions, name)
        function.argtypes, function.restype = (ctypes.c_int32,), ctypes.c_char_p
    functions.gpt2edge_use_variant.argtypes = (ctypes.c_char_p,)
    functions.gpt2edge_use_variant.restype = ctypes.c_int32
    return functions


def _check_no_choice(reason: str) -> None:
    given = os.environ.get(CHOICE)
    if given:
        raise ArgumentError(f"{CHOICE} is {given!r}, but {reason}")


def _why_none() -> str:
    if not _switched_on():
        return f"{SWITCH} is 0"
    if (FOLDER / NAME).is_file():
        return f"{NAME} does not load on this system"
    return _absence()


def _absence() -> str:
    return str(_report().get("reason") or f"no {NAME} in {FOLDER}: install the package again")


def _report() -> dict[str, Any]:
    path = FOLDER / "built.json"
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
