"""Stream: the chunks of one call as they come."""

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.generation import Generation
from gpt2edge.runtime.types import Chunk, Completion


class Stream(Iterator[Chunk]):
    """The chunks of one call as they come; afterwards ``completions`` are the whole."""

    def __init__(
        self, generations: Sequence[Generation], tokens: Iterator[Generation], decoder: Decoder
    ) -> None:
        self._generations = generations
        self._tokens = tokens  # each generation at every token that it takes
        self._decoder = weakref.ref(decoder)  # the tokens hold it as long as there are more

    def __next__(self) -> Chunk:
        return next(self._tokens).chunk()

    def finish(self) -> list[Completion]:
        """Decode to the end without the chunks, which spares most of Python's work."""
        deque(self._tokens, maxlen=0)
        return self.completions

    def on_prefill(self, progress: Callable[[int, int], None]) -> "Stream":
        """Have ``progress`` called as each prompt enters, with its tokens done and to be done.

        Tokens that a prompt cache or another sample knows already are in neither.
        """
        decoder = self._decoder()
        if decoder is not None:
            decoder.on_prefill = progress
        return self

    def cancel(self) -> None:
        """End everything after the tokens in the making; safe from any thread or signal.

        No chunk follows: text that was held back for a stop string is in the completion only.
        """
        for generation in self._generations:
            generation.cancelled = True

    @property
    def completions(self) -> list[Completion]:
        """What was generated; what was left before its end counts as cancelled."""
        for generation in self._generations:
            generation.cancel()
        return [generation.completion() for generation in self._generations]

    @property
    def completion(self) -> Completion:
        """The completion of a stream of one."""
        (completion,) = self.completions
        return completion
