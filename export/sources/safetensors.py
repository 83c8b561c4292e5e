"""safetensors files: headers, whose tensors are then read one at a time.

The ``safetensors`` package checks each header; the bytes are then read straight into one array, so
that neither a memory map nor a second copy of a large tensor stays in memory.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.placeholders import check_is_itself
from gpt2edge.export.sources.tensors import StoredTensor


def read_safetensors(paths: Sequence[Path]) -> dict[str, StoredTensor]:
    """Return every tensor of the files, by its stored name.

    Raises ExportError for a file that is not valid, and for a tensor that is in two of them.
    """
    found: dict[str, StoredTensor] = {}
    for path in paths:
        for tensor in _read_header(path):
            if tensor.stored_name in found:
                raise ExportError(
                    f"tensor {tensor.stored_name!r} is stored twice, the second time in {path}: "
                    "remove one"
                )
            found[tensor.stored_name] = tensor
    return found


def _read_header(path: Path) -> list[StoredTensor]:
    """Return every tensor in the file's header, after ``safetensors`` has accepted the header."""
    check_is_itself(path)
    try:
        with safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise ExportError(f"{path} is not a valid safetensors file: {error}") from None
    header.pop("__metadata__", None)
    return [
        StoredTensor(
            path,
            name,
            tuple(entry["shape"]),
            entry["dtype"],
            8 + length + entry["data_offsets"][0],
        )
        for name, entry in header.items()
    ]
