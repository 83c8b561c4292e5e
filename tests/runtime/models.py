"""Small models for the engine's tests: random weights, a byte-level tokenizer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from gpt2edge import Engine
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.options import RuntimeOptions
from tests.checkpoints import SMALL, write_checkpoint

EOS: Final = 259
KEYS: Final[Mapping[str, Any]] = {
    **SMALL,
    "vocab_size": 260,
    "n_positions": 1024,
    "bos_token_id": EOS,
    "eos_token_id": EOS,
}


def write_tokenizer(path: Path) -> None:
    """A byte-level BPE: the 256 bytes, three merges and a special token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("Ġ", "he"), ("l", "l")]
    vocab = {piece: at for at, piece in enumerate([*alphabet, *map("".join, merges)])}
    library = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    library.save(str(path))


def make_engine(
    folder: Path,
    keys: Mapping[str, Any] = KEYS,
    *,
    generation_config: Mapping[str, Any] | None = None,
    options: RuntimeOptions | None = None,
    tokenizer: bool = True,
    profile: str = "cpu",
) -> Engine:
    """An engine over an exported random checkpoint."""
    write_checkpoint(folder / "hf", keys, seed=5)
    if tokenizer:
        write_tokenizer(folder / "hf" / "tokenizer.json")
    if generation_config is not None:
        (folder / "hf" / "generation_config.json").write_text(json.dumps(generation_config))
    return Engine(export_checkpoint(folder / "hf", folder / "onnx", profile=profile).path, options)
