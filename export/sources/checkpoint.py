"""Checkpoint: a Hugging Face GPT-2 folder, its names, shapes and dtypes checked."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt2edge._families import HEADS
from gpt2edge._progress import Progress
from gpt2edge.config import ModelConfig, with_own_names
from gpt2edge.errors import ExportError
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.sources.safetensors import find_tensors
from gpt2edge.export.sources.families import gpt2_names
from gpt2edge.export.sources.tensors import Readable, check_dtype
from gpt2edge.export.sources.tensor_layout import (
    Head,
    check_layout,
    find_head,
    is_other_head,
    transformer_shapes,
    unknown_architecture,
)
from gpt2edge.graph import names
from gpt2edge.runtime.arrays import FloatArray

_WTE: Final = names.weight(names.WTE)
_LM_HEAD: Final = names.weight(names.LM_HEAD)
_FOREIGN: Final = ("hidden_act", "layer_norm_eps", "rms_norm_eps", "intermediate_size")
"""Names that other model families use for GPT-2's keys; transformers ignores them for GPT-2 too."""
_log = logging.getLogger("gpt2edge")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint: its configuration, its head, and each tensor's location on disk."""

    path: Path
    keys: Mapping[str, Any]
    config: ModelConfig
    head: Head
    stored: Mapping[str, Readable]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Open a folder with ``config.json`` and ``model.safetensors`` (or shards and an index).

        Only headers are read, and the embedding if it is stored twice. A warning names everything
        that is left out, renamed or converted. Raises ExportError that names the file or tensor at
        fault.
        """
        folder = Path(path)
        keys = _read_config(folder)
        config = _config_of(keys, folder)
        found, taken_off = find_tensors(folder)
        tensors = gpt2_names(keys, config, found)
        if config.tie_word_embeddings and _WTE not in tensors and _LM_HEAD in tensors:
            tensors[_WTE] = tensors.pop(_LM_HEAD)  # one tensor, saved under its other name
        head = find_head(keys, config, {name: tensor.shape for name, tensor in tensors.items()})
        others = [name for name in tensors if is_other_head(name, head)]
        stored = {name: tensor for name, tensor in tensors.items() if name not in others}
        for tensor in stored.values():
            check_dtype(tensor)
        check_layout(config, head, stored)
        checkpoint = cls(folder, keys, config, head, stored)._with_its_own_head()
        for line in checkpoint._notes(taken_off, others):
            _log.warning("%s: %s", folder, line)
        return checkpoint

    @property
    def parameter_names(self) -> list[str]:
        """Return the names of the tensors that the model computes with, the tied embedding once."""
        names = [*transformer_shapes(self.config), self.head.weight, self.head.bias]
        return [name for name in dict.fromkeys(names) if name is not None]

    def tensor(self, name: str) -> FloatArray:
        """Read the tensor of this name (without ``transformer.``) from disk, as float32.

        Raises ExportError where it holds NaN or infinity.
        """
        tensor = self.stored[name].read()
        if not np.isfinite(tensor).all():
            raise ExportError(
                f"tensor {name!r} holds NaN or infinite values: get the checkpoint again"
            )
        return tensor

    def reader(self, stage: str, progress: Progress) -> Callable[[str], FloatArray]:
        """Return ``tensor`` as a function that reports each read to ``progress`` as ``stage``."""
        total, numbers = len(self.parameter_names), count()

        def read(name: str) -> FloatArray:
            progress(stage, min(next(numbers), total), total)
            return self.tensor(name)

        return read

    def _with_its_own_head(self) -> "Checkpoint":
        """Untie the head if its stored copy differs from the embedding, as transformers does."""
        tied = self.head.weight == _WTE and _LM_HEAD in self.stored
        if not tied or np.array_equal(self.tensor(_LM_HEAD), self.tensor(_WTE)):
            return self
        _log.warning(
            "%s: tensor %r differs from %r although tie_word_embeddings is true: both are kept, "
            "and the exported config.json says false",
            self.path,
            _LM_HEAD,
            _WTE,
        )
        return replace(
            self,
            keys={**self.keys, "tie_word_embeddings": False},
            config=replace(self.config, tie_word_embeddings=False),
            head=replace(self.head, weight=_LM_HEAD),
        )

    def _notes(self, taken_off: list[str], others: list[str]) -> Iterator[str]:
        """Yield one line for each thing that was left out, renamed or converted."""
        unknown = unknown_architecture(self.keys)
        if unknown is not None:
            code = "; its own code (auto_map) is not run" if self.keys.get("auto_map") else ""
            yield f"architecture {unknown!r} is read as a plain GPT-2 for {self.head.task}{code}"
        foreign = [name for name in _FOREIGN if self.keys.get(name) is not None]
        if foreign and self.config.architecture == "gpt2":
            yield f"config.json: {', '.join(foreign)}: no keys of GPT-2's, without effect"
        if taken_off:
            yield f"names of tensors hold {', '.join(map(repr, taken_off))}, which is taken off"
        if others:
            more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
            yield f"tensor {others[0]!r}{more} is of another head and left out"
        doubles = [name for name, tensor in self.stored.items() if tensor.dtype == "F64"]
        if doubles:
            yield f"{len(doubles)} tensors are stored as F64 and rounded to float32"


def _config_of(keys: Mapping[str, Any], folder: Path) -> ModelConfig:
    try:
        config, name = ModelConfig.from_dict(keys), HEADS.get(keys.get("model_type"), "n_head")
        own = with_own_names(keys) if name == "n_head" else keys
        if own.get(name) is None:  # the one size that no tensor shows
            raise ValueError(f"{name} is absent: add it, as the model was trained")
        return config
    except ValueError as error:
        raise ExportError(f"{folder / 'config.json'}: {error}") from None


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ExportError(f"no checkpoint folder at {str(folder)!r}: give a Hugging Face folder")
    if (folder / "manifest.json").is_file() and (folder / "model.onnx").is_file():
        raise ExportError(
            f"{str(folder)!r} is an exported model already: give its checkpoint instead"
        )
    return read_source_json(folder / "config.json")
