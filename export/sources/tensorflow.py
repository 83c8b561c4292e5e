"""OpenAI's release of GPT-2 and runs of gpt-2-simple: TensorFlow checkpoints."""

import re
from pathlib import Path
from typing import Any, Final

from gpt2edge.errors import ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.sources.placeholders import check_is_itself
from gpt2edge.export.sources.source import Place, Source
from gpt2edge.export.sources.tensor_bundle import read_bundle
from gpt2edge.export.sources.tensors import Readable, Reshaped, StoredTensor
from gpt2edge.graph import names
from gpt2edge.graph.names import Block

FORM: Final = "TensorFlow checkpoint of OpenAI's GPT-2"
_WTE, _WPE = names.weight(names.WTE), names.weight(names.WPE)
_HPARAMS: Final = "hparams.json"
_SIZES: Final = {
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
    "n_positions": "n_ctx",
    "vocab_size": "n_vocab",
}
_PARTS: Final = (
    *(names.LN_1, names.LN_2, names.LN_F),
    *(names.C_ATTN, names.ATTN_C_PROJ, names.C_FC, names.MLP_C_PROJ),
)
_NAME: Final = re.compile(
    rf"model/(?:({names.WTE}|{names.WPE})"
    rf"|(?:h(\d+)/)?({'|'.join(_PARTS).replace('.', '/')})/([wgb]))"
)
_STEP: Final = re.compile(r"(\d+)\.index$")
_STATE: Final = re.compile(r'model_checkpoint_path:\s*"([^"\n]*)"')


def find_tensorflow(place: Place) -> Path | None:
    """Return the index of the checkpoint: the one that ``checkpoint`` names, or the last step."""
    found = place.matching("*.index")
    if place.is_file and not found:
        stem, _, _ = place.path.name.partition(".data-")
        index = place.folder / f"{stem}.index"
        return index if stem != place.path.name and index.is_file() else None
    if not found:
        return None
    return _named(place, found) or max(found, key=_step)


def read_tensorflow(index: Path, place: Place, options: SourceOptions) -> Source:
    """Read the index and ``hparams.json``; the kernels are laid out as upstream's."""
    check_is_itself(index)
    tensors = dict(filter(None, map(_renamed, read_bundle(index).values())))
    hparams = place.beside(_HPARAMS)
    keys: dict[str, Any] = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    if hparams is not None:
        given = read_source_json(hparams)
        keys |= {ours: given.get(theirs) for ours, theirs in _SIZES.items()}
    elif options.heads is not None:
        keys |= _sizes_of_tensors(index, tensors, options.heads)
    else:
        raise ExportError(
            f"{index} has no {_HPARAMS} beside it, and no tensor shows the number of attention "
            "heads: put the file there, or give the number of heads"
        )
    return Source(
        form=FORM,
        path=place.path,
        folder=place.folder,
        described_in=hparams or index,
        keys=keys,
        tensors=tensors,
    )


def _named(place: Place, found: list[Path]) -> Path | None:
    """Return the index that the file ``checkpoint`` names, maybe in another machine's folder."""
    state = place.beside("checkpoint")
    if state is None or state.stat().st_size > 1 << 16:
        return None
    named = _STATE.search(state.read_text(encoding="utf-8", errors="replace"))
    last = re.split(r"[/\\]", named[1])[-1] if named else ""
    return next((path for path in found if path.name == f"{last}.index"), None)


def _step(index: Path) -> tuple[int, str]:
    step = _STEP.search(index.name)
    return (int(step[1]) if step else -1, index.name)


def _renamed(tensor: StoredTensor) -> tuple[str, Readable] | None:
    """Return upstream's name and the tensor; None for one of an optimizer.

    A kernel is [1, in, out]: a convolution of width one.
    """
    match = _NAME.fullmatch(tensor.stored_name)
    if match is None:
        return None
    embedding, layer, part, last = match.groups()
    if embedding:
        return names.weight(embedding), tensor
    own = part.replace("/", ".")
    stem = own if layer is None else Block(int(layer)).part(own)
    name = names.bias(stem) if last == "b" else names.weight(stem)
    is_kernel = last == "w" and len(tensor.shape) == 3 and tensor.shape[0] == 1
    return name, Reshaped(tensor, tensor.shape[1:]) if is_kernel else tensor


def _sizes_of_tensors(index: Path, tensors: dict[str, Readable], heads: int) -> dict[str, int]:
    """Return the sizes that the tensors show."""
    try:
        (vocab_size, width), (positions, _) = (tensors[n].shape for n in (_WTE, _WPE))
    except (KeyError, ValueError):
        raise ExportError(f"{index} holds no embeddings of GPT-2's names") from None
    layers = sum(name.endswith(names.weight(names.LN_1)) for name in tensors)
    sizes = (layers, heads, width, positions, vocab_size)
    return dict(zip(_SIZES, sizes, strict=True))
