"""Tokenizer classes: the changes that transformers' class makes to a tokenizer's file."""

from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from gpt2edge.export.tokenizers.added_tokens import CONFIG_FILE, TOKENIZER_FILE, optional_json

GPT2_CLASS: Final = "GPT2Tokenizer"
_FILES_OWN: Final = ("PreTrainedTokenizer", "TokenizersBackend")
"""Classes that take ``tokenizer.json`` as it is."""
_PREFIX: Final = "add_prefix_space"


def class_of(source: Path) -> str:
    """Return the tokenizer's class in transformers, without "Fast"; by default GPT-2's."""
    for name in (CONFIG_FILE, "config.json"):
        class_name = optional_json(source / name).get("tokenizer_class")
        if class_name:
            return str(class_name).removesuffix("Fast")
    return GPT2_CLASS


def follow_class(tokenizer: Tokenizer, source: Path, *, is_gpt2: bool) -> list[str]:
    """Change ``tokenizer`` as its class in transformers does; return a note for each exception.

    GPT-2's class (``is_gpt2``) takes ``add_prefix_space`` from ``tokenizer_config.json`` alone, any
    other class from ``tokenizer.json``. Dropout is turned off: it is for training.
    """
    config, name = optional_json(source / CONFIG_FILE), class_of(source)
    if isinstance(tokenizer.model, models.BPE):
        tokenizer.model.dropout = None
    notes = []
    if name not in (GPT2_CLASS, *_FILES_OWN):
        notes.append(f"the tokenizer's files are followed, not the rules of its class, {name}")
    if is_gpt2:
        notes += _as_gpt2(tokenizer, prefix=bool(config.get(_PREFIX)))
    elif _PREFIX in config and _prefix(tokenizer) not in (None, bool(config[_PREFIX])):
        notes.append(
            f"{CONFIG_FILE} has {_PREFIX} {bool(config[_PREFIX])}, {TOKENIZER_FILE} has "
            f"{_prefix(tokenizer)}: this is followed, as transformers 5 does for {name}"
        )
    if config.get("split_special_tokens"):
        notes.append(
            f"{CONFIG_FILE} has split_special_tokens: special tokens that are written out in a "
            "text stay tokens here"
        )
    return notes


def _as_gpt2(tokenizer: Tokenizer, *, prefix: bool) -> list[str]:
    """Set the prefix space and the decoder of byte-level BPE; return a note if more differs."""
    before = tokenizer.pre_tokenizer
    if isinstance(before, pre_tokenizers.ByteLevel):
        before.add_prefix_space = prefix
    if isinstance(before, pre_tokenizers.ByteLevel) and tokenizer.decoder is None:
        tokenizer.decoder = decoders.ByteLevel()
    others = _others(tokenizer)
    if not others:
        return []
    return [
        f"{TOKENIZER_FILE} has {', '.join(others)}, which transformers 5 leaves out for the class "
        f"{GPT2_CLASS}: the file is followed"
    ]


def _others(tokenizer: Tokenizer) -> list[str]:
    """Return the names of the parts that differ from GPT-2's class."""
    model, before = tokenizer.model, tokenizer.pre_tokenizer
    if not isinstance(model, models.BPE):
        return [f"a {type(model).__name__} model"]
    differences: dict[str, Any] = {
        "a normalizer": tokenizer.normalizer,
        "another pre-tokenizer": not isinstance(before, pre_tokenizers.ByteLevel)
        or not before.use_regex,
        "another decoder": not isinstance(tokenizer.decoder, decoders.ByteLevel),
        "ignore_merges": model.ignore_merges,
        "an unk_token of its model": model.unk_token,
        "byte_fallback": model.byte_fallback,
    }
    return [name for name, value in differences.items() if value]


def _prefix(tokenizer: Tokenizer) -> bool | None:
    """Return whether a blank is put before the first word; None without a ByteLevel part."""
    before = tokenizer.pre_tokenizer
    is_byte_level = isinstance(before, pre_tokenizers.ByteLevel)
    return bool(before.add_prefix_space) if is_byte_level else None
