"""Transcript: the text of a completion, made of its tokens when somebody wants to see it."""

from collections.abc import Collection, Sequence
from copy import copy

from gpt2edge.runtime.text.stopping import StopMatcher
from gpt2edge.runtime.text.tokenizer import Tokenizer


class Transcript:
    """Spells tokens out in pieces, and holds back what may belong to a stop string.

    Tokens of ``silent`` end a text and are no part of it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        prompt_ids: Sequence[int],
        stop_strings: Sequence[str],
        silent: Collection[int],
    ) -> None:
        self.pieces: list[str] = []
        """What each call of ``push`` let out."""
        self.tokens = 0
        """How many were pushed."""
        self._decoder = tokenizer.stream_decoder(prompt_ids) if tokenizer else None
        self._matcher = StopMatcher(stop_strings)
        self._silent = silent

    def __copy__(self) -> "Transcript":
        twin = object.__new__(Transcript)
        vars(twin).update(vars(self), pieces=list(self.pieces))
        twin._decoder, twin._matcher = copy(self._decoder), copy(self._matcher)
        return twin

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._matcher.matched is not None

    def push(self, token_ids: Sequence[int]) -> None:
        """Take the next tokens."""
        self.tokens += len(token_ids)
        if token_ids and token_ids[-1] in self._silent:
            token_ids = token_ids[:-1]
        text = self._decoder.push_all(token_ids) if self._decoder else ""
        self.pieces.append(self._matcher.push(text))

    def finish(self) -> None:
        """Let out what is still held back, with the last piece."""
        tail = self._matcher.push(self._decoder.finish() if self._decoder else "")
        tail += self._matcher.finish()
        if self.pieces:
            self.pieces[-1] += tail
        else:
            self.pieces.append(tail)
