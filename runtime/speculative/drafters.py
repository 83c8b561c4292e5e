"""Drafters: where guesses come from."""

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
        """Whether guesses cost nothing that is worth counting."""

    def kind(self) -> int | None:
        """Which sort of guess there is now; those of one sort are right about as often."""

    def guess(self, count: int) -> list[int]:
        """At most ``count`` tokens."""


class LookupDrafter:
    """Guesses by n-grams of the text so far: the more that agrees, the better a guess."""

    free: Final = True

    def __init__(self, generation: Generation, options: PromptLookup) -> None:
        self._text = generation.history
        lengths = range(options.max_ngram, options.min_ngram - 1, -1)
        self._places: dict[int, dict[tuple[int, ...], int]] = {length: {} for length in lengths}
        self._indexed = 1
        self._place = 0

    def kind(self) -> int | None:
        """Tokens that agree with an earlier place, or None; the many in powers of two."""
        text, end = self._text, len(self._text)
        for at in range(self._indexed, end):  # what follows an n-gram is at ``at``
            for length, places in self._places.items():
                if at >= length:
                    places[tuple(text[at - length : at])] = at
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
        """What followed there; it may run on into the guess itself."""
        text, end = self._text, len(self._text)
        guess: list[int] = []
        for at in range(self._place, self._place + count):
            guess.append(text[at] if at < end else guess[at - end])
        return guess


class ModelDrafter:
    """Guesses with a model, whose cache follows the text."""

    free: Final = False

    def __init__(self, generation: Generation, new_decoder: Callable[[int], Decoder]) -> None:
        self._generation = generation
        self._decoder = new_decoder(generation.cached_tokens + 1)
        self._held: list[int] = []
        self._sure = 0

    def kind(self) -> int | None:
        """There is one sort, as long as the text fits the model's context."""
        return 0 if len(self._generation.history) < self._decoder.cache.max_length else None

    def guess(self, count: int) -> list[int]:
        """What this model draws in the target's place."""
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
