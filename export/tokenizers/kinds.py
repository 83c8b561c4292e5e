"""Kinds of tokenizers: which file of a checkpoint holds one, and how it is to be read."""

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from gpt2edge.export.tokenizers.added_tokens import TOKENIZER_FILE
from gpt2edge.export.tokenizers.characters import is_characters
from gpt2edge.export.tokenizers.files import read_text
from gpt2edge.export.tokenizers.tokenizer_class import class_of
from gpt2edge.export.tokenizers.word_bpe import is_word_bpe

_PAIRS: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_SENTENCEPIECE: Final = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
_WORD_PIECES: Final = "vocab.txt"
_META: Final = "meta.pkl"
_LLMC: Final = "gpt2_tokenizer.bin"
_TIKTOKEN: Final = ".tiktoken"
_PROGRAMS: Final = {
    "BertJapaneseTokenizer": "fugashi",
    "BioGptTokenizer": "sacremoses",
    "CLIPTokenizer": "CLIP's own rules",
}
"""Tokenizers that need another program than the tokenizers package, by class."""
_READERLESS: Final = ("tokenizer.pkl", "tokenizer.model.v3", "tekken.json", "bpe.codes")


class Kind(Enum):
    """A kind of tokenizer file."""

    WHOLE = "a tokenizer.json"
    BYTE_LEVEL = "byte-level BPE"
    WORD_BPE = "BPE of words"
    SENTENCEPIECE = "SentencePiece"
    WORD_PIECES = "WordPiece"
    META_PKL = "characters in a meta.pkl"
    CHARACTERS = "characters in a vocab.json"
    LLMC = "llm.c's tokenizer"
    TIKTOKEN = "tiktoken's ranks"


class TokenizerFile(NamedTuple):
    """A tokenizer's file, its kind, and the file of its merges where it has one."""

    kind: Kind
    path: Path
    merges: Path | None = None

    @property
    def folder(self) -> Path:
        """Return the folder, which may hold settings beside the file."""
        return self.path.parent


def find_tokenizer(place: Path) -> TokenizerFile | None:
    """Return the first tokenizer at ``place``, a folder or one of its files; None without one."""
    if place.is_file():
        return _of_file(place)
    return next(_in_folder(place), None)


def why_none(place: Path) -> str:
    """Return why ``find_tokenizer`` found nothing that can be read at ``place``."""
    folder = place if place.is_dir() else place.parent
    program = _PROGRAMS.get(class_of(folder))
    if program and any((folder / name).is_file() for name in (_WORD_PIECES, "vocab.json")):
        return f"its tokenizer, {class_of(folder)}, needs {program}"
    ranked = sorted(folder.glob(f"*{_TIKTOKEN}"))
    if ranked:
        return (
            f"{ranked[0].name} does not say how a text is cut into words: give "
            "--tokenizer-pattern gpt2 where that is GPT-2's rule"
        )
    if (folder / "vocab.json").is_file():
        return "vocab.json without merges.txt is neither byte-level BPE nor one of characters"
    other = next((name for name in _READERLESS if (folder / name).is_file()), None)
    if place.is_file():
        return f"{place.name} is of no kind of tokenizer that can be read"
    return f"no reader for {other}" if other else "no tokenizer files"


def _in_folder(folder: Path) -> Iterator[TokenizerFile]:
    if (folder / TOKENIZER_FILE).is_file():
        yield TokenizerFile(Kind.WHOLE, folder / TOKENIZER_FILE)
    for vocab, merges in _PAIRS:
        if (folder / vocab).is_file() and (folder / merges).is_file():
            yield from _pair(folder / vocab, folder / merges)
    others = [(Kind.SENTENCEPIECE, name) for name in _SENTENCEPIECE]
    if class_of(folder) not in _PROGRAMS:
        others.append((Kind.WORD_PIECES, _WORD_PIECES))
    others.append((Kind.META_PKL, _META))
    for kind, name in others:
        if (folder / name).is_file():
            yield TokenizerFile(kind, folder / name)
    if is_characters(_object(folder / "vocab.json")):
        yield TokenizerFile(Kind.CHARACTERS, folder / "vocab.json")
    if (folder / _LLMC).is_file():
        yield TokenizerFile(Kind.LLMC, folder / _LLMC)
    ranked = sorted(folder.glob(f"*{_TIKTOKEN}"))
    if len(ranked) == 1:
        yield TokenizerFile(Kind.TIKTOKEN, ranked[0])


def _pair(vocab: Path, merges: Path) -> Iterator[TokenizerFile]:
    """Yield a BPE tokenizer, byte-level or of words; nothing where its class needs a program."""
    if not is_word_bpe(_object(vocab)):
        yield TokenizerFile(Kind.BYTE_LEVEL, vocab, merges)
    elif class_of(vocab.parent) not in _PROGRAMS:
        yield TokenizerFile(Kind.WORD_BPE, vocab, merges)


def _of_file(path: Path) -> TokenizerFile | None:
    """Return the tokenizer of one file, by its name and, for JSON, by its content."""
    partner = dict(_PAIRS).get(path.name)
    if partner is not None and (path.parent / partner).is_file():
        return next(_pair(path, path.parent / partner), None)
    kinds = {
        ".model": Kind.SENTENCEPIECE,
        ".txt": Kind.WORD_PIECES,
        ".pkl": Kind.META_PKL,
        ".bin": Kind.LLMC,
        _TIKTOKEN: Kind.TIKTOKEN,
    }
    if path.suffix != ".json":
        kind = kinds.get(path.suffix)
        return TokenizerFile(kind, path) if kind else None
    keys = _object(path)
    if "model" in keys and "added_tokens" in keys:
        return TokenizerFile(Kind.WHOLE, path)
    return TokenizerFile(Kind.CHARACTERS, path) if is_characters(keys) else None


def _object(path: Path) -> dict[str, Any]:
    """Read a JSON object; it is empty where the file is absent or holds something else."""
    try:
        value = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
