"""Weights: mapped, lent and drained, moved to huge pages; never other logits."""

import ctypes
import mmap
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpt2edge import Engine
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.ort import session
from gpt2edge.runtime.ort.weights import MappedWeights
from gpt2edge.runtime.system import huge_pages
from gpt2edge.runtime.system.huge_pages import HugePages, huge_pages_setting

HUGE = 1 << 21
PROMPT = "Once upon a time there was a miller who had three sons."


class Kernel:
    """Notes every ``madvise`` and gives one answer, 0 for done."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, int]] = []
        self.answer = 0
        self.argtypes: object = None

    def __call__(self, first: int, length: int, advice: int) -> int:
        self.calls.append((first, length, advice))
        return self.answer


@pytest.mark.usefixtures("without_kernels")
def test_logits_are_the_same_bits_from_our_mapping_and_from_a_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = Engine(BUNDLED_MODEL).logits(PROMPT)
    monkeypatch.setattr(session, "_BORROWS_WEIGHTS", False)
    assert np.array_equal(ours, Engine(BUNDLED_MODEL).logits(PROMPT))


def test_logits_are_the_same_bits_on_huge_pages() -> None:
    engine = Engine(BUNDLED_MODEL, RuntimeOptions(huge_pages=False))
    before = engine.logits(PROMPT)
    engine._session._pages.collapse()
    assert np.array_equal(before, engine.logits(PROMPT))


def test_huge_pages_must_be_a_flag() -> None:
    with pytest.raises(ValueError, match="huge_pages is 2; it must be True or False"):
        RuntimeOptions(huge_pages=2)  # type: ignore[arg-type]


def test_drained_weights_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * 4096)
    if not MappedWeights.supported(path):
        pytest.skip("this system cannot give pages back")
    weights = MappedWeights(path)
    with weights.drained():
        assert weights.buffer[:] == path.read_bytes()
    assert weights.buffer[:] == path.read_bytes()


def test_nothing_to_map_is_not_supported(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert not MappedWeights.supported(tmp_path / "empty")
    assert not MappedWeights.supported(tmp_path / "absent")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel in the real one's place, that can always collapse."""
    if not os.access("/proc/self/pagemap", os.R_OK):
        pytest.skip("huge pages are Linux's, and need /proc/self/pagemap")
    made = Kernel()
    library = SimpleNamespace(madvise=made)
    monkeypatch.setattr("gpt2edge.runtime.system.huge_pages.ctypes.CDLL", lambda _: library)
    monkeypatch.setattr(huge_pages, "huge_pages_setting", lambda: "madvise")
    return made


def mapped(size: int) -> tuple[mmap.mmap, int]:
    """Fresh private memory, and the first address in it of a whole huge page."""
    memory = mmap.mmap(-1, size + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return memory, -(-first // HUGE) * HUGE


def test_what_is_nearly_full_is_collapsed_and_nothing_else(kernel: Kernel) -> None:
    """Of five huge pages in a row: full, half full, nearly full, full, empty."""
    with HugePages() as pages:
        memory, first = mapped(5 * HUGE)
        values = np.frombuffer(memory, np.uint8)
        start = first - values.ctypes.data
        small = os.sysconf("SC_PAGE_SIZE")
        for place, share in enumerate((1.0, 0.5, 0.95, 1.0, 0.0)):
            begin = start + place * HUGE
            values[begin : begin + int(share * HUGE) : small] = 1
    collapsed = pages.collapse()
    own = [call for call in kernel.calls if first <= call[0] < first + 5 * HUGE]
    assert own == [(first, HUGE, 25), (first + 2 * HUGE, 2 * HUGE, 25)]
    assert collapsed == sum(length for _, length, _ in kernel.calls)
    assert pages.collapse() == 0  # there is nothing more to move


def test_a_kernel_that_refuses_has_collapsed_nothing(kernel: Kernel) -> None:
    kernel.answer = -1
    with HugePages() as pages:
        memory, _ = mapped(4 * HUGE)
        np.frombuffer(memory, np.uint8)[:] = 1
    assert pages.collapse() == 0
    assert kernel.calls


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are Linux's")
def test_collapsed_memory_keeps_its_contents() -> None:
    """The real kernel: what it does for a call of the test's own, it must do for ours."""
    size = 16 << 20
    memory, first = mapped(size)
    np.frombuffer(memory, np.uint8)[:] = 1
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    able = huge_pages_setting() in ("always", "madvise") and madvise(first, size, 25) == 0
    with HugePages() as pages:
        memory, _ = mapped(size)
        values = np.frombuffer(memory, np.uint32)
        values[:] = np.arange(values.size)
    collapsed = pages.collapse()
    assert collapsed % HUGE == 0
    assert collapsed or not able
    assert np.array_equal(values, np.arange(values.size))


def test_setting_is_read_from_the_brackets(tmp_path: Path) -> None:
    setting = tmp_path / "enabled"
    setting.write_text("always [madvise] never\n")
    assert huge_pages_setting(setting) == "madvise"
    assert huge_pages_setting(tmp_path / "absent") == "unknown"
