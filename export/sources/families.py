"""Families of architectures: their tensors by GPT-2's names."""

from collections.abc import Mapping
from typing import Any

from gpt2edge.export.sources.tensors import Readable


def gpt2_names(keys: Mapping[str, Any], tensors: dict[str, Readable]) -> dict[str, Readable]:
    """Return ``tensors`` by the names, and in the layout, of a GPT-2.

    ``keys`` are those of ``config.json``. Raises ExportError for a family that is not read.
    """
    del keys
    return tensors
