"""Weights: mapped, lent and drained, moved to huge pages; never other logits."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt2edge import Engine
from gpt2edge.runtime import session
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.huge_pages import HugePages, huge_pages_setting
from gpt2edge.runtime.mapped_weights import MappedWeights
from gpt2edge.runtime.session import RuntimeOptions

PROMPT = "Once upon a time there was a miller who had three sons."


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


@pytest.mark.skipif(sys.platform != "linux", reason="huge pages are Linux's")
def test_collapsed_memory_keeps_its_contents() -> None:
    size = 16 << 20
    with HugePages() as pages:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        values = np.frombuffer(memory, np.uint32)
        values[:] = np.arange(values.size)
    collapsed = pages.collapse()
    assert collapsed in range(0, size + 1, 2 << 20)
    assert np.array_equal(values, np.arange(values.size))
    assert pages.collapse() == 0  # there is nothing more to move


def test_setting_is_read_from_the_brackets(tmp_path: Path) -> None:
    setting = tmp_path / "enabled"
    setting.write_text("always [madvise] never\n")
    assert huge_pages_setting(setting) == "madvise"
    assert huge_pages_setting(tmp_path / "absent") == "unknown"
