"""Models of llm.c: one file, a header of 256 numbers and then the weights of each kind together.

The layout is that of ``llm.c/train_gpt2.py``'s ``write_model``, versions 3 (float32) and 5
(bfloat16): products are [out, in], the embedding is padded to a multiple of 128 rows.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from gpt2edge.errors import ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.source import Place, Source, listed
from gpt2edge.export.sources.tensors import Readable, Rows, Shape, StoredTensor
from gpt2edge.graph import names
from gpt2edge.graph.names import Block

_WTE: Final = names.weight(names.WTE)
FORM: Final = "llm.c model"
_MODEL: Final = 20240326
_OTHERS: Final = {
    20240327: "the state of a training",
    20240328: "a tokenizer",
    20240520: "tokens to train on",
}
_DTYPES: Final = {3: ("F32", 4), 5: ("BF16", 2)}
_HEADER: Final = 1024
_LARGEST: Final = 1 << 24


def find_llmc(place: Place) -> Path | None:
    """Return the model. Raises ExportError where there are several, or one of another purpose."""
    models = []
    for path in place.matching("*.bin"):
        magic = _magic(path)
        if magic == _MODEL:
            models.append(path)
        elif magic in _OTHERS and place.is_file:
            raise ExportError(f"{path} is a file of llm.c with {_OTHERS[magic]}: give its model")
    if len(models) > 1:
        raise ExportError(
            f"{str(place.path)!r} holds {listed(path.name for path in models)}: give one of these "
            "files"
        )
    return models[0] if models else None


def read_llmc(path: Path, place: Place, options: SourceOptions) -> Source:
    """Read the header and place the tensors behind it."""
    del options
    header = np.fromfile(path, "<i4", 256)
    if header.size != 256:
        raise ExportError(f"{path} ends inside its header: get the file again")
    version, positions, vocab, layers, heads, width, padded = map(int, header[1:8])
    if version not in _DTYPES:
        raise ExportError(f"{path} is of llm.c's version {version}; 3 and 5 are read")
    sizes = (positions, vocab, layers, heads, width, padded)
    if not all(1 <= size <= _LARGEST for size in sizes) or vocab > padded or width % heads:
        raise ExportError(f"{path} has sizes in its header that no model has: get the file again")
    size = path.stat().st_size
    if 12 * layers * width * width > size:  # before a table of the tensors of so many layers
        raise ExportError(f"{path} has {size} bytes, too few for {layers} layers: get it again")
    tensors: dict[str, Readable] = {}
    dtype, itemsize = _DTYPES[version]
    at = _HEADER
    for name, shape in _shapes(layers, width, positions, padded):
        tensors[name] = StoredTensor(path, name, shape, dtype, at)
        at += itemsize * math.prod(shape)
    if at != size:
        raise ExportError(f"{path} has {size} bytes; its header makes it {at}: get the file again")
    tensors[_WTE] = Rows(tensors[_WTE], 0, vocab)
    keys = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_layer": layers,
        "n_head": heads,
        "n_embd": width,
        "n_positions": positions,
        "vocab_size": vocab,
        "activation_function": "gelu_new",
    }
    return Source(
        form=FORM,
        path=place.path,
        folder=place.folder,
        described_in=path,
        keys=keys,
        tensors=tensors,
    )


def _shapes(layers: int, n: int, positions: int, padded: int) -> Iterator[tuple[str, Shape]]:
    """Yield the tensors in the file's order: each kind for all layers."""
    block: dict[str, tuple[Shape, Shape]] = {
        names.LN_1: ((n,), (n,)),
        names.C_ATTN: ((3 * n, n), (3 * n,)),
        names.ATTN_C_PROJ: ((n, n), (n,)),
        names.LN_2: ((n,), (n,)),
        names.C_FC: ((4 * n, n), (4 * n,)),
        names.MLP_C_PROJ: ((n, 4 * n), (n,)),
    }
    yield _WTE, (padded, n)
    yield names.weight(names.WPE), (positions, n)
    for part, (weight, bias) in block.items():
        for layer in range(layers):
            yield names.weight(Block(layer).part(part)), weight
        for layer in range(layers):
            yield names.bias(Block(layer).part(part)), bias
    yield names.weight(names.LN_F), (n,)
    yield names.bias(names.LN_F), (n,)


def _magic(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return int.from_bytes(file.read(4), "little")
    except OSError:
        return 0
