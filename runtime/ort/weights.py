"""MappedWeights: map a weights file for onnxruntime, and return pages to the system once read.

By default onnxruntime maps each weight, packs it into an internal layout and drops the mapping
afterwards. At the peak the largest weight, the tied embedding, is then in memory twice, and with
parallel packing all weights are. Pages of this mapping can be dropped at any time: they are
read-only, and a page that is needed again comes from the system's file cache.
"""

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_DONTNEED: Final[int | None] = getattr(mmap, "MADV_DONTNEED", None)
_DRAIN_SECONDS: Final = 0.002


class MappedWeights:
    """A read-only mapping of ``path``; keep it alive as long as a session reads it."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @staticmethod
    def supported(path: Path) -> bool:
        """Return whether the file has bytes to map and this system can take pages back."""
        return _DONTNEED is not None and path.is_file() and path.stat().st_size > 0

    @contextmanager
    def drained(self) -> Iterator[None]:
        """Return pages to the system repeatedly within the block, and once more at its end."""
        ended = threading.Event()
        thread = threading.Thread(target=self._drain, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._give_back()

    def _drain(self, ended: threading.Event) -> None:
        while not ended.wait(_DRAIN_SECONDS):
            self._give_back()

    def _give_back(self) -> None:
        assert _DONTNEED is not None
        self.buffer.madvise(_DONTNEED)
