"""The decoding loop: many generations on the rows of one cache."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.generation import Generation, accept_all
from gpt2edge.runtime.prefix_cache import PrefixCache

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
        self, decoder: Decoder, active: list[Generation], prefixes: PrefixCache | None
    ) -> Iterator[Generation]:
        """Give the next members the rows behind ``active``, where the prompt enters, and draw
        their first tokens."""
        first = len(active)
        while self.waiting and len(active) < decoder.cache.rows:
            generation = self.waiting.popleft()
            if not generation.end_early():
                active.append(generation)
        begun = active[first:]
        if not begun:
            return
        siblings = (row for row in reversed(range(first)) if self._has_prompt(active[row]))
        source, forked = next(siblings, None), begun
        if source is None or self._logits is None:
            self._logits, reused = enter_prompt(decoder, first, self._prompt_ids, prefixes)
            begun[0].reused_tokens = reused
            source, forked = first, begun[1:]
        for generation in forked:
            generation.reused_tokens = len(self._prompt_ids)
        rows = range(len(active) - len(forked), len(active))
        decoder.cache.fork(source, rows, stop=len(self._prompt_ids))
        yield from accept_all(begun, np.broadcast_to(self._logits, (len(begun), self._logits.size)))

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
) -> Iterator[Generation]:
    """Decode groups of generations, one prompt a group, on the rows of one cache.

    Each comes back with every token that it takes. A row that ends is given to the next waiting
    generation at once. Rows in use are always the first ones: the last moves into the place of one
    that ended. With a ``speculator``, a generation that is alone may get several tokens at a step.
    """
    speculation: Speculation | None = None
    waiting = deque(_Group(group) for group in groups if group)
    active: list[Generation] = []
    while waiting or active:
        while waiting and len(active) < decoder.cache.rows:
            yield from waiting[0].start(decoder, active, prefixes)
            _release(decoder, active)
            if not waiting[0].waiting:
                waiting.popleft()
        _release(decoder, active)  # a caller may have ended some meanwhile
        if active:
            _slide(decoder, active)
            if speculator is not None and len(active) == 1:
                if speculation is None or speculation.generation is not active[0]:
                    speculation = speculator.begin(active[0])
                yield from speculation.step(decoder)
            else:
                logits = decoder.decode([generation.token_ids[-1] for generation in active])
                yield from accept_all(active, logits)
            _release(decoder, active)


def _slide(decoder: Decoder, active: Sequence[Generation]) -> None:
    """Make room in full rows, which only those have that may slide: enter anew what stays."""
    cache = decoder.cache
    context = cache.max_length
    for row, length in enumerate(cache.lengths[: len(active)].tolist()):
        if length == context:
            cache.truncate(row, 0)
            decoder.prefill(row, active[row].slide(context))


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
