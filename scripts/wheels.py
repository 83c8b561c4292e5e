"""Build the wheels of every platform on this machine, and check them: ``python -m scripts.wheels``.

zig builds the library for all of them. A wheel must be smaller than 30 MB, have its platform's tag
and a library of its format and processor that exports what is called. What a wheel does when it
runs is shown where its processor is: ``.ci/run`` installs this machine's, ``.ci/processors`` runs
that of Linux on ARM. Those of macOS and Windows are not run.
"""

import argparse
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from scripts.build_backend import kernels

LIMIT: Final = 30_000_000
EXPORTED: Final = (b"RegisterCustomOps", b"gpt2edge_draw", b"gpt2edge_use_variant")
_ELF, _MACH_O, _PE = b"\x7fELF", b"\xcf\xfa\xed\xfe", b"MZ"
FORMATS: Final = {
    "x86_64-linux": (_ELF, 62),
    "aarch64-linux": (_ELF, 183),
    "x86_64-macos": (_MACH_O, 0x01000007),
    "aarch64-macos": (_MACH_O, 0x0100000C),
    "x86_64-windows": (_PE, 0x8664),
    "aarch64-windows": (_PE, 0xAA64),
}
"""First bytes of a library, and the number of its processor."""


def build(target: str, folder: Path) -> Path:
    """Build the wheel for ``target``, and return it. Raises CalledProcessError if it fails."""
    before = set(folder.glob("*.whl"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), "."),
        ],
        env={**os.environ, "GPT2EDGE_BUILD_TARGET": target},
        check=True,
    )
    (wheel,) = set(folder.glob("*.whl")) - before
    return wheel


def problems(target: str, wheel: Path) -> list[str]:
    """Return what is wrong with a wheel; nothing where it is right."""
    tag = "any" if target == kernels.PLAIN else kernels.TARGETS[target].wheel
    found = []
    if not wheel.name.endswith(f"-py3-none-{tag}.whl"):
        found.append(f"its tag is not py3-none-{tag}")
    if wheel.stat().st_size >= LIMIT:
        found.append(f"{wheel.stat().st_size} bytes; it must be under {LIMIT}")
    with ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "gpt2edge_kernels" in name]
        if target == kernels.PLAIN:
            return [*found, *(f"it holds {name}" for name in names)]
        expected = f"gpt2edge/native/{kernels.library_name(target)}"
        if names != [expected]:
            return [*found, f"it holds {names}, not {expected}"]
        library = archive.read(expected)
    if (library[: len(FORMATS[target][0])], machine_of(library)) != FORMATS[target]:
        found.append(f"its library is not of {target}")
    missing = [name.decode() for name in EXPORTED if name not in library]
    return [*found, *(f"its library has no {name}" for name in missing)]


def machine_of(library: bytes) -> int:
    """Return the number of the processor in an ELF, Mach-O or PE header."""
    if library.startswith(_ELF):
        place, form = 18, "<H"
    elif library.startswith(_MACH_O):
        place, form = 4, "<I"
    else:
        (header,) = struct.unpack_from("<I", library, 0x3C)
        place, form = header + 4, "<H"
    machine: int = struct.unpack_from(form, library, place)[0]
    return machine


def main() -> None:
    """Build and check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    targets = [*kernels.TARGETS, kernels.PLAIN]
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(targets)}")
    parser.add_argument("--out", type=Path, default=Path("dist"))
    args = parser.parse_args()
    unknown = set(args.targets) - set(targets)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)
    for old in args.out.glob("*.whl"):
        old.unlink()
    failed = False
    for target in args.targets or targets:
        wheel = build(target, args.out)
        wrong = problems(target, wheel)
        failed |= bool(wrong)
        print(f"{wheel.name}: {wheel.stat().st_size:,} bytes; {'; '.join(wrong) or 'right'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
