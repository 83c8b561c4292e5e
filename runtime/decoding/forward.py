"""Forward calls of a scheduler, behind an interface that lets callers count or cache them."""

from collections.abc import Generator, Iterator, Sequence
from typing import Final, Protocol, TypeAlias

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.cache.prefix_tree import PrefixTree
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.generation import Generation

Entered: TypeAlias = Generator[None, None, tuple[Logits, int]]
"""Prefills a prompt, one chunk per ``next``; returns the logits [vocab_size] after the last token,
and the number of tokens that were reused, not computed."""

_TILE: Final = 4


class Forward(Protocol):
    """The forward calls of a scheduler; callers may implement it to count or cache them."""

    def enter(self, row: int, token_ids: Sequence[int], draws: int) -> Entered:
        """Prefill ``row`` with ``token_ids``; ``draws`` samples will use the logits."""
        ...

    def resume(self, row: int, token_ids: Sequence[int]) -> Entered:
        """Prefill ``row`` with ``token_ids``; no token is drawn from the logits."""
        ...

    def decode(self, token_ids: Sequence[int]) -> Logits:
        """Append ``token_ids[i]`` to row ``i`` and return logits [rows, vocab_size]."""
        ...


class SequenceSpeculation(Protocol):
    """The speculative steps of one generation."""

    generation: Generation

    def step(self, decoder: Decoder) -> Iterator[Generation]:
        """Decode one or more tokens for row 0; yield the generation once for each."""
        ...


class SpeculationSource(Protocol):
    """Starts speculative decoding of a sequence that runs alone (``speculative.speculation``)."""

    def begin(self, generation: Generation) -> SequenceSpeculation:
        """Return the speculative steps of a generation."""
        ...


class CachedForward:
    """The forward calls of a decoder, reusing the known prefixes of prompts from ``prefixes``.

    onnxruntime's kernels compute tokens in tiles, and round the tokens left over in another way. So
    there a reused prefix ends at a tile's end and leaves more than one token to compute: reuse
    changes no bit of the logits. Where the decoder is batch-invariant, it may end anywhere.
    """

    def __init__(self, decoder: Decoder, prefixes: PrefixTree | None = None) -> None:
        self._decoder = decoder
        self._prefixes = prefixes
        self.decode = decoder.decode
        """The decoder's method itself, which saves a call per step."""

    def enter(self, row: int, token_ids: Sequence[int], draws: int = 1) -> Entered:  # noqa: ARG002
        """Prefill ``row`` with ``token_ids``, reusing a known prefix."""
        cache, prefixes = self._decoder.cache, self._prefixes
        cache.truncate(row, 0)
        if prefixes is None or len(token_ids) < 2:
            logits = yield from self._decoder.prefill_by_chunks(row, token_ids)
            return logits, 0
        if self._decoder.batch_invariant:
            reused = prefixes.restore(cache, row, token_ids[:-1])
        else:
            reused = prefixes.restore(cache, row, token_ids[:-2]) // _TILE * _TILE
            cache.truncate(row, reused)
        logits = yield from self._decoder.prefill_by_chunks(row, token_ids[reused:])
        if len(token_ids) * cache.layout.stored_bytes <= prefixes.max_bytes:
            prefixes.store(cache, row, token_ids)
        return logits, reused

    def resume(self, row: int, token_ids: Sequence[int]) -> Entered:
        """Prefill ``row`` with ``token_ids``, reusing a known prefix."""
        return self.enter(row, token_ids)
