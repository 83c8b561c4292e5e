"""inspect_source: what a checkpoint is, before it is exported."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpt2edge._checks import check_path
from gpt2edge.config import ModelConfig
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.tokenizers.kinds import find_tokenizer, why_none

_FLOAT32: Final = 4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """A checkpoint that can be exported.

    ``parameters`` counts the weights, a tied embedding once; ``bytes`` is about the size of the
    exported weights in float32; ``stored_as`` are the types of the tensors by safetensors' names.
    ``tokenizer`` says which file holds it and of which kind it is, or why there is none.
    """

    path: str
    form: str
    architecture: str
    task: str
    config: ModelConfig
    parameters: int
    bytes: int
    stored_as: tuple[str, ...]
    tokenizer: str


def inspect_source(
    source: str | os.PathLike[str], *, options: SourceOptions | None = None
) -> SourceFacts:
    """Find out what ``source`` is; nothing is written, and of its tensors little is read.

    A warning names everything that an export would leave out, rename or convert. Raises ExportError
    where it cannot be exported, with the reason.
    """
    check_path("source", source)
    options = options or SourceOptions()
    checkpoint = Checkpoint.open(source, options)
    sizes = [math.prod(checkpoint.stored[name].shape) for name in checkpoint.parameter_names]
    return SourceFacts(
        path=str(checkpoint.source.path),
        form=checkpoint.source.form,
        architecture=checkpoint.config.architecture,
        task=checkpoint.head.task,
        config=checkpoint.config,
        parameters=sum(sizes),
        bytes=_FLOAT32 * sum(sizes),
        stored_as=tuple(sorted({tensor.dtype for tensor in checkpoint.stored.values()})),
        tokenizer=_tokenizer(checkpoint, options),
    )


def _tokenizer(checkpoint: Checkpoint, options: SourceOptions) -> str:
    source = checkpoint.source
    if source.files and options.tokenizer is None:
        return "in the file itself"
    place = Path(options.tokenizer or source.tokenizer or source.folder)
    found = find_tokenizer(place)
    return why_none(place) if found is None else f"{found.path.name}: {found.kind.value}"
