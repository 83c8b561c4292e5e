"""Memory of this process: its peak resident size, and returning freed memory to the system."""

import ctypes
import sys
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
"""proc_pid_clear_refs(5): resets the peak to the current size."""


def peak_rss() -> int | None:
    """Return the peak resident size so far in bytes, or None where the system records none."""
    if _STATUS.is_file():
        lines = _STATUS.read_text().splitlines()
        peak = next((line for line in lines if line.startswith("VmHWM:")), None)
        if peak is not None:
            return int(peak.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def reset_peak_rss() -> bool:
    """Restart the peak at the current size; return False where the system cannot."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def give_back() -> None:
    """Return freed memory to the system, where the C library would keep it (glibc does)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
