"""BPE of words that end in ``</w>``: the tokenizer of the first GPT."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

_END_OF_WORD: Final = "</w>"
_UNKNOWN: Final = "<unk>"


def is_word_bpe(vocab: Iterable[str]) -> bool:
    """Return whether tokens of a vocabulary end in ``</w>``, which byte-level BPE never has."""
    return any(token.endswith(_END_OF_WORD) for token in vocab)


def word_bpe(vocab: Path, merges: Path) -> Tokenizer:
    """Build transformers' ``OpenAIGPTTokenizer`` of ``vocab.json`` and ``merges.txt``.

    It reads words in lower case and without accents, and blanks between them are not kept.
    """
    model = models.BPE.from_file(
        str(vocab), str(merges), unk_token=_UNKNOWN, end_of_word_suffix=_END_OF_WORD
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix=_END_OF_WORD)
    if tokenizer.token_to_id(_UNKNOWN) is not None:
        tokenizer.add_special_tokens([AddedToken(_UNKNOWN, special=True, normalized=False)])
    return tokenizer
