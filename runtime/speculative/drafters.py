"""Drafters: guess the next tokens for speculative decoding."""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.options import PromptLookup

_LONGEST: Final = 32


class Drafter(Protocol):
    """Guesses the tokens of one generation."""

    @property
    def free(self) -> bool:
        """Return whether the cost of guesses is negligible."""

    def kind(self) -> int | None:
        """Return the kind of the next guess, or None where there is none.

        Guesses of one kind share an acceptance rate.
        """

    def guess(self, count: int) -> list[int]:
        """Return at most ``count`` guessed token ids."""


class LookupDrafter:
    """Guesses by n-grams of the text so far; a longer match gives a better guess."""

    free: Final = True

    def __init__(self, generation: Generation, options: PromptLookup) -> None:
        self._text = generation.history
        lengths = range(options.max_ngram, options.min_ngram - 1, -1)
        self._places: dict[int, dict[tuple[int, ...], int]] = {length: {} for length in lengths}
        self._indexed = 1
        self._place = 0

    def kind(self) -> int | None:
        """Return the length of the match with an earlier occurrence, or None.

        Lengths above ``max_ngram`` are grouped by powers of two.
        """
        text, end = self._text, len(self._text)
        for following in range(self._indexed, end):  # the index of the token after an n-gram
            for length, places in self._places.items():
                if following >= length:
                    places[tuple(text[following - length : following])] = following
        self._indexed = max(1, end)
        for length, places in self._places.items():
            found = places.get(tuple(text[end - length :])) if end >= length else None
            if found is not None:
                self._place = found
                return self._agreeing(found, length)
        return None

    def _agreeing(self, place: int, known: int) -> int:
        text, end, longest = self._text, len(self._text), max(self._places)
        while known < min(place, _LONGEST) and text[place - known - 1] == text[end - known - 1]:
            known += 1
        return known if known <= longest else longest + (known // longest).bit_length() - 1

    def guess(self, count: int) -> list[int]:
        """Return the tokens that followed the match; past the text they repeat the guess."""
        text, end = self._text, len(self._text)
        guess: list[int] = []
        for index in range(self._place, self._place + count):
            guess.append(text[index] if index < end else guess[index - end])
        return guess


class ModelDrafter:
    """Guesses with a draft model that keeps a cache of the text."""

    free: Final = False

    def __init__(self, generation: Generation, new_decoder: Callable[[int], Decoder]) -> None:
        self._generation = generation
        self._decoder = new_decoder(generation.cached_tokens + 1)
        self._held: list[int] = []
        self._sure = 0

    def kind(self) -> int | None:
        """Return 0, the only kind, or None once the text exceeds the draft model's context."""
        return 0 if len(self._generation.history) < self._decoder.cache.max_length else None

    def guess(self, count: int) -> list[int]:
        """Return the tokens that the draft model draws in the target's place."""
        text, cache = self._generation.history, self._decoder.cache
        count = min(count, cache.max_length - len(text) + 1)
        known = self._sure
        while known < min(len(self._held), len(text) - 1) and self._held[known] == text[known]:
            known += 1
        cache.truncate(0, known)
        fresh = text[known:]
        logits = self._decoder.prefill(0, fresh) if len(fresh) > 1 else self._next(fresh[0])
        twin = self._generation.rehearsal()
        guess = [twin.accept(logits)]
        while len(guess) < count and twin.finish_reason is None:
            guess.append(twin.accept(self._next(guess[-1])))
        self._held, self._sure = [*text, *guess[:-1]], len(text)
        return guess

    def _next(self, token_id: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._decoder.decode([token_id])[0]
        return logits
