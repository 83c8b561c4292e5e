"""Checkpoint folders with a tokenizer.json, and what other tokenizer files may say beside it.

``python -m tests.export.tokenizer_folders`` prints ``tokenizer_ids.json``: what transformers reads.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

TEXT: Final = "he <a> ll<b> the<c>x<|endoftext|> <p> jardín <d>he hex <x><y> Hello"
"""A text that every token of these folders occurs in."""

FAST: Final = {"tokenizer_class": "PreTrainedTokenizerFast"}
GPT2: Final = {"tokenizer_class": "GPT2TokenizerFast"}
A: Final = {"content": "<a>", "special": False, "lstrip": True}
B: Final = {"content": "<b>", "special": True, "rstrip": True, "normalized": False}
END: Final = {"content": "<|endoftext|>", "special": True, "normalized": False}
DECODER: Final = {"added_tokens_decoder": {"259": END, "260": A, "261": B}}
MAP: Final[Mapping[str, Any]] = {
    "pad_token": "<p>",
    "eos_token": {"content": "<b>", "lstrip": True, "rstrip": False, "normalized": False},
    "additional_special_tokens": ["<c>", "<d>"],
}

Beside = Mapping[str, Mapping[str, Any]]
"""JSON objects by the names of the files that hold them."""


def library(*, prefix: bool = False, added: tuple[AddedToken, ...] = ()) -> Tokenizer:
    """A byte-level BPE: the 256 bytes, three merges, ``<|endoftext|>`` and ``added``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("Ġ", "he"), ("l", "l")]
    vocab = {piece: at for at, piece in enumerate([*alphabet, *map("".join, merges)])}
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    made.add_tokens([AddedToken("<|endoftext|>", special=True), *added])
    return made


