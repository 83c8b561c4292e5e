"""The forward calls that a scheduler makes, behind an interface for callers who count them."""

from collections.abc import Generator, Iterator, Sequence
from typing import Final, Protocol, TypeAlias

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.cache.prefix_tree import PrefixTree
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.generation import Generation

Entered: TypeAlias = Generator[None, None, tuple[Logits, int]]
"""Enters a prompt, one chunk at each ``next``; returns logits [vocab_size] after the last token,
and how many tokens were not computed."""

_TILE: Final = 4


class Forward(Protocol):
    """The forward calls of a scheduler, for callers who count or remember them."""

    def enter(self, row: int, token_ids: Sequence[int], draws: int) -> Entered:
        """Make ``row`` hold ``token_ids``; ``draws`` tokens are drawn from the logits at once."""
        ...

    def resume(self, row: int, token_ids: Sequence[int]) -> Entered:
        """Make ``row`` hold ``token_ids``; nothing is drawn from the logits."""
        ...

    def decode(self, token_ids: Sequence[int]) -> Logits:
        """Append ``token_ids[i]`` to row ``i``: logits [rows, vocab_size]."""
        ...


class SequenceSpeculation(Protocol):
    """The speculative steps of one generation."""

    generation: Generation

    def step(self, decoder: Decoder) -> Iterator[Generation]:
        """Decode one token or more for row 0: the generation, once for each."""
        ...


class SpeculationSource(Protocol):
    """Begins speculation where a sequence is decoded alone (``speculative.speculation``)."""

    def begin(self, generation: Generation) -> SequenceSpeculation:
        """Return the speculative steps of a generation."""
        ...


class CachedForward:
    """The forward calls of a decoder, with prompts taken from ``prefixes`` as far as it has them.

    Kernels compute rows in tiles, and round what is left over in another way: what is reused ends
    with a tile and leaves more than one token, so that no bit of the logits depends on it.
    """

    def __init__(self, decoder: Decoder, prefixes: PrefixTree | None = None) -> None:
        self._decoder = decoder
        self._prefixes = prefixes
        self.decode = decoder.decode
        """Append ``token_ids[i]`` to row ``i``: the decoder's own, which spares a call a step."""

    def enter(self, row: int, token_ids: Sequence[int], draws: int = 1) -> Entered:  # noqa: ARG002
        """Make ``row`` hold ``token_ids``."""
        cache, prefixes = self._decoder.cache, self._prefixes
        cache.truncate(row, 0)
        if prefixes is None or len(token_ids) < 2:
            logits = yield from self._decoder.prefill_by_chunks(row, token_ids)
            return logits, 0
        reused = prefixes.restore(cache, row, token_ids[:-2]) // _TILE * _TILE
        cache.truncate(row, reused)
        logits = yield from self._decoder.prefill_by_chunks(row, token_ids[reused:])
        if len(token_ids) * cache.layout.token_bytes <= prefixes.max_bytes:
            prefixes.store(cache, row, token_ids)
        return logits, reused

    def resume(self, row: int, token_ids: Sequence[int]) -> Entered:
        """Make ``row`` hold ``token_ids``."""
        return self.enter(row, token_ids)
