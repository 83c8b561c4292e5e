"""LoRA adapters of PEFT: their products are added to the weights of the model that they change.

An adapter holds, for a product W, two small matrices A [r, in] and B [out, r]; the model computes
with W + s B A, where s = alpha / r (alpha / sqrt(r) for rank-stabilized LoRA). Hu et al. 2021,
"LoRA: Low-Rank Adaptation of Large Language Models"; the file's names are PEFT's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt2edge.errors import Argument, ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.sources.layout import has_linear_layout, is_product
from gpt2edge.export.sources.placeholders import check_is_itself
from gpt2edge.export.sources.safetensors import read_safetensors
from gpt2edge.export.sources.source import Place, Source
from gpt2edge.export.sources.tensor_names import own_names
from gpt2edge.export.sources.tensors import Readable, View
from gpt2edge.export.sources.torch_files import read_torch_file
from gpt2edge.export.sources.torch_state import state_tensors
from gpt2edge.runtime.arrays import FloatArray

CONFIG_FILE: Final = "adapter_config.json"
_FILES: Final = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX: Final = "base_model.model."
_BASE: Final = "transformer."
_A, _B = ".lora_A.weight", ".lora_B.weight"
_TOKENIZERS: Final = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
_REFUSED: Final = {
    "use_dora": "DoRA",
    "layer_replication": "replicated layers",
    "lora_bias": "biases of its own",
    "use_qalora": "QALoRA",
}
_KEEPS_THE_BASE: Final = ("gaussian", "eva", "orthogonal")
"""Ways to begin a training that leave the base's weights as they are."""
_PLAIN: Final = re.compile(r"[\w.]+")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter: its settings, its tensors by the names of its file, and the base it changes."""

    place: Place
    settings: Mapping[str, Any]
    tensors: Mapping[str, Readable]
    base: Path


@dataclass(frozen=True, slots=True)
class _Merged(View):
    """The base plus ``scale`` B A; transposed where the base is stored as [in, out]."""

    a: Readable
    b: Readable
    scale: float
    is_transposed: bool

    def read(self) -> FloatArray:
        """Read all three and add."""
        change = np.float32(self.scale) * (self.b.read() @ self.a.read())
        merged: FloatArray = self.base.read() + (change.T if self.is_transposed else change)
        return merged


def find_adapter(place: Place) -> Path | None:
    """Return the settings of an adapter, if it is one."""
    if place.is_file and not place.path.name.startswith("adapter_"):
        return None
    return place.beside(CONFIG_FILE)


def read_adapter(settings: Path, place: Place, options: SourceOptions) -> Adapter:
    """Read an adapter, and find its base: ``options.base``, or a folder that its settings name.

    Raises ExportError for another kind of adapter, and for a base that is not here.
    """
    keys = read_source_json(settings)
    _check_kind(settings, keys)
    base = _base(settings, keys, options)
    for name in _FILES:
        path = place.beside(name)
        if path is not None:
            check_is_itself(path)
            binary = path.suffix == ".bin"
            tensors = state_tensors(read_torch_file(path)) if binary else read_safetensors([path])
            return Adapter(place, keys, tensors, base)
    raise ExportError(f"{str(place.folder)!r} has {CONFIG_FILE} and none of {', '.join(_FILES)}")


def merge(adapter: Adapter, base: Source) -> Source:
    """Return the base with the adapter's products added and its other tensors in their places."""
    own, _ = own_names(list(base.tensors))
    stored = dict(zip(own, base.tensors, strict=True))  # the base's names, by upstream's
    linear = has_linear_layout({name: base.tensors[stored[name]] for name in own})
    tensors = dict(base.tensors)
    keys = dict(base.keys)
    for name, tensor in adapter.tensors.items():
        target = name.removeprefix(_PREFIX).removeprefix(_BASE).replace(".base_layer", "")
        if target.endswith(_B):
            continue
        if target.endswith(_A):
            target = target.removesuffix(_A) + ".weight"
            place = stored.get(target)
            if place is None:
                raise ExportError(f"{adapter.place.path}: {name!r} has no place in {base.path}")
            conv1d = is_product(target) and not linear
            tensors[place] = _merged(adapter, name, tensors[place], is_transposed=conv1d)
            continue
        tensors[stored.get(target, target)] = tensor
        keys |= _keys_of(adapter, target, tensor, is_new=target not in stored)
    return replace(
        base,
        form=f"LoRA adapter, merged into {base.form}",
        path=adapter.place.path,
        keys=keys,
        tensors=tensors,
        tokenizer=_tokenizer(adapter) or base.tokenizer,
    )


