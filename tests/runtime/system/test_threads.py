"""Threads from affinity, topology and cgroup files, on made-up trees of them."""

import os
from pathlib import Path

import pytest

from gpt2edge.runtime.system import threads


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_hyperthreads_of_a_core_count_once(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        write(tmp_path / f"cpu{cpu}/topology/thread_siblings_list", siblings + "\n")
    assert len(threads.physical_cores({0, 1, 2, 3}, tmp_path)) == 2
    assert len(threads.physical_cores({0, 2}, tmp_path)) == 1
    assert len(threads.physical_cores({4, 5}, tmp_path)) == 2  # no topology: count them all


def test_tightest_quota_on_the_way_up(tmp_path: Path) -> None:
    write(tmp_path / "pod/cpu.max", "150000 100000\n")
    write(tmp_path / "pod/app/cpu.max", "max 100000\n")
    assert threads.cgroup_quota(tmp_path, Path("/pod/app")) == 1.5
    write(tmp_path / "pod/app/cpu.max", "50000 100000\n")
    assert threads.cgroup_quota(tmp_path, Path("/pod/app")) == 0.5


def test_version_one_quota_and_none(tmp_path: Path) -> None:
    assert threads.cgroup_quota(tmp_path, Path("/")) is None
    write(tmp_path / "cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "cpu/cpu.cfs_period_us", "100000\n")
    assert threads.cgroup_quota(tmp_path, Path("/")) is None
    write(tmp_path / "cpu/cpu.cfs_quota_us", "300000\n")
    assert threads.cgroup_quota(tmp_path, Path("/")) == 3.0


@pytest.mark.parametrize(("quota", "expected"), [(None, 2), (1.5, 2), (0.5, 1), (8.0, 2)])
def test_threads_never_exceed_what_is_granted(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(threads, "physical_cores", lambda _cpus: {"0", "1"})
    monkeypatch.setattr(threads, "cgroup_quota", lambda: quota)
    assert threads.available_threads() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_of_this_process_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert threads.available_threads() == 1
    finally:
        os.sched_setaffinity(0, before)
