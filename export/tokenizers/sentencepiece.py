"""SentencePiece: the tokenizer of a ``spiece.model`` or ``tokenizer.model``, unigram or BPE.

The file is a protobuf message, read here without the sentencepiece package. Source of the field
numbers: sentencepiece_model.proto of google/sentencepiece.
"""

import re
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from gpt2edge.export.tokenizers.files import LARGEST_COUNT, LONGEST_TOKEN, read_bytes
from gpt2edge.graph.protobuf import BYTES, FIXED32, VARINT, fields, varint

_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3  # of ModelProto
_TEXT, _SCORE, _KIND = 1, 2, 3  # of SentencePiece
_MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK = 3, 24, 35  # of TrainerSpec
_CHARSMAP, _DUMMY_PREFIX, _SQUEEZE, _ESCAPE = 2, 3, 4, 5  # of NormalizerSpec
_UNIGRAM, _BPE = 1, 2  # of TrainerSpec.ModelType
_WORD_MARK: Final = "\u2581"


class _Kind(IntEnum):
    NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


class _Piece(NamedTuple):
    text: str
    score: float
    kind: int


class _Model(NamedTuple):
    """A parsed file: its pieces by id, and the numbers and bytes of its settings."""

    pieces: Sequence[_Piece]
    trainer: Mapping[int, int]
    normalizer: Mapping[int, int]
    charsmap: bytes

    @property
    def has_byte_fallback(self) -> bool:
        return bool(self.trainer.get(_BYTE_FALLBACK, 0))

    @property
    def has_dummy_prefix(self) -> bool:
        return bool(self.normalizer.get(_DUMMY_PREFIX, 1))

    @property
    def user_defined(self) -> list[str]:
        return [piece.text for piece in self.pieces if piece.kind == _Kind.USER_DEFINED]


def sentencepiece(path: Path) -> Tokenizer:
    """Build the tokenizer of a SentencePiece model. Raises ValueError for other files or types."""
    model = _read(path)
    unknown = [index for index, piece in enumerate(model.pieces) if piece.kind == _Kind.UNKNOWN]
    if len(unknown) != 1:
        raise ValueError(f"{path.name} has {len(unknown)} pieces for the unknown; one is needed")
    kind = model.trainer.get(_MODEL_TYPE, _UNIGRAM)
    if kind not in (_UNIGRAM, _BPE):
        raise ValueError(f"{path.name} is of model type {kind}; 1 (unigram) and 2 (BPE) are read")
    if any(piece.kind == _Kind.UNUSED for piece in model.pieces):
        raise ValueError(f"{path.name} has pieces that are marked as unused, which is not read")
    if model.trainer.get(_SUFFIX) or not model.normalizer.get(_ESCAPE, 1):
        raise ValueError(f"{path.name} marks blanks behind words or not at all, which is not read")
    made = _unigram(model, unknown[0]) if kind == _UNIGRAM else _bpe(model, unknown[0])
    tokenizer = Tokenizer(made)
    tokenizer.normalizer = _normalizer(model)
    scheme = "always" if model.has_dummy_prefix else "never"
    tokenizer.pre_tokenizer = _pre_tokenizer(model, scheme, split=kind == _UNIGRAM)
    tokenizer.decoder = _decoder(model, scheme)
    special = [item.text for item in model.pieces if item.kind in (_Kind.UNKNOWN, _Kind.CONTROL)]
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in special]
    )
    return tokenizer


def _unigram(model: _Model, unknown: int) -> models.Unigram:
    scored = [(piece.text, piece.score) for piece in model.pieces]
    return models.Unigram(scored, unknown, model.has_byte_fallback)