def _check_kind(settings: Path, keys: Mapping[str, Any]) -> None:
    kind = keys.get("peft_type")
    if kind != "LORA":
        raise ExportError(
            f"{settings}: the adapter is of the kind {kind!r}; LORA is read: merge it where it was "
            "trained (merge_and_unload), save the model and export that"
        )
    used = [name for key, name in _REFUSED.items() if keys.get(key)]
    start = keys.get("init_lora_weights")
    if isinstance(start, str) and start not in _KEEPS_THE_BASE:
        used.append(f"init_lora_weights {start!r}")
    if used:
        raise ExportError(
            f"{settings}: the adapter has {', '.join(used)}, which is not read: merge it where it "
            "was trained (merge_and_unload), save the model and export that"
        )


def _base(settings: Path, keys: Mapping[str, Any], options: SourceOptions) -> Path:
    if options.base is not None:
        return Path(options.base)
    named = keys.get("base_model_name_or_path")
    if isinstance(named, str) and named:
        for path in (Path(named), settings.parent / named):
            if path.is_dir():
                return path
    raise ExportError(
        f"{settings.parent} is an adapter (LoRA) of {named!r}, which is not a folder here: "
        "give the folder of that model as ",
        Argument("base"),
    )


def _merged(adapter: Adapter, name: str, base: Readable, *, is_transposed: bool) -> _Merged:
    """Return the product with its change. Raises ExportError where the shapes do not fit."""
    a, b = adapter.tensors[name], adapter.tensors.get(name.removesuffix(_A) + _B)
    if b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise ExportError(f"{adapter.place.path}: {name!r} has no second matrix that fits it")
    shape = (a.shape[1], b.shape[0]) if is_transposed else (b.shape[0], a.shape[1])
    if base.shape != shape or not a.shape[0]:
        raise ExportError(
            f"{adapter.place.path}: {name!r} changes a product of {list(shape)}; the base's is "
            f"{list(base.shape)}"
        )
    rank = a.shape[0]
    alpha = _alpha(adapter, name.removeprefix(_PREFIX).removesuffix(_A))
    scale = alpha / rank**0.5 if adapter.settings.get("use_rslora") else alpha / rank
    return _Merged(base, a, b, scale, is_transposed)


def _alpha(adapter: Adapter, module: str) -> float:
    """Return alpha of a module: that of the pattern that its name ends in, else the adapter's."""
    value, patterns = adapter.settings.get("lora_alpha"), adapter.settings.get("alpha_pattern")
    for key, alpha in (patterns if isinstance(patterns, dict) else {}).items():
        if not _PLAIN.fullmatch(key):
            raise ExportError(f"{adapter.place.path}: alpha_pattern {key!r} is not a plain name")
        if module == key or module.endswith(f".{key}"):
            value = alpha
            break
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExportError(f"{adapter.place.path}: lora_alpha is {value!r}; it must be a number")
    return float(value)


def _keys_of(adapter: Adapter, name: str, tensor: Readable, *, is_new: bool) -> dict[str, Any]:
    """Return what a tensor of the adapter's own changes in the configuration.

    Raises ExportError for one that the base has no place for.
    """
    if name == "wte.weight" and tensor.shape:
        return {"vocab_size": tensor.shape[0]}
    if name == "lm_head.weight":
        return {"tie_word_embeddings": False}
    if name == "score.weight" and tensor.shape:
        labels = {"num_labels": tensor.shape[0], "id2label": None}
        return {"architectures": ["GPT2ForSequenceClassification"], **labels}
    if is_new:
        raise ExportError(f"{adapter.place.path}: its tensor {name!r} has no place in the base")
    return {}


def _tokenizer(adapter: Adapter) -> Path | None:
    folder = adapter.place.folder
    return folder if any((folder / name).is_file() for name in _TOKENIZERS) else None
