"""Number of threads that this process may use: affinity, physical cores and cgroup quota."""

import math
import os
from pathlib import Path

_CPU_FOLDER = Path("/sys/devices/system/cpu")
_CGROUP_FOLDER = Path("/sys/fs/cgroup")


def available_threads() -> int:
    """Return the physical cores in the affinity mask, at most the cgroup's quota rounded up.

    The host's core count is not used: a container may not use all of the host's cores.
    """
    cores = len(physical_cores(allowed_cpus()))
    quota = cgroup_quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def allowed_cpus() -> set[int]:
    """Return the logical processors in the affinity mask, or all where the system has no mask."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def physical_cores(cpus: set[int], folder: Path = _CPU_FOLDER) -> set[str]:
    """Return one entry per physical core of ``cpus``; hyperthreads of a core share an entry."""
    cores = set()
    for cpu in cpus:
        siblings = folder / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.add(siblings.read_text().strip() if siblings.is_file() else str(cpu))
    return cores


def cgroup_quota(folder: Path = _CGROUP_FOLDER, own: Path | None = None) -> float | None:
    """Return the processors that the strictest cgroup of this process grants, v1 or v2, or None."""
    grants = [*_quotas_v2(folder, own or _own_cgroup()), *_quota_v1(folder)]
    return min(grants, default=None)


def _own_cgroup() -> Path:
    listing = Path("/proc/self/cgroup")
    lines = listing.read_text().splitlines() if listing.is_file() else []
    return Path(next((line[3:] for line in lines if line.startswith("0::")), "/"))


def _quotas_v2(folder: Path, own: Path) -> list[float]:
    inside = folder / own.as_posix().lstrip("/")
    grants = []
    for level in (inside, *inside.parents):
        if not level.is_relative_to(folder):
            break
        limit = level / "cpu.max"
        words = limit.read_text().split() if limit.is_file() else []
        if len(words) == 2 and words[0] != "max":
            grants.append(int(words[0]) / int(words[1]))
    return grants


def _quota_v1(folder: Path) -> list[float]:
    quota, period = (folder / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period"))
    if not (quota.is_file() and period.is_file()) or int(quota.read_text()) <= 0:
        return []
    return [int(quota.read_text()) / int(period.read_text())]
