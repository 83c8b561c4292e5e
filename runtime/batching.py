"""The decoding loop: many generations on the rows of one cache."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.generation import Generation
from gpt2edge.runtime.prefix_cache import PrefixCache
from gpt2edge.runtime.types import Chunk

if TYPE_CHECKING:
    from gpt2edge.runtime.speculator import Speculation, Speculator

_TILE: Final = 4


class _Group:
    """The generations of one prompt that wait for a row: the first prefills, the rest fork."""

    def __init__(self, members: Sequence[Generation]) -> None:
        self.waiting = deque(members)
        self._members = frozenset(members)
        self._prompt_ids = members[0].prompt_ids
        self._logits: NDArray[np.float32] | None = None

    def start(
        self, decoder: Decoder, active: Sequence[Generation], prefixes: PrefixCache | None
    ) -> tuple[Generation, Chunk]:
        """Give the next member row ``len(active)`` with its prompt, and draw its first token."""
        row, reused = len(active), len(self._prompt_ids)
        sibling = next((at for at, other in enumerate(active) if self._has_prompt(other)), None)
        if sibling is None or self._logits is None:
            self._logits, reused = enter_prompt(decoder, row, self._prompt_ids, prefixes)
        else:
            decoder.cache.fork(sibling, [row])
            decoder.cache.truncate(row, len(self._prompt_ids))
        generation = self.waiting.popleft()
        generation.reused_tokens = reused
        return generation, generation.accept(self._logits)

    def _has_prompt(self, other: Generation) -> bool:
        """Whether the prompt is at the head of another's row."""
        return other in self._members and not other.has_slid


def enter_prompt(
    decoder: Decoder, row: int, token_ids: Sequence[int], prefixes: PrefixCache | None
) -> tuple[NDArray[np.float32], int]:
    """Make ``row`` hold ``token_ids``: logits after the last, and how many were not computed.

    Kernels compute rows in tiles, and round the ones that are left over in another way: what is
    reused ends with a tile and leaves more than one token, so that no bit depends on it.
    """
    cache = decoder.cache
    cache.truncate(row, 0)
    if prefixes is None or len(token_ids) < 2:
        return decoder.prefill(row, token_ids), 0
    reused = prefixes.restore(cache, row, token_ids[:-2]) // _TILE * _TILE
    cache.truncate(row, reused)
    logits = decoder.prefill(row, token_ids[reused:])
    if len(token_ids) * cache.layout.token_bytes <= prefixes.max_bytes:
        prefixes.store(cache, row, token_ids)
    return logits, reused


def decode_all(
    decoder: Decoder,
    groups: Sequence[Sequence[Generation]],
    prefixes: PrefixCache | None = None,
    speculator: "Speculator | None" = None,
) -> Iterator[Chunk]:
    """Decode groups of generations, one prompt a group, on the rows of one cache.

    A row that ends is given to the next waiting generation at once. Rows in use are always the
    first ones: the last moves into the place of one that ended. With a ``speculator``, a
    generation that is alone may get several tokens at a step.
    """
    speculation: Speculation | None = None
    waiting = deque(_Group(group) for group in groups if group)
    active: list[Generation] = []
    while waiting or active:
        while waiting and len(active) < decoder.cache.rows:
            group = waiting[0]
            if group.waiting[0].end_early():
                group.waiting.popleft()
            else:
                generation, chunk = group.start(decoder, active, prefixes)
                if generation.finish_reason is None:
                    active.append(generation)
                yield chunk
            if not group.waiting:
                waiting.popleft()
        _release(decoder, active)  # a caller may have ended some meanwhile
        if active:
            _slide(decoder, active)
            if speculator is not None and len(active) == 1:
                if speculation is None or speculation.generation is not active[0]:
                    speculation = speculator.begin(active[0])
                yield from speculation.step(decoder)
            else:
                yield from _step(decoder, active)
            _release(decoder, active)


def _step(decoder: Decoder, active: Sequence[Generation]) -> Iterator[Chunk]:
    """One token for each."""
    logits = decoder.decode([generation.token_ids[-1] for generation in active])
    for generation, row in zip(active, logits, strict=True):
        if generation.finish_reason is None:
            yield generation.accept(row)


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
