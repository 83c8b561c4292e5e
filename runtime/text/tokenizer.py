"""Encode text to token ids and decode them, also as a stream of complete characters."""

import codecs
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpt2edge._checks import shown
from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.sampling.processors import Ids

if TYPE_CHECKING:
    from tokenizers.decoders import Decoder

_TAIL: Final = 8
"""Tokens of the prompt that are decoded with a completion: more than one character has bytes."""


class Tokenizer:
    """A ``tokenizer.json`` as the engine uses it.

    ``begin_ids`` and ``end_ids`` are the tokens that its template puts before and after a text;
    both are empty where ``add_special_tokens`` is False. Where it is True and the template puts no
    token before a text, ``begin_ids`` holds ``bos_token_id``. Raises ModelDirError for a file that
    is not a tokenizer, ValueError where there is no token to add.
    """

    def __init__(
        self,
        path: Path,
        *,
        add_special_tokens: bool | None = None,
        bos_token_id: int | None = None,
    ) -> None:
        import tokenizers  # not needed by a model that is used by token ids

        self.path = path

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for any bad file
            raise ModelDirError(f"{path} is not a tokenizer file: {error}") from None
        # fine-tuning scripts leave both in the file, but a prompt must not be cut or padded
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if isinstance(self._tokenizer.model, tokenizers.models.BPE):
            self._tokenizer.model.dropout = None  # for training only: a text has one encoding
        added = self._tokenizer.get_added_tokens_decoder()
        self.special_ids = frozenset(index for index, token in added.items() if token.special)
        self._added = {index: token.content for index, token in added.items()}
        self.add_special_tokens = add_special_tokens
        none: tuple[int, ...] = ()
        template = (none, none) if add_special_tokens is False else self._template()
        self.begin_ids, self.end_ids = template
        if add_special_tokens and not self.begin_ids:
            if bos_token_id is None:
                raise ValueError("the model has no begin-of-text token that could be added")
            self.begin_ids = (bos_token_id,)
        self._known: dict[int, bytes] = {}
        self._warned_of_loss = False
        self._unspelled: dict[tuple[int, frozenset[int]], Ids | None] = {}
        self._byte_level = _is_byte_level(self._tokenizer.decoder)
        # "¡" may be an added token and, in the vocabulary, the last byte of "á": both have one id
        letters = {index: BYTE_OF.get(content, 0) for index, content in self._added.items()}
        self.continuations = {index: byte for index, byte in letters.items() if 0x80 <= byte < 0xC0}

    def __repr__(self) -> str:
        return f"Tokenizer({str(self.path)!r}, vocab_size={self.vocab_size})"

    @property
    def is_byte_level(self) -> bool:
        """Return whether the text of a token is independent of the tokens before it."""
        return self._byte_level

    @property
    def vocab_size(self) -> int:
        """Number of tokens, including added tokens."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Encode ``text`` without the template; the text of a special token becomes that token.

        Raises ValueError where the text contains half of a surrogate pair, or a symbol that is not
        in a vocabulary without a token for what is unknown.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the text is not valid Unicode: {error.reason}") from None
        try:
            token_ids = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(self._unencodable(text, error)) from None
        if not self._warned_of_loss and self.spelled(token_ids) != text:
            self._warn_where_text_is_lost(text, token_ids)
        return token_ids

    def _unencodable(self, text: str, error: Exception) -> str:
        """Say what the vocabulary lacks: the first piece of ``text`` that the model refuses."""
        normalizer, before = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        text = normalizer.normalize_str(text) if normalizer else text
        pieces = [piece for piece, _ in before.pre_tokenize_str(text)] if before else [text]
        for piece in pieces:
            try:
                self._tokenizer.model.tokenize(piece)
            except Exception:  # the library raises bare Exception
                return f"the model's vocabulary has no {shown(piece)}, and no token for the unknown"
        return f"the tokenizer cannot encode {shown(text)}: {error}"

    def spelled(self, token_ids: Sequence[int]) -> str:
        """Decode ``token_ids``, including special tokens."""
        if not self._byte_level:  # in one call: the window decoder takes tokens one by one
            return self._decode_whole(token_ids, special=True)
        return self.decode(token_ids, skip_special_tokens=False)

    def _warn_where_text_is_lost(self, text: str, token_ids: Sequence[int]) -> None:
        """Log a warning, once, with the first character of ``text`` that has no token."""
        import logging  # slow to load, and rarely needed

        from gpt2edge.runtime.text.spelling import first_unread

        normalizer, id_of = self._tokenizer.normalizer, self._tokenizer.token_to_id
        unknown = (byte for letter, byte in BYTE_OF.items() if id_of(letter) is None)
        character = first_unread(
            self.spelled(token_ids),
            text,
            normalizer.normalize_str(text) if normalizer else text,
            frozenset(unknown if self._byte_level else ()),
        )
        if character:
            self._warned_of_loss = True
            logging.getLogger("gpt2edge").warning(
                "the tokenizer has no token for %r (U+%04X): the model does not read the text as "
                "it was given",
                character,
                ord(character[0]),
            )

    def unspelled(self, vocab_size: int, ends: Collection[int]) -> Ids | None:
        """Return the ids below ``vocab_size`` that have no token; None where every id has one.

        A vocabulary padded to a multiple of 64 or 128 has such ids. ``ends`` are left out: they
        end a text, and need no text of their own.
        """
        key = (vocab_size, frozenset(ends))
        if key not in self._unspelled:
            ids = []
            if vocab_size != self.vocab_size:  # checking every id takes 10 ms
                token = self._tokenizer.id_to_token
                missing = (number for number in range(vocab_size) if token(number) is None)
                ids = [token_id for token_id in missing if token_id not in ends]
            self._unspelled[key] = Ids.of(ids) if ids else None
        return self._unspelled[key]

    def agrees_with(self, other: "Tokenizer") -> bool:
        """Return whether every id stands for the same token in both tokenizers."""
        mine, theirs = (each._tokenizer.get_vocab(with_added_tokens=True) for each in (self, other))
        return bool(mine == theirs)

    def _template(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the tokens that the file's template puts before and after a text."""
        if not self._tokenizer.num_special_tokens_to_add(is_pair=False):
            return (), ()
        words = ("a", *(self._tokenizer.decode([token_id]) for token_id in range(self.vocab_size)))
        for word in words:  # the first word with a token shows the template's tokens around it
            try:
                own = self._tokenizer.encode(word, add_special_tokens=False).ids
            except Exception:  # bare Exception: no token for this word, nor for the unknown
                continue
            framed = self._tokenizer.encode(word).ids
            for start in range(len(framed) - len(own) + 1) if own else ():
                if framed[start : start + len(own)] == own:
                    return tuple(framed[:start]), tuple(framed[start + len(own) :])
        return (), ()

    def special_id(self, text: str) -> int | None:
        """Return the id of the special token with this text, or None."""
        token_id = self._tokenizer.token_to_id(text)
        return token_id if token_id in self.special_ids else None

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Decode ``token_ids``; bytes that are not UTF-8 become U+FFFD."""
        decoder = self.stream_decoder(skip_special_tokens=skip_special_tokens)
        return decoder.push_all(token_ids) + decoder.finish()

    def piece(self, token_id: int) -> str:
        """Decode one token as part of a longer text; special tokens have their text."""
        return self._bytes(token_id).decode("utf-8", "replace")

    def stream_decoder(
        self, prompt_ids: Sequence[int] = (), *, skip_special_tokens: bool = True
    ) -> "StreamDecoder":
        """Return a new decoder for one sequence of tokens that follows ``prompt_ids``."""
        special = not skip_special_tokens
        if not self._byte_level:
            return _WindowDecoder(self, prompt_ids, special=special)
        return StreamDecoder(self, special=special)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of a token; empty for special tokens and unknown ids."""
        return b"" if token_id in self.special_ids else self._bytes(token_id)

    def _bytes(self, token_id: int) -> bytes:
        known = self._known.get(token_id)
        if known is None:
            known = self._known[token_id] = self._look_up(token_id)
        return known

    def _look_up(self, token_id: int) -> bytes:
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if not self._byte_level:  # SentencePiece's decoders drop the space of a text's first token
            once, twice = (
                str(self._tokenizer.decode([token_id] * times, skip_special_tokens=False))
                for times in (1, 2)
            )
            return twice[len(once) :].encode()
        if token_id in self._added:  # literal text, though its characters may stand for bytes
            return self._added[token_id].encode()
        try:
            return bytes([BYTE_OF[character] for character in token])
        except KeyError:  # a token that is not of a byte-level vocabulary
            return str(token).encode()

    def _decode_whole(self, token_ids: Sequence[int], *, special: bool) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=not special))