def write_folder(
    folder: Path, tokenizer: Tokenizer, beside: Beside, *, is_whole: bool = True
) -> Path:
    """Write ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``, and the files beside it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    if is_whole:
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        tokenizer.model.save(str(folder))
    for name, value in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def lower(tokenizer: Tokenizer) -> Tokenizer:
    """The same, with a normalizer."""
    tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def dropping(tokenizer: Tokenizer) -> Tokenizer:
    """The same, with BPE dropout."""
    tokenizer.model.dropout = 0.5
    return tokenizer


FOLDERS: Final[Mapping[str, tuple[Tokenizer, Beside]]] = {
    "alone": (library(), {}),
    "prefix in tokenizer.json alone": (library(prefix=True), {}),
    "prefix in tokenizer.json, class": (library(prefix=True), {"tokenizer_config": GPT2}),
    "prefix in tokenizer.json, denied": (
        library(prefix=True),
        {"tokenizer_config": {"add_prefix_space": False}},
    ),
    "prefix in the config": (library(), {"tokenizer_config": {"add_prefix_space": True}}),
    "prefix in the config, class": (
        library(),
        {"tokenizer_config": {**GPT2, "add_prefix_space": True}},
    ),
    "prefix in the config, any class": (
        library(),
        {"tokenizer_config": {**FAST, "add_prefix_space": True}},
    ),
    "prefix in tokenizer.json, any class": (
        library(prefix=True),
        {"tokenizer_config": {**FAST, "add_prefix_space": False}},
    ),
    "tokens in the config": (library(), {"tokenizer_config": DECODER}),
    "tokens in the config, any class": (library(), {"tokenizer_config": {**FAST, **DECODER}}),
    "added_tokens.json": (library(), {"added_tokens": {"<b>": 261, "<a>": 260}}),
    "added_tokens.json, any class": (
        library(),
        {"added_tokens": {"<b>": 261, "<a>": 260}, "tokenizer_config": FAST},
    ),
    "added_tokens.json and a map": (
        library(),
        {"added_tokens": {"<b>": 261, "<p>": 260}, "special_tokens_map": MAP},
    ),
    "a map": (library(), {"special_tokens_map": MAP}),
    "a map, any class": (library(), {"special_tokens_map": MAP, "tokenizer_config": FAST}),
    "a map beside tokens in the config": (
        library(),
        {"special_tokens_map": MAP, "tokenizer_config": DECODER},
    ),
    "roles in the config": (
        library(),
        {
            "tokenizer_config": {
                "pad_token": {"__type": "AddedToken", "content": "<p>", "lstrip": True},
                "unk_token": None,
                "additional_special_tokens": ["<c>"],
                "image_token": "<x>",
            }
        },
    ),
    "lists in both files, any class": (
        library(),
        {
            "tokenizer_config": {**FAST, "additional_special_tokens": ["<x>"]},
            "special_tokens_map": {"additional_special_tokens": ["<y>"], "pad_token": "<p>"},
        },
    ),
    "lists of either name": (
        library(),
        {
            "tokenizer_config": {
                "additional_special_tokens": ["<x>"],
                "extra_special_tokens": ["<y>"],
            },
            "special_tokens_map": {"extra_special_tokens": ["<c>", {"content": "<d>"}]},
        },
    ),
    "a role in three files": (
        library(added=(AddedToken("<p>"),)),
        {
            "tokenizer_config": {
                "pad_token": "<a>",
                "mask_token": {"__type": "AddedToken", "content": "<x>"},
            },
            "special_tokens_map": {"pad_token": "<b>", "sep_token": "<c>"},
            "added_tokens": {"<c>": 261, "jardín": 262},
        },
    ),
    "end of text under another name": (
        library(),
        {"tokenizer_config": {"bos_token": "<s>", "eos_token": "<d>", "unk_token": None}},
    ),
    "extra tokens by name": (
        library(),
        {"tokenizer_config": {"extra_special_tokens": {"image_token": "<x>", "audio": "<y>"}}},
    ),
    "a plain token with a role": (
        library(added=(AddedToken("<p>"), AddedToken("<c>"))),
        {"tokenizer_config": {"pad_token": "<p>", "additional_special_tokens": ["<c>"]}},
    ),
    "a plain token with a role, any class": (
        library(added=(AddedToken("<p>"), AddedToken("<c>"))),
        {"tokenizer_config": {**FAST, "pad_token": "<p>", "additional_special_tokens": ["<c>"]}},
    ),
    "a word of the vocabulary with a role": (
        library(),
        {"special_tokens_map": {"pad_token": "he"}},
    ),
    "other flags": (
        library(added=(AddedToken("<a>", special=True), AddedToken("<b>", lstrip=True))),
        {"tokenizer_config": DECODER},
    ),
    "other flags, any class": (
        library(added=(AddedToken("<a>", special=True), AddedToken("<b>", lstrip=True))),
        {"tokenizer_config": {**FAST, **DECODER}},
    ),
    "single words and normalized": (
        library(),
        {
            "tokenizer_config": {
                "added_tokens_decoder": {
                    "259": END,
                    "260": {"content": "hex", "single_word": True, "special": False},
                    "261": {"content": "jardín", "normalized": True, "special": False},
                }
            }
        },
    ),
    "ids that leave a gap": (
        library(),
        {"tokenizer_config": {"added_tokens_decoder": {"259": END, "300": A, "299": B}}},
    ),
    "ids that others have": (
        library(),
        {"tokenizer_config": {"added_tokens_decoder": {"259": END, "7": A, "258": B}}},
    ),
    "ids in another order": (
        library(added=(AddedToken("<b>"), AddedToken("<a>"))),
        {"tokenizer_config": DECODER},
    ),
    "tokens in tokenizer.json alone": (
        library(added=(AddedToken("<c>", special=True), AddedToken("<d>"))),
        {"tokenizer_config": {**GPT2, "added_tokens_decoder": {"259": END}}},
    ),
    "tokens in tokenizer.json alone, any class": (
        library(added=(AddedToken("<c>", special=True), AddedToken("<d>"))),
        {"tokenizer_config": {**FAST, "added_tokens_decoder": {"259": END}}},
    ),
    "special tokens split": (library(), {"tokenizer_config": {"split_special_tokens": True}}),
    "a normalizer": (lower(library()), {"tokenizer_config": GPT2}),
    "a normalizer, any class": (lower(library()), {"tokenizer_config": FAST}),
    "dropout": (dropping(library()), {}),
    "a class of another family": (
        library(prefix=True),
        {"tokenizer_config": {"tokenizer_class": "BertTokenizer"}},
    ),
}

WARNED: Final[Mapping[str, str]] = {
    "tokens in tokenizer.json alone": "tokenizer.json has the token '<c>', which tokenizer_config",
    "special tokens split": "tokenizer_config.json has split_special_tokens",
    "a normalizer": "tokenizer.json has a normalizer, which transformers 5 leaves out",
    "a class of another family": "not the rules of its class, BertTokenizer",
}
"""Where the ids are not those of transformers, and what export says of it."""


def expected(folder: Path) -> dict[str, list[int]]:
    """The ids of ``TEXT``, and which tokens are special, as transformers reads the folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    special = [at for at, token in tokenizer.added_tokens_decoder.items() if token.special]
    ids = tokenizer(TEXT, add_special_tokens=False).input_ids
    return {"ids": ids, "special": sorted(special)}


def cases() -> list[tuple[str, bool]]:
    """Names in ``FOLDERS``, with tokenizer.json and without, for which there is an answer."""
    names = [name for name in FOLDERS if name not in WARNED]
    # without tokenizer.json, transformers reads nothing for a class that is not GPT-2's
    return [(name, True) for name in names] + [(n, False) for n in names if "any class" not in n]


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    found = {}
    for name, is_whole in cases():
        with TemporaryDirectory() as place:
            folder = write_folder(Path(place) / "in", *FOLDERS[name], is_whole=is_whole)
            found[f"{name}, {'tokenizer.json' if is_whole else 'vocab.json'}"] = expected(folder)
    rows = (f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in found.items())
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")
