"""WordPiece: the tokenizer of BERT, which Chinese GPT-2s use, from its ``vocab.txt``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from gpt2edge.export.tokenizers.files import LARGEST_COUNT, LONGEST_TOKEN, read_text

_ROLES: Final = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
"""BERT's special tokens, where no file names others."""
_LONGEST_WORD: Final = 100  # characters; a longer word is unknown, as in BERT


def word_pieces(path: Path, config: Mapping[str, Any], *, lowercase: bool | None) -> Tokenizer:
    """Build transformers' ``BertTokenizer`` of a vocabulary with one token on each line.

    ``config`` is ``tokenizer_config.json``, which says whether texts are turned into lower case;
    ``lowercase`` wins over it. Raises ValueError where the unknown token is not in the vocabulary.
    """
    lines = read_text(path).removesuffix("\n").split("\n")
    if len(lines) > LARGEST_COUNT or max(map(len, lines)) > LONGEST_TOKEN:
        raise ValueError(f"{path.name} is not a vocabulary with one token on each line")
    vocab = {word: token_id for token_id, word in enumerate(lines)}
    roles = {role: _content(config.get(role)) or token for role, token in _ROLES.items()}
    unknown = roles["unk_token"]
    if unknown not in vocab:
        raise ValueError(f"{path.name} has no {unknown!r}, the token of unknown words")
    if lowercase is None:
        lowercase = bool(config.get("do_lower_case", True))
    tokenizer = Tokenizer(
        models.WordPiece(vocab, unk_token=unknown, max_input_chars_per_word=_LONGEST_WORD)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"),
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token in sorted({*roles.values()}, key=lambda token: vocab.get(token, 0))
            if token in vocab
        ]
    )
    return tokenizer


def _content(value: object) -> str | None:
    """Return the text of a token that is written as a text or as an object with flags."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
