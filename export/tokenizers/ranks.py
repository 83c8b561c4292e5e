"""Ranked tokens: a byte-level BPE from tokens in the order in which they were merged.

tiktoken's files and llm.c's hold the bytes of every token, not which two tokens it was made of.
The two are what merging by rank leaves of a token's bytes before its own merge.
"""

import base64
import binascii
import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from gpt2edge.export.tokenizers.files import LARGEST_COUNT, read_bytes
from gpt2edge.runtime.text.tokenizer import BYTE_OF

END_OF_TEXT: Final = "<|endoftext|>"
PATTERNS: Final = ("gpt2",)
"""Names of the rules that cut a text into words: those of tokenizers' ``ByteLevel``."""
_CHARACTER_OF: Final = {byte: character for character, byte in BYTE_OF.items()}
_LLMC_MAGIC: Final = 20240328
_LLMC_VERSIONS: Final = (1, 2)
_LLMC_HEADER: Final = 1024
_GPT2_RANKS: Final = 50256
_NEVER: Final = 2**62


class Ranks(NamedTuple):
    """The bytes of each token with its rank, which is its id, and the id of ``<|endoftext|>``."""

    ids: Mapping[bytes, int]
    end: int | None


def read_tiktoken(path: Path, *, end: int | None, vocab_size: int) -> Ranks:
    """Read a ``.tiktoken`` file: the base64 of a token's bytes and its rank on each line.

    The file has no special tokens. ``<|endoftext|>`` gets the id ``end``; without one, GPT-2's own
    where the ranks end before it, else the model's last id. Raises ValueError for another file.
    """
    ids: dict[bytes, int] = {}
    for number, line in enumerate(read_bytes(path).splitlines(), 1):
        try:
            token, rank = line.split()
            ids[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error):
            raise ValueError(f"{path.name}, line {number}, is not a token and its rank") from None
    last = max(ids.values(), default=-1)
    if end is None:
        end = _GPT2_RANKS if last == _GPT2_RANKS - 1 else vocab_size - 1
    return Ranks(ids, None if end in ids.values() else end)


def read_llmc(path: Path) -> Ranks:
    """Read llm.c's ``gpt2_tokenizer.bin``: 256 numbers, then length and bytes of each token.

    Raises ValueError for another file.
    """
    raw = read_bytes(path)
    if len(raw) < _LLMC_HEADER:
        raise ValueError(f"{path.name} is shorter than the header of llm.c's tokenizer")
    magic, version, count = struct.unpack("<3I", raw[:12])
    if magic != _LLMC_MAGIC or version not in _LLMC_VERSIONS or count > LARGEST_COUNT:
        raise ValueError(f"{path.name} is not llm.c's tokenizer of version 1 or 2")
    ids: dict[bytes, int] = {}
    end, at = None, _LLMC_HEADER
    for token_id in range(count):
        token = raw[at + 1 : at + 1 + raw[at]] if at < len(raw) else b""
        if not token or len(token) != raw[at]:
            raise ValueError(f"{path.name} ends before its token {token_id} of {count}")
        at += 1 + len(token)
        if token == END_OF_TEXT.encode():
            end = token_id
        else:
            ids[token] = token_id
    return Ranks(ids, end)


def byte_level(ranks: Ranks) -> Tokenizer:
    """Build GPT-2's tokenizer of ``ranks``. Raises ValueError where a single byte has no token."""
    if not ranks.ids or min(ranks.ids.values()) < 0 or max(ranks.ids.values()) > LARGEST_COUNT:
        raise ValueError("ranks are not numbers from 0")
    merges, is_whole = _merges(ranks.ids)
    vocab = {_text(token): token_id for token, token_id in ranks.ids.items()}
    if ranks.end is not None:
        vocab[END_OF_TEXT] = ranks.end
    pairs = [(_text(left), _text(right)) for left, right in merges]
    # tiktoken looks a word up before it merges; that differs only for tokens that no merge makes
    tokenizer = Tokenizer(models.BPE(vocab, pairs, ignore_merges=not is_whole))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if ranks.end is not None:
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return tokenizer


def _merges(ids: Mapping[bytes, int]) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Return the two halves of every token by rank, and whether each token has such halves."""
    merges, is_whole = [], True
    for token, rank in sorted(ids.items(), key=lambda item: item[1]):
        halves = _halves(token, rank, ids)
        if halves is not None:
            merges.append(halves)
        elif len(token) > 1:
            is_whole = False
    return merges, is_whole


def _halves(token: bytes, rank: int, ids: Mapping[bytes, int]) -> tuple[bytes, bytes] | None:
    """Merge the bytes of ``token`` by the ranks before its own; None unless two parts are left."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        joined = [left + right for left, right in pairwise(parts)]
        lowest, at = min((ids.get(pair, _NEVER), index) for index, pair in enumerate(joined))
        if lowest >= rank:
            return None
        parts[at : at + 2] = [joined[at]]
    known = len(parts) == 2 and all(part in ids for part in parts)
    return (parts[0], parts[1]) if known else None


def _text(token: bytes) -> str:
    return "".join(_CHARACTER_OF[byte] for byte in token)