class StreamDecoder:
    """Decodes tokens one at a time; the joined pieces equal the text of ``Tokenizer.decode``.

    With ``special`` the text includes special tokens.
    """

    def __init__(self, tokenizer: Tokenizer, *, special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._bytes_of = tokenizer._bytes if special else tokenizer.token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def __repr__(self) -> str:
        return f"{type(self).__name__.lstrip('_')}({self._tokenizer!r})"

    def __copy__(self) -> "StreamDecoder":
        """Return an independent decoder at the same point of the text."""
        twin = StreamDecoder(self._tokenizer)
        twin._bytes_of = self._bytes_of
        twin._utf8.setstate(self._utf8.getstate())
        return twin

    def push(self, token_id: int) -> str:
        """Return the text that became complete with this token; it may be empty."""
        byte = self._tokenizer.continuations.get(token_id)
        if byte is not None and self._utf8.getstate()[0]:  # within a character
            return self._utf8.decode(bytes([byte]))
        return self._utf8.decode(self._bytes_of(token_id))

    def push_all(self, token_ids: Sequence[int]) -> str:
        """Return the text that became complete with these tokens."""
        if self._tokenizer.continuations:
            return "".join(map(self.push, token_ids))
        return self._utf8.decode(b"".join(map(self._bytes_of, token_ids)))

    def finish(self) -> str:
        """Return the rest of the text: U+FFFD for a character that was never completed."""
        return self._utf8.decode(b"", final=True)


class _WindowDecoder(StreamDecoder):
    """Decodes the whole text at each token and emits the new part, for tokens that are not bytes.

    The end of the prompt is decoded with it: SentencePiece's decoders drop the space before the
    first word of a text, and a completion rarely starts a text.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: Sequence[int] = (), *, special: bool = False
    ) -> None:
        super().__init__(tokenizer, special=special)
        self._special = special
        self._token_ids = list(prompt_ids[-_TAIL:])
        # a character that the prompt leaves incomplete is emitted with the completion
        self._emitted = self._whole().rstrip("\ufffd")

    def __copy__(self) -> "_WindowDecoder":
        twin = _WindowDecoder(self._tokenizer, special=self._special)
        twin._token_ids, twin._emitted = list(self._token_ids), self._emitted
        return twin

    def push(self, token_id: int) -> str:
        self._token_ids.append(token_id)
        text = self._whole()
        return "" if text.endswith("\ufffd") else self._advance(text)

    def push_all(self, token_ids: Sequence[int]) -> str:
        return "".join(map(self.push, token_ids))

    def finish(self) -> str:
        return self._advance(self._whole())

    def _whole(self) -> str:
        return self._tokenizer._decode_whole(self._token_ids, special=self._special)

    def _advance(self, text: str) -> str:
        piece, self._emitted = text[len(self._emitted) :], text
        return piece


def _is_byte_level(decoder: "Decoder | None") -> bool:
    """Return whether ``decoder`` is ByteLevel, or a sequence of nothing else."""
    from tokenizers import decoders

    if not isinstance(decoder, decoders.Sequence):
        return isinstance(decoder, decoders.ByteLevel)
    import json

    members = json.loads(decoder.__getstate__())["decoders"]
    return all(member["type"] == "ByteLevel" for member in members)


def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each printable character in GPT-2's table (openai/gpt-2, encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if chr(byte) not in table)
    return table | {chr(256 + offset): byte for offset, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()
"""The byte that each character of a byte-level token stands for."""
