"""Text to token ids and back, and a stream decoder that never emits half a character."""

import codecs
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.sampling.processors import Ids

if TYPE_CHECKING:
    from tokenizers.decoders import Decoder

_TAIL: Final = 8
"""Tokens of the prompt before a completion: more than one character has, in bytes."""


class Tokenizer:
    """A ``tokenizer.json`` as the engine uses it.

    ``begin_ids`` and ``end_ids`` are the tokens that its template puts before and behind a text,
    none where ``add_special_tokens`` is False; where that is True and the template puts none
    before, ``bos_token_id`` is. Raises ModelDirError for a file of another form, ValueError where
    there is no token to add.
    """

    def __init__(
        self,
        path: Path,
        *,
        add_special_tokens: bool | None = None,
        bos_token_id: int | None = None,
    ) -> None:
        import tokenizers  # not needed by a model that is used by token ids

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for any bad file
            raise ModelDirError(f"{path} is not a tokenizer file: {error}") from None
        # fine-tuning scripts leave these in the file; here a prompt is what its author wrote
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if isinstance(self._tokenizer.model, tokenizers.models.BPE):
            self._tokenizer.model.dropout = None  # it is for training: a text has one encoding
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
        letters = {index: _BYTE_OF.get(content, 0) for index, content in self._added.items()}
        self.continuations = {index: byte for index, byte in letters.items() if 0x80 <= byte < 0xC0}

    @property
    def is_byte_level(self) -> bool:
        """Whether a token's text is its own, whatever stands before it."""
        return self._byte_level

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the added ones included."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` itself. A special token written out in it becomes that token.

        Raises ValueError where the text holds half of a surrogate pair.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"the text is not valid Unicode: {error.reason}") from None
        token_ids = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        if not self._warned_of_loss and self.spelled(token_ids) != text:
            self._warn_where_text_is_lost(text, token_ids)
        return token_ids

    def spelled(self, token_ids: Sequence[int]) -> str:
        """Text of ``token_ids``, special tokens included."""
        if not self._byte_level:  # all at once: the window's decoder takes one by one
            return self._decode_whole(token_ids, special=True)
        return self.decode(token_ids, skip_special_tokens=False)

    def _warn_where_text_is_lost(self, text: str, token_ids: Sequence[int]) -> None:
        """Log, once, which character of ``text`` has no token."""
        import logging  # most texts come as far as the tokens, and need none of this

        from gpt2edge.runtime.text.spelling import first_unread

        normalizer, id_of = self._tokenizer.normalizer, self._tokenizer.token_to_id
        unknown = (byte for letter, byte in _BYTE_OF.items() if id_of(letter) is None)
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
        """The ids below ``vocab_size`` for which there is no token; None where there are none.

        Such are those of a vocabulary padded to a multiple of 64 or 128. ``ends`` are not among
        them: they end a text, and need not be spelled.
        """
        key = (vocab_size, frozenset(ends))
        if key not in self._unspelled:
            ids = []
            if vocab_size != self.vocab_size:  # to look at each takes 10 ms
                token = self._tokenizer.id_to_token
                missing = (number for number in range(vocab_size) if token(number) is None)
                ids = [token_id for token_id in missing if token_id not in ends]
            self._unspelled[key] = Ids.of(ids) if ids else None
        return self._unspelled[key]

    def agrees_with(self, other: "Tokenizer") -> bool:
        """Whether every id stands for the same token in both."""
        mine, theirs = (each._tokenizer.get_vocab(with_added_tokens=True) for each in (self, other))
        return bool(mine == theirs)

    def _template(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens that the file's template puts before and behind a text."""
        if not self._tokenizer.num_special_tokens_to_add(is_pair=False):
            return (), ()
        words = ("a", *(self._tokenizer.decode([token_id]) for token_id in range(self.vocab_size)))
        for word in words:  # the first that has a token: those of the template are around it
            own = self._tokenizer.encode(word, add_special_tokens=False).ids
            whole = self._tokenizer.encode(word).ids
            for at in range(len(whole) - len(own) + 1) if own else ():
                if whole[at : at + len(own)] == own:
                    return tuple(whole[:at]), tuple(whole[at + len(own) :])
        return (), ()

    def special_id(self, text: str) -> int | None:
        """The id of the special token that is written ``text``, or None."""
        token_id = self._tokenizer.token_to_id(text)
        return token_id if token_id in self.special_ids else None

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of ``token_ids``; bytes that are no UTF-8 become U+FFFD."""
        decoder = self.stream_decoder(skip_special_tokens=skip_special_tokens)
        return decoder.push_all(token_ids) + decoder.finish()

    def piece(self, token_id: int) -> str:
        """Text of one token within a text, special tokens included."""
        return self._bytes(token_id).decode("utf-8", "replace")

    def stream_decoder(
        self, prompt_ids: Sequence[int] = (), *, skip_special_tokens: bool = True
    ) -> "StreamDecoder":
        """A fresh decoder for one sequence of tokens, which go on after ``prompt_ids``."""
        special = not skip_special_tokens
        if not self._byte_level:
            return _WindowDecoder(self, prompt_ids, special=special)
        return StreamDecoder(self, special=special)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; none for special tokens and unknown ids."""
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
        if not self._byte_level:  # SentencePiece's decoders drop the blank of a text's first token
            once, twice = (
                str(self._tokenizer.decode([token_id] * times, skip_special_tokens=False))
                for times in (1, 2)
            )
            return twice[len(once) :].encode()
        if token_id in self._added:  # as it is written, though its letters may stand for bytes
            return self._added[token_id].encode()
        try:
            return bytes([_BYTE_OF[character] for character in token])
        except KeyError:  # no byte-level vocabulary has such a token
            return str(token).encode()

    def _decode_whole(self, token_ids: Sequence[int], *, special: bool) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=not special))


