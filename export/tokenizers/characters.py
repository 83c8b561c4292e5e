"""Characters: one token for each, as in nanoGPT's ``meta.pkl`` and small projects' vocab.json."""

from collections.abc import Mapping
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from gpt2edge.export.tokenizers.files import LARGEST_COUNT


def is_characters(vocab: Mapping[Any, Any]) -> bool:
    """Return whether every key is one character, and the values are the numbers from 0."""
    numbers = set(vocab.values()) if all(type(item) is int for item in vocab.values()) else set()
    return (
        0 < len(vocab) <= LARGEST_COUNT
        and all(isinstance(token, str) and len(token) == 1 for token in vocab)
        and numbers == set(range(len(vocab)))
    )


def characters(vocab: Mapping[Any, Any]) -> Tokenizer:
    """Build the tokenizer of a vocabulary of characters; another character is an error.

    Raises ValueError where ``is_characters`` is false.
    """
    if not is_characters(vocab):
        raise ValueError("its tokens are not single characters with the numbers from 0")
    tokenizer = Tokenizer(models.WordLevel(dict(vocab), unk_token="<unk>"))  # in no vocabulary
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer
