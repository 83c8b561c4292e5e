"""Small files of a checkpoint folder: whatever is wrong with one is an ExportError."""

from pathlib import Path
from typing import Any

from gpt2edge.errors import ExportError, ModelDirError
from gpt2edge.model_dir import read_json


def read_source_json(path: Path) -> dict[str, Any]:
    """A JSON object from a checkpoint's file. Raises ExportError that names the file."""
    try:
        return read_json(path)
    except ModelDirError as error:
        raise ExportError(str(error)) from None
