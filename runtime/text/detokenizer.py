"""Detokenizer: decode the tokens of a completion to text, on demand."""

from collections.abc import Collection, Sequence
from copy import copy

from gpt2edge.runtime.text.stopping import StopMatcher
from gpt2edge.runtime.text.tokenizer import StreamDecoder, Tokenizer


class Detokenizer:
    """Decodes tokens to pieces of text, and holds back text that may belong to a stop string.

    Tokens in ``silent`` end a text and are not part of it. Stop strings are matched against the
    text of all tokens, including the tokens that are not shown: the silent one, and special tokens
    unless ``special`` is True.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        prompt_ids: Sequence[int],
        stop_strings: Sequence[str],
        silent: Collection[int],
        *,
        special: bool = False,
    ) -> None:
        self.pieces: list[str] = []
        """The text that each call of ``push`` released."""
        self.tokens = 0
        """Number of tokens pushed."""
        self._decoder: StreamDecoder | None = None
        if tokenizer is not None:
            self._decoder = tokenizer.stream_decoder(prompt_ids, skip_special_tokens=not special)
        self._matcher = StopMatcher(stop_strings)
        self._silent = silent
        self._tokenizer = tokenizer if stop_strings else None
        """Set only where there are stop strings to match."""
        self._unshown = frozenset(silent)
        if self._tokenizer is not None and not special:
            self._unshown |= self._tokenizer.special_ids

    def __copy__(self) -> "Detokenizer":
        twin = object.__new__(Detokenizer)
        vars(twin).update(vars(self), pieces=list(self.pieces))
        twin._decoder, twin._matcher = copy(self._decoder), copy(self._matcher)
        return twin

    @property
    def has_stopped(self) -> bool:
        """Return whether a stop string is complete."""
        return self._matcher.matched is not None

    def push(self, token_ids: Sequence[int]) -> None:
        """Decode the next tokens and add their text to ``pieces``."""
        self.tokens += len(token_ids)
        if self._tokenizer is not None:
            self.pieces.append("".join(map(self._read, token_ids)))
            return
        if token_ids and token_ids[-1] in self._silent:
            token_ids = token_ids[:-1]
        self.pieces.append(self._decoder.push_all(token_ids) if self._decoder else "")

    def _read(self, token_id: int) -> str:
        """Return the text that one token releases, where there are stop strings."""
        assert self._tokenizer is not None
        assert self._decoder is not None
        if token_id in self._unshown:
            return self._matcher.push(self._tokenizer.piece(token_id), shown=False)
        return self._matcher.push(self._decoder.push(token_id))

    def finish(self) -> None:
        """Release the text that is still held back, as part of the last piece."""
        tail = self._matcher.push(self._decoder.finish() if self._decoder else "")
        tail += self._matcher.finish()
        if self.pieces:
            self.pieces[-1] += tail
        else:
            self.pieces.append(tail)
