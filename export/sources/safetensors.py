"""safetensors files, single or sharded: headers first, then one tensor at a time.

The ``safetensors`` package checks each header; the bytes are then read straight into one array, so
that neither a memory map nor a second copy of a large tensor stays in memory.
"""

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.sources.tensor_names import own_names
from gpt2edge.runtime.arrays import FloatArray

SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
_DTYPES: Final = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
_BUFFERS: Final = re.compile(  # upstream's causal mask, and positions that count from 0
    r"h\.\d+\.attn\.(bias|masked_bias)|(.+\.)?position_ids"
)
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CONVERT: Final = (
    "import sys, transformers as t; a, b = sys.argv[1:]; "
    "t.AutoModelForCausalLM.from_pretrained(a).save_pretrained(b); "
    "t.AutoTokenizer.from_pretrained(a).save_pretrained(b)"
)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor on disk: the name that its file gives it, its shape, dtype and first byte."""

    path: Path
    stored_name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int

    def read(self) -> FloatArray:
        """Read the tensor as float32, of ``shape``; a float64 out of range becomes infinite.

        Raises ExportError where the file is too short.
        """
        count = math.prod(self.shape)
        try:
            raw = np.fromfile(self.path, _DTYPES[self.dtype], count, offset=self.offset)
        except OSError as error:
            raise ExportError(f"cannot read {str(self.path)!r}: {error.strerror}") from None
        if raw.size != count:
            raise ExportError(f"{self.path} ends inside tensor {self.stored_name!r}")
        if self.dtype == "BF16":  # the upper half of a float32
            raw = (raw.astype("<u4") << np.uint32(16)).view("<f4")
        with np.errstate(over="ignore"):
            return raw.astype(np.float32, copy=False).reshape(self.shape)

    def check_dtype(self) -> None:
        """Raise ExportError for a dtype that weights cannot have."""
        if self.dtype not in _DTYPES:
            raise ExportError(
                f"tensor {self.stored_name!r} is stored as {self.dtype}; it must be F32, F16, "
                "BF16 or F64"
            )


def find_tensors(folder: Path) -> tuple[dict[str, StoredTensor], list[str]]:
    """Find all tensors of a checkpoint folder, by GPT-2's own names, without upstream's buffers.

    Returns the tensors by the names of ``own_names``, and the prefixes that it removed. Raises
    ExportError that names the missing or unreadable file or tensor.
    """
    listed = [stored for path in _tensor_files(folder) for stored in _read_header(path)]
    names, taken_off = own_names([stored.stored_name for stored in listed])
    tensors: dict[str, StoredTensor] = {}
    for name, stored in zip(names, listed, strict=True):
        if _BUFFERS.fullmatch(name):
            continue
        if name in tensors:
            raise ExportError(
                f"tensor {name!r} is stored twice, the second time in {stored.path}: remove one"
            )
        tensors[name] = stored
    return tensors, taken_off


def _tensor_files(folder: Path) -> list[Path]:
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    if (folder / INDEX_FILE).is_file():
        return _shards(folder)
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise ExportError(
            f"{folder / pickles[0]} is a pickle, which can run code when it is read; convert it "
            f"where you trust it: python -c '{_CONVERT}' {shlex.quote(str(folder))} CONVERTED"
        )
    raise ExportError(
        f"{str(folder)!r} has neither {SINGLE_FILE} nor {INDEX_FILE}: give a folder with one"
    )


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    weight_map = read_source_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ExportError(f"{index} has no weight_map: get the checkpoint again")
    for name, file in weight_map.items():
        if not isinstance(file, str) or Path(file).name != file or "\\" in file:
            raise ExportError(f"{index} puts tensor {name!r} in {file!r}, not a file of the folder")
        if not (folder / file).is_file():
            raise ExportError(f"{folder / file} is missing: {index.name} puts {name!r} there")
    shards = [folder / file for file in dict.fromkeys(weight_map.values())]
    _check_index(weight_map, shards)
    return shards


def _check_index(weight_map: Mapping[str, str], shards: list[Path]) -> None:
    held = {(tensor.stored_name, path.name) for path in shards for tensor in _read_header(path)}
    for name, file in weight_map.items():
        if (name, file) not in held:
            raise ExportError(f"tensor {name!r} is not in {file!r}, where {INDEX_FILE} puts it")


def _read_header(path: Path) -> list[StoredTensor]:
    """Return every tensor in the file's header, after ``safetensors`` has accepted the header."""
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