def _bpe(model: _Model, unknown: int) -> models.BPE:
    """Make the merges: every cut of a piece into two pieces, the best score first."""
    vocab = {piece.text: index for index, piece in enumerate(model.pieces)}
    ranked = []
    for piece in model.pieces:
        if piece.kind != _Kind.NORMAL:
            continue
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in vocab and right in vocab:
                ranked.append((-piece.score, vocab[left], vocab[right], left, right))
    return models.BPE(
        vocab,
        [(left, right) for *_, left, right in sorted(ranked)],
        unk_token=model.pieces[unknown].text,
        fuse_unk=True,
        byte_fallback=model.has_byte_fallback,
        ignore_merges=bool(model.user_defined),  # no merge makes those
    )


def _normalizer(model: _Model) -> normalizers.Sequence:
    steps: list[normalizers.Normalizer] = []
    if model.charsmap:
        steps.append(normalizers.Precompiled(model.charsmap))
    if model.normalizer.get(_SQUEEZE, 1):
        blanks = normalizers.Replace(Regex(" {2,}"), " ")
        steps += [normalizers.Strip(left=True, right=True), blanks]
    return normalizers.Sequence(steps)


def _pre_tokenizer(model: _Model, scheme: str, *, split: bool) -> pre_tokenizers.PreTokenizer:
    """Mark blanks, ``split`` at them where no piece holds one, and set the user's pieces apart."""
    within = any(_WORD_MARK in piece.text[1:] for piece in model.pieces)
    marks = pre_tokenizers.Metaspace(
        replacement=_WORD_MARK, prepend_scheme=scheme, split=split and not within
    )
    if not model.user_defined:
        return marks
    longest_first = sorted(model.user_defined, key=len, reverse=True)
    apart = Regex("|".join(map(re.escape, longest_first)))
    return pre_tokenizers.Sequence([marks, pre_tokenizers.Split(apart, "isolated")])


def _decoder(model: _Model, scheme: str) -> decoders.Decoder:
    if not model.has_byte_fallback:
        return decoders.Metaspace(replacement=_WORD_MARK, prepend_scheme=scheme)
    steps = [decoders.Replace(_WORD_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if scheme == "always" else [])])


def _read(path: Path) -> _Model:
    """Parse the file; a field of another wire type than the declared one raises ValueError."""
    pieces: list[_Piece] = []
    trainer: dict[int, int] = {}
    normalizer: dict[int, int] = {}
    charsmap = b""
    for part in fields(read_bytes(path)):
        if part.number == _PIECE:
            pieces.append(_piece(part.of_type(BYTES)))
        elif part.number == _TRAINER:
            trainer |= _numbers(part.of_type(BYTES), _MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK)
        elif part.number == _NORMALIZER:
            normalizer |= _numbers(part.of_type(BYTES), _DUMMY_PREFIX, _SQUEEZE, _ESCAPE)
            maps = [inner for inner in fields(part.content) if inner.number == _CHARSMAP]
            charsmap = maps[-1].of_type(BYTES) if maps else b""
        if len(pieces) > LARGEST_COUNT:
            raise ValueError(f"{path.name} has more than {LARGEST_COUNT} pieces")
    if not pieces:
        raise ValueError(f"{path.name} holds no pieces: it is not a SentencePiece model")
    if len({piece.text for piece in pieces}) < len(pieces):
        raise ValueError(f"{path.name} has two pieces of one text")
    return _Model(pieces, trainer, normalizer, charsmap)


def _piece(message: bytes) -> _Piece:
    text, score, kind = b"", 0.0, int(_Kind.NORMAL)
    for part in fields(message):
        if part.number == _TEXT:
            text = part.of_type(BYTES)
        elif part.number == _SCORE:
            (score,) = struct.unpack("<f", part.of_type(FIXED32))
        elif part.number == _KIND:
            kind = varint(part.of_type(VARINT))
    if not text or len(text) > LONGEST_TOKEN or not -1e30 < score < 1e30:
        raise ValueError(f"a piece has {len(text)} bytes and the score {score}")
    return _Piece(text.decode("utf-8"), score, kind)


def _numbers(message: bytes, *wanted: int) -> dict[int, int]:
    found = [part for part in fields(message) if part.number in wanted]
    return {part.number: varint(part.of_type(VARINT)) for part in found}
