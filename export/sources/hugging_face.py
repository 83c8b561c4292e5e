"""Folders of Hugging Face transformers: ``config.json`` beside safetensors."""

from pathlib import Path
from typing import Final

from gpt2edge.errors import ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.sources.safetensors import read_safetensors
from gpt2edge.export.sources.shard_index import files_of_index
from gpt2edge.export.sources.source import Place, Source

CONFIG_FILE: Final = "config.json"
SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
FORM: Final = "Hugging Face safetensors"


def find_safetensors(place: Place) -> Path | None:
    """Return the weights, or their index; a file of any name where one was given."""
    if place.is_file and not place.path.name.endswith(INDEX_FILE):
        return place.path if place.path.suffix == ".safetensors" else None
    return next(iter(place.matching(SINGLE_FILE, INDEX_FILE)), None)


def read_hugging_face(weights: Path, place: Place, options: SourceOptions) -> Source:
    """Read the headers of safetensors and the ``config.json`` beside them."""
    del options
    config = place.folder / CONFIG_FILE
    if not config.is_file():
        raise ExportError(
            f"cannot read {str(config)!r}: it is not there, and {weights.name} does not say how "
            "many attention heads the model has: put the model's config.json beside it"
        )
    keys = read_source_json(config)
    if weights.name.endswith(".json"):
        files = files_of_index(weights, lambda path: read_safetensors([path]))
    else:
        files = [weights]
    return Source(
        form=FORM,
        path=place.path,
        folder=place.folder,
        described_in=config,
        keys=keys,
        tensors={**read_safetensors(files)},
    )
