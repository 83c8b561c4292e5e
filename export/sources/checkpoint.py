"""Checkpoint: a GPT-2 of any form that is read, its names, shapes and dtypes checked."""

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
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources import hugging_face, pytorch
from gpt2edge.export.sources.families import gpt2_names
from gpt2edge.export.sources.forms import open_source
from gpt2edge.export.sources.layout import (
    add_zero_biases,
    has_linear_layout,
    has_no_biases,
    is_buffer,
    todays_name,
    transpose_products,
)
from gpt2edge.export.sources.source import Source
from gpt2edge.export.sources.tensor_layout import (
    Head,
    check_layout,
    find_head,
    is_other_head,
    transformer_shapes,
    unknown_architecture,
    value_head,
)
from gpt2edge.export.sources.tensor_names import own_names
from gpt2edge.export.sources.tensors import Readable, check_dtype
from gpt2edge.graph import names
from gpt2edge.runtime.arrays import FloatArray

_WTE: Final = names.weight(names.WTE)
_LM_HEAD: Final = names.weight(names.LM_HEAD)
_FOREIGN: Final = ("hidden_act", "layer_norm_eps", "rms_norm_eps", "intermediate_size")
"""Names that other model families use for GPT-2's keys; transformers ignores them for GPT-2 too."""
_UPSTREAM: Final = (hugging_face.FORM, pytorch.FORM)
"""Forms of transformers, in which another layout is worth a note."""
_log = logging.getLogger("gpt2edge")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint: its configuration, its head, and each tensor's location on disk."""

    source: Source
    keys: Mapping[str, Any]
    config: ModelConfig
    head: Head
    stored: Mapping[str, Readable]

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], options: SourceOptions | None = None
    ) -> "Checkpoint":
        """Open a folder or file of one of the forms that ``forms`` lists.

        Only headers are read, and the embedding if it is stored twice. A warning names everything
        that is left out, renamed or converted. Raises ExportError that names the file or tensor at
        fault, or says what the source is instead.
        """
        options = options or SourceOptions()
        source = open_source(Path(path), options)
        config = _config_of(source)
        tensors, notes = _gpt2_tensors(source, config)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        head, keys = find_head(source.keys, config, shapes), source.keys
        if options.head is not None:
            head = value_head(options.head, source.keys, shapes)
            keys = {**keys, "architectures": None, "num_labels": 1, "id2label": {"0": options.head}}
        others = [name for name in tensors if is_other_head(name, head)]
        stored = {name: tensor for name, tensor in tensors.items() if name not in others}
        for tensor in stored.values():
            check_dtype(tensor)
        check_layout(config, head, stored)
        checkpoint = cls(source, keys, config, head, stored)._with_its_own_head()
        for line in (*source.notes, *checkpoint._notes(others), *notes):
            _log.warning("%s: %s", source.path, line)
        return checkpoint

    @property
    def path(self) -> Path:
        """Return the folder that holds the tokenizer and the generation settings."""
        return self.source.folder

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
            self.source.path,
            _LM_HEAD,
            _WTE,
        )
        return replace(
            self,
            keys={**self.keys, "tie_word_embeddings": False},
            config=replace(self.config, tie_word_embeddings=False),
            head=replace(self.head, weight=_LM_HEAD),
        )

    def _notes(self, others: list[str]) -> Iterator[str]:
        """Yield one line for each thing that was left out or converted."""
        unknown = unknown_architecture(self.keys)
        if unknown is not None:
            name = "GPT-2" if self.config.architecture == "gpt2" else self.config.architecture
            code = "; its own code (auto_map) is not run" if self.keys.get("auto_map") else ""
            yield f"architecture {unknown!r} is read as a plain {name} for {self.head.task}{code}"
        foreign = [name for name in _FOREIGN if self.keys.get(name) is not None]
        if foreign and self.config.architecture == "gpt2":
            yield f"config.json: {', '.join(foreign)}: no keys of GPT-2's, without effect"
        if others:
            more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
            yield f"tensor {others[0]!r}{more} is of another head and left out"
        doubles = [name for name, tensor in self.stored.items() if tensor.dtype == "F64"]
        if doubles:
            yield f"{len(doubles)} tensors are stored as F64 and rounded to float32"


def _config_of(source: Source) -> ModelConfig:
    try:
        kind = source.keys.get("model_type", "gpt2")
        name = HEADS.get(kind) if isinstance(kind, str) else None
        own = source.keys if kind != "gpt2" else with_own_names(source.keys)
        if name is not None and own.get(name) is None:  # the one size that no tensor shows
            raise ValueError(f"{name} is absent: add it, as the model was trained")
        return ModelConfig.from_dict(source.keys)
    except ValueError as error:
        raise ExportError(f"{source.described_in}: {error}") from None


def _gpt2_tensors(source: Source, config: ModelConfig) -> tuple[dict[str, Readable], list[str]]:
    """Return the tensors by upstream's names and in its layout, and notes on what was changed."""
    tensors, taken_off = _by_own_names(source)
    notes = []
    if taken_off and source.form in _UPSTREAM:
        notes.append(f"names of tensors hold {', '.join(map(repr, taken_off))}, which is taken off")
    tensors = gpt2_names(source.keys, config, tensors)
    if config.tie_word_embeddings and _WTE not in tensors and _LM_HEAD in tensors:
        tensors[_WTE] = tensors.pop(_LM_HEAD)  # one tensor, saved under its other name
    if has_linear_layout(tensors):
        tensors = transpose_products(tensors)
        if source.form in _UPSTREAM:
            notes.append("its products are stored as [out, in], as torch.nn.Linear's: transposed")
    if has_no_biases(tensors):
        tensors = add_zero_biases(tensors)
        if source.form in _UPSTREAM:
            notes.append("no bias is stored: all are zero")
    return tensors, notes


def _by_own_names(source: Source) -> tuple[dict[str, Readable], list[str]]:
    """Return the tensors without wrappers' names and without buffers, and what was taken off."""
    try:
        own, taken_off = own_names(list(source.tensors))
    except ExportError as error:
        raise ExportError(f"{source.path}: {error}") from None
    tensors: dict[str, Readable] = {}
    for name, tensor in zip(map(todays_name, own), source.tensors.values(), strict=True):
        if is_buffer(name):
            continue
        if name in tensors:
            raise ExportError(
                f"tensor {name!r} is stored twice, the second time as {tensor.stored_name!r}: "
                "remove one"
            )
        tensors[name] = tensor
    return tensors, taken_off
