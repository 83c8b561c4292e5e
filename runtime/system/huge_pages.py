"""HugePages: memory that a block allocated, moved to huge pages afterwards (Linux).

A decode step reads every weight once, 4 KiB at a time: in a virtual machine the page walks cost a
quarter of it. Neither onnxruntime nor the C library asks for huge pages by itself, so the memory
that a session took is found in the process's own map and collapsed in place: the kernel copies it,
addresses and contents stay.
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
"""First address, and the one behind the last."""


class HugePages:
    """As a context manager, notes which large private memory appears within the block."""

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
        """Move to huge pages what was noted; how many bytes were. May run in any thread.

        Memory that was freed or reused since then keeps its contents in any case.
        """
        regions, self._regions = self._regions, []
        try:
            return sum(_collapse(first, last) for r in regions for first, last in _filled(*r))
        except OSError:  # no pagemap in this container
            return 0


def huge_pages_setting(path: Path = _SETTING) -> str:
    """What the system allows: "always", "madvise", "never", or "unknown" elsewhere than Linux."""
    text = path.read_text(encoding="ascii") if path.is_file() else ""
    return text.partition("[")[2].partition("]")[0] or "unknown"


def _private_regions() -> list[Region]:
    """Anonymous writable memory of this process, the larger parts."""
    regions = []
    for line in (_SELF / "maps").read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if fields[1] == "rw-p" and (len(fields) == 5 or fields[5] == "[heap]"):
            first, last = (int(address, 16) for address in fields[0].split("-"))
            if last - first >= _SMALLEST:
                regions.append((first, last))
    return regions


def _filled(first: int, last: int) -> list[Region]:
    """Runs of whole huge pages within a region of which nearly all is in use."""
    first, last = -(-first // _HUGE) * _HUGE, last // _HUGE * _HUGE
    small = os.sysconf("SC_PAGE_SIZE")
    with (_SELF / "pagemap").open("rb", buffering=0) as pagemap:  # 8 bytes a small page
        pagemap.seek(first // small * 8)
        entries = np.frombuffer(pagemap.read(max(0, last - first) // small * 8), np.uint64)
    present = (entries >> np.uint64(63)).reshape(-1, _HUGE // small).mean(axis=1)
    runs: list[Region] = []
    for place in np.flatnonzero(present >= _FILLED):
        start = first + int(place) * _HUGE
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], start + _HUGE)
        else:
            runs.append((start, start + _HUGE))
    return runs


def _collapse(first: int, last: int) -> int:
    """Bytes moved; 0 where this kernel cannot, or has no huge page to spare."""
    if sys.platform != "linux":
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return 0 if madvise(first, last - first, _COLLAPSE) else last - first
