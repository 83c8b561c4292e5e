"""GGUF files of a GPT-2, as llama.cpp runs them: sizes, tokenizer and tensors in one file.

Products are [out, in] there, and most tensors are quantized: what quantization lost is lost.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gpt2edge.errors import ExportError
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.gguf_file import MAGIC, BlockTensor, GgufFile, read_gguf_file
from gpt2edge.export.sources.placeholders import check_is_itself
from gpt2edge.export.sources.source import Place, Source, listed
from gpt2edge.export.sources.tensors import Readable
from gpt2edge.graph import names
from gpt2edge.graph.names import Block

FORM: Final = "GGUF file"
_ARCHITECTURE: Final = "gpt2"
_SIZES: Final = {
    "n_layer": "block_count",
    "n_head": "attention.head_count",
    "n_embd": "embedding_length",
    "n_positions": "context_length",
    "n_inner": "feed_forward_length",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
}
"""Keys of config.json, and GGUF's behind the architecture's name."""
_WHOLE: Final = {
    "token_embd": names.WTE,
    "position_embd": names.WPE,
    "output_norm": names.LN_F,
    "output": names.LM_HEAD,
}
_BLOCK: Final = {
    "attn_norm": names.LN_1,
    "attn_qkv": names.C_ATTN,
    "attn_output": names.ATTN_C_PROJ,
    "ffn_norm": names.LN_2,
    "ffn_up": names.C_FC,
    "ffn_down": names.MLP_C_PROJ,
}
_TOKENS: Final = "tokenizer.ggml."
_SPECIAL: Final = (3, 4)  # types of tokens: control, and added by a user


def find_gguf(place: Place) -> Path | None:
    """Return the file. Raises ExportError where a folder has several."""
    found = [path for path in place.matching("*") if _is_gguf(path)]
    if len(found) > 1:
        raise ExportError(
            f"{str(place.path)!r} holds {listed(path.name for path in found)}: give one of these "
            "files"
        )
    return found[0] if found else None


def read_gguf(path: Path, place: Place, options: SourceOptions) -> Source:
    """Read the values and the table of tensors; the tokenizer becomes files of transformers'."""
    del options
    check_is_itself(path)
    file = read_gguf_file(path)
    architecture = file.values.get("general.architecture")
    if architecture != _ARCHITECTURE:
        raise ExportError(
            f"{path} holds a model of the architecture {str(architecture)[:40]!r}; "
            f"{_ARCHITECTURE!r} is read"
        )
    tensors = {_renamed(path, name): tensor for name, tensor in file.tensors.items()}
    quantized = {t.kind.name for t in tensors.values() if isinstance(t, BlockTensor)}
    note = (
        f"its weights are quantized already ({', '.join(sorted(quantized))}): what that lost stays "
        "lost, and quantizing again adds to it"
    )
    return Source(
        form=FORM,
        path=place.path,
        folder=place.folder,
        described_in=path,
        keys=_keys(path, file.values, tensors),
        tensors=tensors,
        notes=(note,) if quantized else (),
        files=_tokenizer_files(path, file),
    )


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def _renamed(path: Path, name: str) -> str:
    """Return upstream's name of a tensor. Raises ExportError for one that no GPT-2 has."""
    parts = name.split(".")
    if len(parts) == 2 and parts[0] in _WHOLE:
        return f"{_WHOLE[parts[0]]}.{parts[1]}"
    if len(parts) == 4 and parts[0] == "blk" and parts[1].isdecimal() and parts[2] in _BLOCK:
        return f"{Block(int(parts[1])).part(_BLOCK[parts[2]])}.{parts[3]}"
    raise ExportError(f"{path}: the tensor {name[:80]!r} belongs to no GPT-2")


def _keys(path: Path, values: Mapping[str, Any], tensors: Mapping[str, Readable]) -> dict[str, Any]:
    keys: dict[str, Any] = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    for ours, theirs in _SIZES.items():
        value = values.get(f"{_ARCHITECTURE}.{theirs}")
        if isinstance(value, list | str | bool):
            raise ExportError(f"{path}: its {theirs} is no number")
        keys[ours] = value
    wte = tensors.get("wte.weight")
    keys["vocab_size"] = wte.shape[0] if wte and wte.shape else None
    for role in ("bos", "eos"):
        token_id = values.get(f"{_TOKENS}{role}_token_id")
        keys[f"{role}_token_id"] = token_id if type(token_id) is int else None
    if "lm_head.weight" not in tensors:
        keys["tie_word_embeddings"] = True
    return keys


def _tokenizer_files(path: Path, file: GgufFile) -> dict[str, bytes]:
    """Return ``vocab.json``, ``merges.txt`` and a list of the special tokens.

    A tokenizer of another kind than GPT-2's is left out: the model then works on token ids.
    """
    values = file.values
    tokens, merges = (_texts(values.get(f"{_TOKENS}{key}")) for key in ("tokens", "merges"))
    if values.get(f"{_TOKENS}model") != "gpt2" or not tokens or not merges:
        return {}
    if len(set(tokens)) != len(tokens):
        raise ExportError(f"{path}: two of its tokens are equal")
    kinds = values.get(f"{_TOKENS}token_type")
    kinds = kinds if isinstance(kinds, list) and len(kinds) == len(tokens) else [1] * len(tokens)
    special = {
        str(number): {"content": token, "special": kind == _SPECIAL[0], "normalized": False}
        for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in _SPECIAL
    }
    vocab = {token: number for number, token in enumerate(tokens)}
    config = {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": special}
    return {
        "vocab.json": json.dumps(vocab, ensure_ascii=False).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode(),
        "tokenizer_config.json": json.dumps(config, ensure_ascii=False).encode(),
    }


def _texts(value: Any) -> list[str]:
    """Return a list of texts, or an empty one."""
    is_one = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if is_one else []
