"""A byte-level BPE in GPT-2's own layout, of a smaller vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)

END = "<|endoftext|>"


def pieces(path: Path, *, size: int = 1 << 20) -> Iterator[str]:
    """The text of a file in pieces of about `size` characters that end where a line does."""
    with path.open(encoding="utf-8") as file:
        while lines := file.readlines(size):
            yield "".join(lines)


def train_tokenizer(sources: list[Path], target: Path, vocab_size: int) -> Tokenizer:
    """Learn the merges on the training texts and write tokenizer.json; id 0 is the end of text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(END, special=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text.replace(END, "") for source in sources for text in pieces(source))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(target))
    return tokenizer


def train_digit_tokenizer(texts: Iterable[str], target: Path, vocab_size: int) -> Tokenizer:
    """The same, with each digit a token of its own (the first of a number may hold the space
    before it), so that a model sees the places of a number."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(" ?[0-9]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(END, special=True)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(target))
    return tokenizer


def encode_file(tokenizer_file: Path, source: Path) -> NDArray[np.uint16]:
    """The tokens of a text file; the newline that follows an end of text is dropped."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    if tokenizer.get_vocab_size() > 1 << 16:
        raise ValueError(f"vocabulary of {tokenizer.get_vocab_size()}; 16 bits hold 65536")
    stories = source.read_text(encoding="utf-8").replace("\n" + END + "\n", END + "\0").split("\0")
    parts = [encoding.ids for encoding in tokenizer.encode_batch(stories)]
    return np.concatenate([np.asarray(part, dtype=np.uint16) for part in parts])