class StreamDecoder:
    """Turns tokens into text one at a time; the pieces join to ``Tokenizer.decode``'s text.

    With ``special``, special tokens are in it.
    """

    def __init__(self, tokenizer: Tokenizer, *, special: bool = False) -> None:
        self._tokenizer = tokenizer
        self._bytes_of = tokenizer._bytes if special else tokenizer.token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def __copy__(self) -> "StreamDecoder":
        """A decoder at the same point of its text, independent of this one."""
        twin = StreamDecoder(self._tokenizer)
        twin._bytes_of = self._bytes_of
        twin._utf8.setstate(self._utf8.getstate())
        return twin

    def push(self, token_id: int) -> str:
        """The text that became complete with this token, perhaps empty."""
        byte = self._tokenizer.continuations.get(token_id)
        if byte is not None and self._utf8.getstate()[0]:  # within a character
            return self._utf8.decode(bytes([byte]))
        return self._utf8.decode(self._bytes_of(token_id))

    def push_all(self, token_ids: Sequence[int]) -> str:
        """The text that became complete with these tokens."""
        if self._tokenizer.continuations:
            return "".join(map(self.push, token_ids))
        return self._utf8.decode(b"".join(map(self._bytes_of, token_ids)))

    def finish(self) -> str:
        """What is left at the end: U+FFFD for a character that never became complete."""
        return self._utf8.decode(b"", final=True)


class _WindowDecoder(StreamDecoder):
    """For tokenizers whose tokens are no plain bytes: decode the whole, emit what is new.

    The end of the prompt is decoded with it: SentencePiece's decoders drop the blank before the
    first word of a text, and a completion seldom is the first.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: Sequence[int] = (), *, special: bool = False
    ) -> None:
        super().__init__(tokenizer, special=special)
        self._special = special
        self._token_ids = list(prompt_ids[-_TAIL:])
        # a prompt that ends within a character leaves the whole of it to the completion
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
    """Whether ``decoder`` is ByteLevel, alone or as all that a sequence holds."""
    from tokenizers import decoders

    if not isinstance(decoder, decoders.Sequence):
        return isinstance(decoder, decoders.ByteLevel)
    import json

    members = json.loads(decoder.__getstate__())["decoders"]
    return all(member["type"] == "ByteLevel" for member in members)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's table of one printable character per byte, inverted (openai/gpt-2, encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if chr(byte) not in table)
    return table | {chr(256 + offset): byte for offset, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
