"""Read a Hugging Face GPT-2 folder: every name, shape and dtype checked, one tensor at a time."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge._progress import Progress
from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError
from gpt2edge.export.layout import Head, check_layout, find_head, transformer_shapes
from gpt2edge.export.source_files import read_source_json
from gpt2edge.export.tensor_files import StoredTensor, find_tensors


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint: its configuration, its head, and where each tensor lies on disk."""

    path: Path
    keys: Mapping[str, Any]
    config: ModelConfig
    head: Head
    stored: Mapping[str, StoredTensor]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Open a folder with ``config.json`` and ``model.safetensors`` (or shards and an index).

        Only headers are read. Raises ExportError that names the file or tensor at fault.
        """
        folder = Path(path)
        keys = _read_config(folder)
        try:
            config = ModelConfig.from_dict(keys)
        except ValueError as error:
            raise ExportError(f"{folder / 'config.json'}: {error}") from None
        stored = find_tensors(folder)
        head = find_head(keys, config, {name: tensor.shape for name, tensor in stored.items()})
        check_layout(config, head, stored)
        checkpoint = cls(folder, keys, config, head, stored)
        checkpoint._check_tie()
        return checkpoint

    @property
    def parameter_names(self) -> list[str]:
        """Names of the tensors that the model computes with, the tied embedding once."""
        names = [*transformer_shapes(self.config), self.head.weight, self.head.bias]
        return [name for name in dict.fromkeys(names) if name is not None]

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The tensor of this name (without ``transformer.``), read from disk, as float32.

        Raises ExportError where it holds NaN or infinity.
        """
        tensor = self.stored[name].read()
        if not np.isfinite(tensor).all():
            raise ExportError(f"tensor {name!r} holds NaN or infinite values: the model is broken")
        return tensor

    def reader(self, stage: str, progress: Progress) -> Callable[[str], NDArray[np.float32]]:
        """``tensor``, which tells ``progress`` of each one that it reads in this ``stage``."""
        total, numbers = len(self.parameter_names), count()

        def read(name: str) -> NDArray[np.float32]:
            progress(stage, min(next(numbers), total), total)
            return self.tensor(name)

        return read

    def _check_tie(self) -> None:
        """A second copy of a tied embedding must be a copy."""
        tied = self.head.weight == "wte.weight" and "lm_head.weight" in self.stored
        if tied and not np.array_equal(self.tensor("lm_head.weight"), self.tensor("wte.weight")):
            raise ExportError(
                "tensor 'lm_head.weight' differs from 'wte.weight' although tie_word_embeddings "
                "is true: set it to false in config.json to keep both, or remove lm_head.weight"
            )


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ExportError(f"no checkpoint folder at {str(folder)!r}: give a Hugging Face folder")
    if (folder / "manifest.json").is_file() and (folder / "model.onnx").is_file():
        raise ExportError(f"{str(folder)!r} is an exported model already, not a checkpoint")
    return read_source_json(folder / "config.json")
