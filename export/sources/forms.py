"""The forms in which a GPT-2 is found: which one SOURCE is, and what to do where none is read.

To add a form, write its file beside this one and add its line to ``FORMS``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpt2edge.errors import ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources import hugging_face, pytorch
from gpt2edge.export.sources.placeholders import check_is_itself
from gpt2edge.export.sources.source import Place, Source, listed


@dataclass(frozen=True, slots=True)
class Form:
    """A form that is read: ``find`` returns the file that shows it, or None; ``read`` opens it."""

    find: Callable[[Place], Path | None]
    read: Callable[[Path, Place, SourceOptions], Source]


FORMS: Final = (
    Form(hugging_face.find_safetensors, hugging_face.read_hugging_face),
    Form(pytorch.find_pytorch, pytorch.read_pytorch),
)
"""The first that finds its file reads the source."""

_CONVERT: Final = (
    "load it with a transformers that reads it (4.x) and save it again: "
    "GPT2LMHeadModel.from_pretrained(SOURCE, {flag}=True).save_pretrained(CONVERTED)"
)
_REFUSED: Final = (
    ("tf_model.h5", "is of TensorFlow's Keras", _CONVERT.format(flag="from_tf")),
    ("flax_model.msgpack", "is of Flax", _CONVERT.format(flag="from_flax")),
    ("rust_model.ot", "is of rust-bert", "give the model's safetensors or PyTorch file"),
    ("*.tflite", "is of TensorFlow Lite", "give the checkpoint from which it was made"),
    ("*.h5", "is of Keras", "give the checkpoint from which it was made"),
    ("ggml-*.bin", "is of GGML, before GGUF", "give the checkpoint from which it was made"),
    ("*.onnx", "is an ONNX graph", "give the checkpoint from which it was made"),
    ("*.msgpack", "is of Flax", "give the model's safetensors or PyTorch file"),
)
"""Files of forms that are not read: what they are, and what to do."""
_WEIGHTS: Final = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.gguf")


def open_source(path: Path, options: SourceOptions) -> Source:
    """Find the form of ``path``, a folder or a file, and open it; no tensor is read.

    Raises ExportError that says what it is instead, and what to do.
    """
    if not path.exists():
        raise ExportError(f"nothing is at {str(path)!r}: give the folder or the file of a model")
    if not path.is_dir() and not path.is_file():
        raise ExportError(f"{str(path)!r} is neither a folder nor a regular file")
    place = Place.of(path)
    if place.beside("manifest.json") and place.beside("model.onnx"):
        raise ExportError(
            f"{str(path)!r} is an exported model already: give its checkpoint instead"
        )
    for form in FORMS:
        weights = form.find(place)
        if weights is not None:
            return form.read(weights, place, options)
    raise ExportError(_what_it_is(place))


def _what_it_is(place: Place) -> str:
    """Return what is known of a source of no form that is read, and what to do."""
    for pattern, what, remedy in _REFUSED:
        for path in place.matching(pattern):
            return f"{path} {what}, which is not read: {remedy}"
    for path in place.matching(*_WEIGHTS):
        check_is_itself(path)
    for path in place.matching(*pytorch.PATTERNS):
        if not pytorch.is_other_torch_file(path.name):
            return (
                f"{path} has the name of a PyTorch file, and does not begin like one: get the file "
                "again, or save the weights with torch.save(model.state_dict(), 'pytorch_model.bin')"
            )
    if place.is_file:
        return f"{place.path} is of no form that is read: see 'gpt2edge export --help'"
    steps = sorted(path.name for path in place.path.glob("checkpoint-*") if path.is_dir())
    if steps:
        which = "give it" if len(steps) == 1 else "give one of these"
        return f"{str(place.path)!r} holds {listed(steps)}: {which} ({place.path / steps[-1]})"
    others = [name for name in place.names if pytorch.is_other_torch_file(name)]
    if others:
        return (
            f"{str(place.path)!r} holds the state of a training ({listed(others)}) and no weights: "
            "give the folder of a checkpoint that has them"
        )
    missing = "neither weights nor" if not place.beside("config.json") else "a config.json but no"
    return (
        f"{str(place.path)!r} has {missing} "
        f"{'a config.json' if missing.startswith('neither') else 'weights'}: give a folder with "
        f"{hugging_face.SINGLE_FILE} or {pytorch.SINGLE_FILE}, or a file of weights"
    )
