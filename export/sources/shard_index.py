"""The index of a checkpoint in several files: which tensor is in which."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.json_files import read_source_json


def files_of_index(index: Path, names_in: Callable[[Path], Mapping[str, object]]) -> list[Path]:
    """Return the files that ``index`` names, once each, if they hold what it says.

    ``names_in`` returns a file's tensors by name. Raises ExportError that names the index's fault:
    a file outside the folder, a missing file, or a tensor that is not where the index puts it.
    """
    weight_map = read_source_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ExportError(f"{index} has no weight_map: get the checkpoint again")
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file or "\\" in file:
            raise ExportError(f"{index} puts tensor {name!r} in {file!r}, not a file of the folder")
        if not (index.parent / file).is_file():
            raise ExportError(f"{index.parent / file} is missing: {index.name} puts {name!r} there")
    files = [index.parent / file for file in dict.fromkeys(weight_map.values())]
    _check(weight_map, files, index, names_in)
    return files


def _check(
    weight_map: Mapping[str, Any],
    files: list[Path],
    index: Path,
    names_in: Callable[[Path], Mapping[str, object]],
) -> None:
    held = {(name, path.name) for path in files for name in names_in(path)}
    for name, file in weight_map.items():
        if (name, file) not in held:
            raise ExportError(f"tensor {name!r} is not in {file!r}, where {index.name} puts it")
