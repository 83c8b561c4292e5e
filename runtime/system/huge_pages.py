"""HugePages: move memory that was allocated in a ``with`` block to huge pages (Linux).

A decode step reads every weight once, in pages of 4 KiB: in a virtual machine the page walks take a
quarter of its time. Neither onnxruntime nor the C library requests huge pages. So the memory that a
session allocated is found in the process's memory map and collapsed in place: the kernel copies
it, and addresses and contents stay the same.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

import numpy as np

_HUGE: Final = 1 << 21
_COLLAPSE: Final = 25  # MADV_COLLAPSE, Linux 6.1
_SMALLEST: Final = 1 << 22
_FILLED: Final = 0.9
_SETTING: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_SELF: Final = Path("/proc/self")

Region = tuple[int, int]
"""First address, and the address after the last."""


class HugePages:
    """A context manager that finds the large private memory allocated within its block."""

    def __init__(self) -> None:
        self._regions: list[Region] = []
        self._before: set[Region] = set()

    def __enter__(self) -> "HugePages":
        if huge_pages_setting() in ("always", "madvise"):
            self._before = set(_private_regions())
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            self._regions = [r for r in _private_regions() if r not in self._before]

    def collapse(self) -> int:
        """Move the memory found to huge pages, and return the bytes moved; safe in any thread.

        Memory that was freed or reused since then keeps its contents.
        """
        regions, self._regions = self._regions, []
        try:
            return sum(_collapse(first, last) for r in regions for first, last in _filled(*r))
        except OSError:  # no pagemap in this container
            return 0


def huge_pages_setting(path: Path = _SETTING) -> str:
    """Return the system's setting: "always", "madvise" or "never"; "unknown" outside Linux."""
    text = path.read_text(encoding="ascii") if path.is_file() else ""
    return text.partition("[")[2].partition("]")[0] or "unknown"


def _private_regions() -> list[Region]:
    """Return the large regions of anonymous writable memory of this process."""
    regions = []
    for line in (_SELF / "maps").read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if fields[1] == "rw-p" and (len(fields) == 5 or fields[5] == "[heap]"):
            first, last = (int(address, 16) for address in fields[0].split("-"))
            if last - first >= _SMALLEST:
                regions.append((first, last))
    return regions


def _filled(first: int, last: int) -> list[Region]:
    """Return runs of whole huge pages within a region that are nearly all in use."""
    first, last = -(-first // _HUGE) * _HUGE, last // _HUGE * _HUGE
    small = os.sysconf("SC_PAGE_SIZE")
    with (_SELF / "pagemap").open("rb", buffering=0) as pagemap:  # 8 bytes per small page
        pagemap.seek(first // small * 8)
        entries = np.frombuffer(pagemap.read(max(0, last - first) // small * 8), np.uint64)
    present = (entries >> np.uint64(63)).reshape(-1, _HUGE // small).mean(axis=1)
    runs: list[Region] = []
    for index in np.flatnonzero(present >= _FILLED):
        start = first + int(index) * _HUGE
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], start + _HUGE)
        else:
            runs.append((start, start + _HUGE))
    return runs


def _collapse(first: int, last: int) -> int:
    """Move a region to huge pages, and return its bytes; 0 where the kernel cannot."""
    if sys.platform != "linux":
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return 0 if madvise(first, last - first, _COLLAPSE) else last - first
