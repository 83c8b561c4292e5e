"""The forms in which a GPT-2 is found: which one SOURCE is, and what to do where none is read.

To add a form, write its file beside this one and add its line to ``FORMS``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gpt2edge.config import with_own_names
from gpt2edge.errors import Argument, ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources import gguf, hugging_face, llmc, lora, pytorch, tensorflow
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
    Form(tensorflow.find_tensorflow, tensorflow.read_tensorflow),
    Form(llmc.find_llmc, llmc.read_llmc),
    Form(gguf.find_gguf, gguf.read_gguf),
)
"""The first that finds its file reads the source."""

_OTHER_FILE: Final = "give the model's safetensors or PyTorch file"
_ORIGIN: Final = "give the checkpoint from which it was made"
_REFUSED: Final = (
    ("tf_model.h5", "is of TensorFlow's Keras", _OTHER_FILE),
    ("flax_model.msgpack", "is of Flax", _OTHER_FILE),
    ("rust_model.ot", "is of rust-bert", _OTHER_FILE),
    ("*.tflite", "is of TensorFlow Lite", _ORIGIN),
    ("*.h5", "is of Keras", _ORIGIN),
    ("ggml-*.bin", "is of GGML, before GGUF", _ORIGIN),
    ("*.onnx", "is an ONNX graph", _ORIGIN),
    ("*.msgpack", "is of Flax", _OTHER_FILE),
)
"""Files of forms that are not read: what they are, and what to do."""
_WEIGHTS: Final = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.gguf")


def open_source(path: Path, options: SourceOptions) -> Source:
    """Find the form of ``path``, a folder or a file, and open it; no tensor is read.

    Raises ExportError that says what it is instead, and what to do.
    """
    index = path.with_name(f"{path.name}.index")
    if not path.exists() and index.is_file():  # the way in which TensorFlow names a checkpoint
        path = index
    if not path.exists():
        raise ExportError(f"nothing is at {str(path)!r}: give the folder or the file of a model")
    if not path.is_dir() and not path.is_file():
        raise ExportError(f"{str(path)!r} is neither a folder nor a regular file")
    place = Place.of(path)
    settings = lora.find_adapter(place)
    if settings is not None:
        adapter = lora.read_adapter(settings, place, options)
        return lora.merge(adapter, open_source(adapter.base, replace(options, base=None)))
    if options.base is not None:
        raise ExportError(f"{str(path)!r} is no adapter: ", Argument("base"), " is for adapters")
    source = _read(place, options)
    try:
        return _with_options(source, options)
    except ValueError as error:
        raise ExportError(f"{source.described_in}: {error}") from None


def _read(place: Place, options: SourceOptions) -> Source:
    if place.beside("manifest.json") and place.beside("model.onnx"):
        raise ExportError(
            f"{str(place.path)!r} is an exported model already: give its checkpoint instead"
        )
    for form in FORMS:
        weights = form.find(place)
        if weights is not None:
            return form.read(weights, place, options)
    raise ExportError(_what_it_is(place))


def _with_options(source: Source, options: SourceOptions) -> Source:
    """Return the source with what it does not say itself.

    Raises ExportError for options that contradict what it says.
    """
    given = {"n_head": options.heads, "activation_function": options.activation}
    said = with_own_names(source.keys)
    for key, argument in (("n_head", "heads"), ("activation_function", "activation")):
        if given[key] is not None and said.get(key) not in (None, given[key]):
            raise ExportError(
                f"{source.described_in} says that {key} is {said[key]!r}: leave out ",
                Argument(argument, given[key]),
            )
    missing = {key: value for key, value in given.items() if value and said.get(key) is None}
    return replace(source, keys={**source.keys, **missing}) if missing else source


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
                f"{path} has the name of a PyTorch file, and does not begin like one of "
                "torch.save: get the file again"
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
