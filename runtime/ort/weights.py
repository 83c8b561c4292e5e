"""MappedWeights: a weights file mapped by us and lent to onnxruntime, its read pages given back.

Left alone, onnxruntime maps each weight, packs it into a layout of its own and drops the mapping
afterwards. The largest weight, the tied embedding, is then in memory twice at the worst moment, and
with parallel packing all of them are. A mapping of our own may be emptied at any time: it is only
read, and a page that is needed again comes back from the system's file cache.
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
    """The bytes of ``path``, to be kept alive as long as anything reads them."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @staticmethod
    def supported(path: Path) -> bool:
        """Whether there are bytes to map, and pages can be given back on this system."""
        return _DONTNEED is not None and path.is_file() and path.stat().st_size > 0

    @contextmanager
    def drained(self) -> Iterator[None]:
        """Give read pages back again and again within the block, and once more at its end."""
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
