"""Build the library of kernels: ``python native/compile.py``. Standard library only.

The compiler is CXX, else the system's (c++, g++, clang++), else the package ziglang's. Sources are
those in ``src``, by name: ``NAME_avx2.cpp`` is built with the flags of the variant avx2, and on its
architecture alone; ``NAME_variant.cpp`` once for each variant of the architecture, with the macros
GPT2EDGE_VARIANT=avx2 and GPT2EDGE_IS_AVX2; any other source once, without flags of a variant.
``built.json`` beside the library says what was built and how, or why there is none: the package
runs without the library.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

HERE: Final = Path(__file__).resolve().parent
REPORT: Final = "built.json"
PLAIN: Final = "none"
"""The target without a library: the wheel for every platform."""

VARIANTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "x86_64": {
        "portable": (),
        "avx2": ("-mavx2", "-mfma", "-mf16c"),
        "avxvnni": ("-mavx2", "-mfma", "-mf16c", "-mavxvnni"),
        "avx512vnni": (
            *("-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl"),
            *("-mavx512dq", "-mavx512vnni"),
        ),
    },
    "aarch64": {
        "portable": (),
        "neon": (),
        "dotprod": ("-march=armv8.2-a+dotprod",),
        "i8mm": ("-march=armv8.2-a+dotprod+i8mm",),
    },
}
"""Flags by architecture and variant."""

_FLAGS: Final = (
    *("-std=c++17", "-O3", "-fPIC", "-DNDEBUG", "-Wall", "-Wextra", "-fvisibility=hidden"),
    *("-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-math-errno"),
    "-ffp-contract=off",  # a fused multiply-add is written as one, not the compiler's choice
)
_ZIG_FLAGS: Final = ("-nostdinc++", "-fno-sanitize=all", "-Wno-unused-command-line-argument")
_ZIG_NAMES: Final = {  # of processors: zig reads -mcpu its own way, and no -march for ARM
    "-march=armv8.2-a+dotprod": "-mcpu=generic+v8_2a+dotprod",
    "-march=armv8.2-a+dotprod+i8mm": "-mcpu=generic+v8_2a+dotprod+i8mm",
}
# of gcc 12, about its own headers of AVX-512
_GCC_FLAGS: Final = ("-Wno-maybe-uninitialized", "-Wno-uninitialized")
_LINK: Final = {
    "linux": ("-shared", "-Wl,--as-needed", "-Wl,-z,noexecstack", "-lm"),
    "macos": ("-dynamiclib", "-Wl,-dead_strip_dylibs"),
    "windows": ("-shared", "-static"),
}
_ZIG_LINK: Final = {
    "linux": ("-shared", "-nostdlib++", "-lm"),
    "macos": ("-dynamiclib", "-nostdlib++"),
    "windows": ("-shared", "-nostdlib++"),
}
_NAMES: Final = {
    "linux": "libgpt2edge_kernels.so",
    "macos": "libgpt2edge_kernels.dylib",
    "windows": "gpt2edge_kernels.dll",
}
_ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_SYSTEMS: Final = {"linux": "linux", "darwin": "macos", "win32": "windows"}


@dataclass(frozen=True)
class Target:
    """A platform that has kernels: zig's name for it, and the tag of its wheels."""

    zig: str
    wheel: str


TARGETS: Final = {
    "x86_64-linux": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64"),
    "aarch64-linux": Target(
        "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64"
    ),
    "x86_64-macos": Target("x86_64-macos.11.0", "macosx_11_0_x86_64"),
    "aarch64-macos": Target("aarch64-macos.11.0", "macosx_11_0_arm64"),
    "x86_64-windows": Target("x86_64-windows-gnu", "win_amd64"),
    "aarch64-windows": Target("aarch64-windows-gnu", "win_arm64"),
}


class BuildError(Exception):
    """The library cannot be built here; the message says why."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: its command, its version, and whether it is zig."""

    command: tuple[str, ...]
    version: str
    is_zig: bool = False


def host() -> str:
    """Return this machine's target, such as ``x86_64-linux``; it may be one without kernels."""
    machine = platform.machine().lower()
    system = _SYSTEMS.get(sys.platform, sys.platform)
    return f"{_ARCHITECTURES.get(machine, machine)}-{system}"


def host_tag() -> str:
    """Return the platform tag of a wheel with this machine's library."""
    target = host()
    if target.endswith("-macos"):  # a Python for two processors still has one library
        return TARGETS[target].wheel
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def library_name(target: str = "") -> str:
    """Return the library's file name on ``target``, this machine's where it is empty."""
    return _NAMES.get((target or host()).partition("-")[2], _NAMES["linux"])


def find_system_compiler() -> Compiler:
    """Return the compiler of CXX, or the first of c++, g++ and clang++ that builds every variant.

    Raises BuildError with the reason for each that does not.
    """
    given = os.environ.get("CXX", "")
    reasons = []
    for name in [given] if given else ["c++", "g++", "clang++"]:
        command = tuple(name.split())
        if shutil.which(command[0]) is None:
            continue
        problem = _problem(command)
        if problem is None:
            return Compiler(command, _first_line([*command, "--version"]))
        reasons.append(f"{name}: {problem}")
    none = f"CXX={given} is not in PATH" if given else "no c++, g++ or clang++ in PATH"
    raise BuildError("; ".join(reasons) or none)


