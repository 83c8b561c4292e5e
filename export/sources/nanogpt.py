"""Checkpoints of nanoGPT, build-nanogpt and minGPT: small programs that train a GPT-2 from scratch.

Their products are ``torch.nn.Linear``'s and their tensors have upstream's names; they differ in
where they write the model's sizes, in the form of GELU and in whether the head is tied.
"""

from collections.abc import Mapping
from typing import Any, Final

from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.pickled import Foreign
from gpt2edge.export.sources.source import Place, Source
from gpt2edge.export.sources.tensors import Readable, Rows
from gpt2edge.export.sources.torch_files import TorchFile
from gpt2edge.export.sources.torch_state import state_tensors
from gpt2edge.export.sources.vocabulary import count_tokens
from gpt2edge.graph import names

NANOGPT: Final = "nanoGPT checkpoint"
BUILD_NANOGPT: Final = "build-nanogpt checkpoint"
MINGPT: Final = "minGPT model"
_SIZES: Final = {
    "n_layer": "n_layer",
    "n_head": "n_head",
    "n_embd": "n_embd",
    "n_positions": "block_size",
    "vocab_size": "vocab_size",
}
"""Keys of config.json, and what these programs call them."""
_ROWS: Final = (names.weight(names.WTE), names.weight(names.LM_HEAD))
"""Ends of the names of tensors with a row a token."""
_GPT2: Final = ModelConfig()
_MULTIPLES: Final = (64, 128)
"""To a multiple of these, training programs round the count of rows of the embedding."""


def nanogpt_source(
    file: TorchFile, place: Place, config: Mapping[str, Any] | None, options: SourceOptions
) -> Source | None:
    """Return the checkpoint if ``file`` is of one of the three programs, else None.

    ``config`` is the config.json beside it, which minGPT writes. Raises ExportError for sizes that
    are missing or no numbers.
    """
    value = file.value if type(file.value) is dict else {}
    args, trained = value.get("model_args"), value.get("config")
    if type(args) is dict:  # nanoGPT: exact GELU since May 2023; before that, tanh
        return _source(NANOGPT, file, place, args, {"activation_function": "gelu"}, options)
    if type(trained) is Foreign and type(trained.state) is dict and "block_size" in trained.state:
        return _source(BUILD_NANOGPT, file, place, trained.state, {}, options)
    sizes = config.get("model") if config else None
    if isinstance(sizes, dict) and "block_size" in sizes:
        keys = {"tie_word_embeddings": False}
        return _source(MINGPT, file, place, sizes, keys, options)
    if config is None and options.heads is not None:
        return _source(MINGPT, file, place, _sizes_of_tensors(file, options.heads), {}, options)
    return None


def _source(
    form: str,
    file: TorchFile,
    place: Place,
    sizes: Mapping[Any, Any],
    more: Mapping[str, Any],
    options: SourceOptions,
) -> Source:
    keys: dict[str, Any] = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        **{ours: _whole(file, sizes, theirs) for ours, theirs in _SIZES.items()},
        "activation_function": "gelu_new",
        "bos_token_id": None,
        "eos_token_id": None,
        **more,
    }
    if options.activation is not None:
        keys["activation_function"] = options.activation
    tensors: dict[str, Readable] = {**state_tensors(file)}
    notes = _without_padding(keys, tensors, place, options)
    return Source(
        form=form,
        path=place.path,
        folder=place.folder,
        described_in=file.path,
        keys=keys,
        tensors=tensors,
        notes=tuple(notes),
    )


def _whole(file: TorchFile, sizes: Mapping[Any, Any], name: str) -> int:
    value = sizes.get(name)
    if type(value) is not int:  # never shown: it may hold itself
        raise ExportError(f"{file.path}: its {name} is {_kind(value)}; it must be a whole number")
    return value


def _kind(value: Any) -> str:
    return "absent" if value is None else f"a {type(value).__name__}"


def _sizes_of_tensors(file: TorchFile, heads: int) -> dict[str, int]:
    """Return the sizes that the tensors show, for a model of which only the heads are told."""
    tensors = state_tensors(file)
    shapes = {name.rpartition("wte.")[2]: t.shape for name, t in tensors.items() if "wte." in name}
    positions = [t.shape for name, t in tensors.items() if name.endswith("wpe.weight")]
    layers = [name for name in tensors if name.endswith(names.weight(f".{names.LN_1}"))]
    if len(shapes.get("weight", ())) != 2 or len(positions) != 1 or len(positions[0]) != 2:
        raise ExportError(
            f"{file.path} holds no embeddings of GPT-2's names: it is no minGPT model"
        )
    vocab_size, width = shapes["weight"]
    return {
        "n_layer": len(layers),
        "n_head": heads,
        "n_embd": width,
        "block_size": positions[0][0],
        "vocab_size": vocab_size,
    }


def _without_padding(
    keys: dict[str, Any], tensors: dict[str, Readable], place: Place, options: SourceOptions
) -> list[str]:
    """Cut the embedding's rows beyond the tokenizer's tokens; return what to tell about it."""
    rows = keys["vocab_size"]
    count = count_tokens(options.tokenizer or place.folder)
    if count is None:
        if rows - _GPT2.vocab_size not in range(_MULTIPLES[-1]):
            return []
        return ["its vocabulary is as large as GPT-2's: give a folder with that tokenizer"]
    if rows not in {-(-count // multiple) * multiple for multiple in _MULTIPLES} - {count}:
        return []
    for name in [name for name in tensors if name.endswith(_ROWS)]:
        tensors[name] = Rows(tensors[name], 0, count)
    keys["vocab_size"] = count
    return [f"{rows - count} rows of the embedding belong to no token: {count} of {rows} are kept"]
