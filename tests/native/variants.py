"""The kernels' variants that this processor runs, for tests of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from gpt2edge.native.library import facts, library, variants

needs_kernels: Final = pytest.mark.skipif(
    library() is None, reason=f"without kernels: {facts()['reason']}"
)


def runnable_variants() -> list[str]:
    """Variants that this processor runs, the best last; none without a library."""
    return [name for name, missing in variants().items() if not missing]


@contextmanager
def use_variant(name: str) -> Iterator[None]:
    """Within the block, kernels that are called run in this variant."""
    loaded = library()
    assert loaded is not None
    assert loaded.functions.gpt2edge_use_variant(name.encode()) >= 0
    try:
        yield
    finally:
        loaded.functions.gpt2edge_use_variant(loaded.variant.encode())
