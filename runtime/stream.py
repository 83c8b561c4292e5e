"""Stream: the chunks of one call as they come."""

from collections.abc import Iterator, Sequence

from gpt2edge.runtime.generation import Generation
from gpt2edge.runtime.types import Chunk, Completion


class Stream(Iterator[Chunk]):
    """The chunks of one call as they come; afterwards ``completions`` are the whole."""

    def __init__(self, generations: Sequence[Generation], chunks: Iterator[Chunk]) -> None:
        self._generations = generations
        self._chunks = chunks

    def __next__(self) -> Chunk:
        return next(self._chunks)

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
