"""JSON files of a checkpoint folder: any fault in one is an ExportError."""

import json
from pathlib import Path
from typing import Any

from gpt2edge.errors import ExportError, ModelDirError
from gpt2edge.export.sources.placeholders import check_is_itself
from gpt2edge.model_dir import read_json


def read_source_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a checkpoint's file. Raises ExportError that names the file."""
    try:
        value = read_json(path)
        json.dumps(value, allow_nan=False)
    except ModelDirError as error:
        if path.is_file():
            check_is_itself(path)
        raise ExportError(str(error)) from None
    except ValueError:  # Python reads NaN and Infinity; other readers of a copy would fail
        raise ExportError(
            f"{path} holds NaN or Infinity, which JSON does not have: correct the file"
        ) from None
    return value