def find_compiler(target: str = "") -> Compiler:
    """Return a compiler for ``target``; one for another machine is always zig's.

    Raises BuildError where there is none.
    """
    reason = f"a library for {target} is built by ziglang"
    if target in ("", host()):
        try:
            return find_system_compiler()
        except BuildError as error:
            reason = str(error)
    if find_spec("ziglang") is None:
        raise BuildError(f"{reason}; the package ziglang is not installed")
    zig = (sys.executable, "-m", "ziglang")
    return Compiler((*zig, "cc", "-x", "c++"), f"zig {_first_line([*zig, 'version'])}", True)


def build(folder: Path, target: str = "", *, sanitize: str = "", cross: bool = False) -> Path:
    """Build the library for ``target`` in ``folder``, and return its path.

    ``sanitize`` is a list for the compiler's option -fsanitize, ``cross`` demands zig, so that the
    library runs on older systems, too. Raises BuildError with the reason.
    """
    goal = target or host()
    if goal not in TARGETS:
        raise BuildError(f"there are no kernels for {goal}, only for {', '.join(TARGETS)}")
    architecture, _, system = goal.partition("-")
    compiler = find_compiler(target if target != host() or cross else "")
    flags = [*_FLAGS, *_target_flags(compiler, goal)]
    if sanitize:
        flags += [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-g", "-O1"]
    library = folder / _NAMES[system]
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="gpt2edge-") as name:
        work = Path(name)
        commands, objects = [], []
        for number, (source, own) in enumerate(units(architecture)):
            objects.append(str(work / f"{number}.o"))
            named = [_ZIG_NAMES.get(flag, flag) if compiler.is_zig else flag for flag in own]
            commands.append(
                [*compiler.command, *flags, *named, "-c", str(source), "-o", objects[-1]]
            )
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(_run, commands))
        link = _link_flags(compiler, goal, sanitize, objects)
        _run([*_linker(compiler), *link, "-o", str(work / library.name)])
        # written beside, then renamed: a process may have the old one open
        fresh = library.with_name(f"{library.name}.{os.getpid()}")
        shutil.copy(work / library.name, fresh)
        fresh.replace(library)
    _report(folder, {"library": library.name, "target": goal, "compiler": compiler.version})
    return library


def build_or_report(folder: Path, target: str = "") -> Path | None:
    """Build as ``build`` does; where that fails, leave the reason in ``built.json`` alone."""
    for name in (*_NAMES.values(), REPORT):
        (folder / name).unlink(missing_ok=True)
    try:
        if target == PLAIN:
            raise BuildError("this is the wheel without kernels, for every platform")
        return build(folder, target)
    except BuildError as error:
        _report(folder, {"library": None, "reason": str(error)})
        return None


def units(architecture: str) -> list[tuple[Path, tuple[str, ...]]]:
    """Return what is compiled for ``architecture``: a source, and the flags of its variant."""
    own = VARIANTS[architecture]
    others = {name for variants in VARIANTS.values() for name in variants} - own.keys()
    found = []
    for source in sorted((HERE / "src").glob("*.cpp")):
        kind = source.stem.rpartition("_")[2]
        if kind == "variant":
            found += [(source, (*own[name], *_macros(name))) for name in own]
        elif kind not in others:
            found.append((source, own.get(kind, ())))
    return found


def _macros(variant: str) -> tuple[str, ...]:
    return f"-DGPT2EDGE_VARIANT={variant}", f"-DGPT2EDGE_IS_{variant.upper()}=1"


def _target_flags(compiler: Compiler, target: str) -> list[str]:
    architecture, _, system = target.partition("-")
    if compiler.is_zig:
        return [*_ZIG_FLAGS, "-target", TARGETS[target].zig]
    if system == "linux":
        return [] if "clang" in compiler.version else [*_GCC_FLAGS]
    if system == "macos":  # of this Python, which may be another than the processor's
        arch = "arm64" if architecture == "aarch64" else architecture
        return ["-arch", arch, "-mmacosx-version-min=11.0"]
    return []


def _linker(compiler: Compiler) -> list[str]:
    """Return the command that links: zig's without ``-x c++``, which makes sources of objects."""
    return list(compiler.command[:-2] if compiler.is_zig else compiler.command)


def _link_flags(
    compiler: Compiler, target: str, sanitize: str, objects: Sequence[str]
) -> list[str]:
    system = target.partition("-")[2]
    flags = _ZIG_LINK[system] if compiler.is_zig else _LINK[system]
    return [
        *_target_flags(compiler, target),
        *([f"-fsanitize={sanitize}"] if sanitize else ["-s"] if system == "linux" else []),
        *objects,
        *flags,
    ]


def _problem(command: Sequence[str]) -> str | None:
    """Return why a compiler cannot build every variant of this machine, or None where it can."""
    architecture = host().partition("-")[0]
    options = ["-std=c++17", "-Werror", "-x", "c++", "-fsyntax-only"]
    for flags in (("",), *VARIANTS.get(architecture, {}).values()):
        done = subprocess.run(
            [*command, *filter(None, flags), *options, "-"],
            input="#include <stdint.h>\n#include <math.h>\n",
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["it fails without a message"])[0]
    return None


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)


def _first_line(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout.strip().splitlines() or [command[0]])[0]


def _report(folder: Path, facts: dict[str, str | None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def main(arguments: Iterable[str] | None = None) -> None:
    """Build from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the library")
    parser.add_argument(
        "--target", default="", choices=["", *TARGETS], help="default: this machine"
    )
    parser.add_argument("--sanitize", default="", help="such as address,undefined or thread")
    given = parser.parse_args(None if arguments is None else list(arguments))
    try:
        print(build(given.out, given.target, sanitize=given.sanitize))
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
