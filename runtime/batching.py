"""The decoding loop: many generations on the rows of one cache."""

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.generation import Generation
from gpt2edge.runtime.types import Chunk


class _Group:
    """The generations of one prompt that wait for a row: the first prefills, the rest fork."""

    def __init__(self, members: Sequence[Generation]) -> None:
        self.waiting = deque(members)
        self._members = frozenset(members)
        self._prompt_ids = members[0].prompt_ids
        self._logits: NDArray[np.float32] | None = None

    def start(self, decoder: Decoder, active: Sequence[Generation]) -> tuple[Generation, Chunk]:
        """Give the next member row ``len(active)`` with its prompt, and draw its first token."""
        row = len(active)
        sibling = next((at for at, other in enumerate(active) if self._has_prompt(other)), None)
        if sibling is None or self._logits is None:
            decoder.cache.truncate(row, 0)
            self._logits = decoder.prefill(row, self._prompt_ids)
        else:
            decoder.cache.fork(sibling, [row])
            decoder.cache.truncate(row, len(self._prompt_ids))
        generation = self.waiting.popleft()
        return generation, generation.accept(self._logits)

    def _has_prompt(self, other: Generation) -> bool:
        """Whether the prompt is at the head of another's row."""
        return other in self._members and not other.has_slid


def decode_all(decoder: Decoder, groups: Sequence[Sequence[Generation]]) -> Iterator[Chunk]:
    """Decode groups of generations, one prompt a group, on the rows of one cache.

    A row that ends is given to the next waiting generation at once. Rows in use are always the
    first ones: the last moves into the place of one that ended.
    """
    waiting = deque(_Group(group) for group in groups if group)
    active: list[Generation] = []
    while waiting or active:
        while waiting and len(active) < decoder.cache.rows:
            group = waiting[0]
            if group.waiting[0].end_early():
                group.waiting.popleft()
            else:
                generation, chunk = group.start(decoder, active)
                if generation.finish_reason is None:
                    active.append(generation)
                yield chunk
            if not group.waiting:
                waiting.popleft()
        _release(decoder, active)  # a caller may have ended some meanwhile
        if active:
            _slide(decoder, active)
            logits = decoder.decode([generation.token_ids[-1] for generation in active])
            for generation, row in zip(active, logits, strict=True):
                if generation.finish_reason is None:
                    yield generation.accept(row)
            _release(decoder, active)


def _slide(decoder: Decoder, active: Sequence[Generation]) -> None:
    """Make room in full rows, which only those have that may slide: enter anew what stays."""
    cache = decoder.cache
    for row, generation in enumerate(active):
        if cache.lengths[row] == cache.max_length:
            cache.truncate(row, 0)
            decoder.prefill(row, generation.slide(cache.max_length))


def _release(decoder: Decoder, active: list[Generation]) -> None:
    """Free the rows of generations that have ended."""
    for row in reversed(range(len(active))):
        generation = active[row]
        if generation.cancelled:
            generation.cancel()
        if generation.finish_reason is not None:
            last = active.pop()
            if last is not generation:
                active[row] = last
                decoder.cache.fork(len(active), [row])
