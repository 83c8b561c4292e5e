"""Files of PyTorch with a GPT-2: of transformers, and of the programs named in ``nanogpt``."""

import re
from pathlib import Path
from typing import Final

from gpt2edge.errors import ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.hugging_face import CONFIG_FILE
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.sources.nanogpt import nanogpt_source
from gpt2edge.export.sources.placeholders import check_is_itself
from gpt2edge.export.sources.shard_index import files_of_index
from gpt2edge.export.sources.source import Place, Source, listed
from gpt2edge.export.sources.tensors import StoredTensor
from gpt2edge.export.sources.torch_files import TorchFile, read_torch_file
from gpt2edge.export.sources.torch_state import state_tensors

SINGLE_FILE: Final = "pytorch_model.bin"
INDEX_FILE: Final = "pytorch_model.bin.index.json"
FORM: Final = "Hugging Face PyTorch file"
_SUFFIXES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PATTERNS: Final = tuple(f"*{suffix}" for suffix in _SUFFIXES)
"""Names of files that may hold a model."""
_OTHERS: Final = re.compile(
    r"(optimizer|scheduler|scaler|rng_state(_\d+)?|training_args|trainer_state|adapter_model"
    r"|gpt2_tokenizer|tokenizer|meta|train|val|test)\.\w+"
)
"""Names, as training programs give them, of files that hold no model."""
_MAGICS: Final = (b"PK\3\4", b"\x80")


def find_pytorch(place: Place) -> Path | None:
    """Return the file with the weights, or the index of several.

    A folder's only file that torch wrote is taken; one of a name that says otherwise is not.
    Raises ExportError where there are several.
    """
    if place.is_file:
        given = place.path
        return given if given.name == INDEX_FILE or _is_of_torch(given) else None
    named = place.matching(SINGLE_FILE, INDEX_FILE)
    if named:
        return named[0]
    found = [place.folder / name for name in place.names if _may_hold_a_model(name)]
    files = [path for path in found if _is_of_torch(path)]
    if len(files) > 1:
        raise ExportError(
            f"{str(place.path)!r} holds {listed(path.name for path in files)}: give one of these "
            "files"
        )
    return files[0] if files else None


def is_other_torch_file(name: str) -> bool:
    """Return whether a file of this name is a torch file of a training, without a model."""
    return name.endswith(_SUFFIXES) and not _may_hold_a_model(name)


def read_pytorch(weights: Path, place: Place, options: SourceOptions) -> Source:
    """Read what a training program or transformers saved, by what the file and its folder hold."""
    config = place.beside(CONFIG_FILE)
    keys = read_source_json(config) if config else None
    if weights.name == INDEX_FILE:
        files = files_of_index(weights, _tensors_in)
        tensors = _joined(files)
    else:
        file = _read(weights)
        source = nanogpt_source(file, place, keys, options)
        if source is not None:
            return source
        tensors = state_tensors(file)
    if config is None or keys is None:
        raise ExportError(
            f"{weights} holds tensors, and nothing says how many attention heads the model has: "
            "put the model's config.json beside it; for a file of minGPT give the number of heads"
        )
    return Source(
        form=FORM,
        path=place.path,
        folder=place.folder,
        described_in=config,
        keys=keys,
        tensors={**tensors},
    )


def _may_hold_a_model(name: str) -> bool:
    return name.endswith(_SUFFIXES) and not _OTHERS.fullmatch(name)


def _is_of_torch(path: Path) -> bool:
    """Return whether the file begins as torch's do, or stands in the place of such a file."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError:
        return False
    return head.startswith(_MAGICS)


def _read(path: Path) -> TorchFile:
    check_is_itself(path)
    return read_torch_file(path)


def _tensors_in(path: Path) -> dict[str, StoredTensor]:
    return state_tensors(_read(path))


def _joined(paths: list[Path]) -> dict[str, StoredTensor]:
    """Return the tensors of all files. Raises ExportError for one that is in two of them."""
    joined: dict[str, StoredTensor] = {}
    for path in paths:
        for name, tensor in _tensors_in(path).items():
            if name in joined:
                raise ExportError(
                    f"tensor {name!r} is stored twice, the second time in {path}: remove one"
                )
            joined[name] = tensor
    return joined
