"""Decoder: a model bound to a KV cache, with prefill of prompts and decoding by one token a row."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2edge.errors import UnsupportedError
from gpt2edge.graph import names
from gpt2edge.runtime.cache.kv_cache import KVCache
from gpt2edge.runtime.decoding.cache_inputs import inputs_of
from gpt2edge.runtime.ort.binding import Binding
from gpt2edge.runtime.ort.session import Session

_TILE: Final = 16
"""onnxruntime's kernels process tokens in tiles of this or a multiple, and round a single token
that is left over as in a decode step. No chunk leaves a single one, so chunking changes no bit.
With our kernels chunks may end anywhere."""


def chunk_bounds(
    tokens: int, prefill_chunk: int, *, tiled: bool = True
) -> Iterator[tuple[int, int]]:
    """Yield start and end of the chunks in which ``tokens`` tokens are prefilled.

    ``tiled``: onnxruntime's kernels compute them.
    """
    start = 0
    while start < tokens:
        size = min(prefill_chunk, tokens - start)
        if tiled and size > _TILE and (size % _TILE == 1 or tokens - start == size + 1):
            size -= 3 if size % 2 else 4
        yield start, start + size
        start += size


class _BoundStep(NamedTuple):
    """The bound graph of a decode step for a fixed number of rows."""

    binding: Binding
    logits: NDArray[np.float32]
    """[rows, n_logits]; each run overwrites it."""


class Decoder:
    """Forward calls over one KV cache, with all inputs and outputs bound by address.

    Rows are independent. The logits of a row are the same to the bit in a batch and alone where
    ``batch_invariant`` (the kernels of gpt2edge compute all products), in float32 and in
    ``int8-block``; otherwise the rounding of int8 columns and 4-bit blocks depends on the number of
    rows. Not safe for use from two threads at once; the session is.
    """

    def __init__(self, session: Session, cache: KVCache, *, prefill_chunk: int) -> None:
        self.cache = cache
        self.on_prefill: Callable[[int, int], None] | None = None
        """Called after each chunk of ``prefill`` with the number of tokens done and the total."""
        self.batch_invariant = session.batch_invariant
        """True where a row's logits are the same bits in any batch and any chunk of a prompt."""
        self._session = session
        self._prefill_chunk = prefill_chunk
        self._row_bindings: dict[int, Binding] = {}
        self._steps: dict[int, _BoundStep] = {}
        rows = cache.rows
        self._inputs = inputs_of(cache, takes_lengths=session.takes_lengths)
        self._input_ids = np.zeros((rows, 1), np.int64)
        self._position_ids = np.zeros((rows, 1), np.int64)
        self._logits_to_keep = np.zeros((rows, 1), np.int64)
        self._logits = np.zeros((rows, 1, session.n_logits), np.float32)

    def __repr__(self) -> str:
        return f"Decoder({self.cache!r})"

    def decode(self, token_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Append ``token_ids[i]`` to row ``i`` and return logits [len(token_ids), n_logits].

        The decoder owns the array, and overwrites it at the next call.
        """
        count = len(token_ids)
        if not 1 <= count <= self.cache.rows:
            raise ValueError(f"{count} token ids for a cache of {self.cache.rows} rows")
        step = self._steps.get(count) or self._bind_step(count)
        if count == 1:  # scalar assignment: each numpy function avoided saves 5 us a step
            self._input_ids[0, 0] = token_ids[0]
            self._position_ids[0, 0] = self.cache.lengths[0]
        else:
            self._input_ids[:count, 0] = token_ids
            self._position_ids[:count, 0] = self.cache.lengths[:count]
        self.cache.advance(0, count, 1)
        self._run(step.binding, 0, count, 1)
        return step.logits

    def prefill(self, row: int, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Append ``token_ids`` to ``row`` and return the logits [n_logits] after the last token."""
        chunks = self.prefill_by_chunks(row, token_ids)
        while True:
            try:
                next(chunks)
            except StopIteration as stopped:
                logits: NDArray[np.float32] = stopped.value
                return logits

    def prefill_by_chunks(
        self, row: int, token_ids: Sequence[int]
    ) -> Generator[None, None, NDArray[np.float32]]:
        """Run ``prefill`` one chunk per ``next``; other rows may be decoded between two chunks."""
        done = 0
        for chunk in self._chunks(row, token_ids):
            if done:
                yield
            logits = self._forward(row, chunk, np.array([len(chunk) - 1]))  # [1, n_logits]
            done += len(chunk)
            if self.on_prefill is not None:
                self.on_prefill(done, len(token_ids))
        return logits.reshape(-1)

    def prefill_all(self, row: int, token_ids: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Append ``token_ids`` to ``row``; yield logits [tokens, n_logits] of each chunk."""
        for chunk in self._chunks(row, token_ids):
            yield self._forward(row, chunk, np.arange(len(chunk)))

    def hidden_states(self, row: int, token_ids: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Append ``token_ids`` to ``row``; yield what the head reads, [tokens, width], by chunk.

        Raises UnsupportedError where the graph does not show it.
        """
        name = self._session.hidden_output
        if name is None or not self._session.in_place:
            raise UnsupportedError(
                "this graph shows no hidden states: export the model with the profile cpu"
            )
        for chunk in self._chunks(row, token_ids):
            found: NDArray[np.float32] = self._shown_by(name, row, chunk)
            yield found.reshape(len(chunk), -1)  # [1, tokens, width] or [tokens, width]

    def _chunks(self, row: int, token_ids: Sequence[int]) -> Iterator[NDArray[np.int64]]:
        if not len(token_ids):
            raise ValueError("no tokens to prefill; there must be at least one")
        ids = np.asarray(token_ids, np.int64)
        self.cache.check_room(row, 1, len(ids))
        tiled = not self.batch_invariant
        for start, end in chunk_bounds(len(ids), self._prefill_chunk, tiled=tiled):
            yield ids[start:end]

    def _forward(
        self, row: int, ids: NDArray[np.int64], kept: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        binding = self._row_bindings.get(row)
        if binding is None:
            binding = self._row_bindings[row] = self._bind_cache(row, 1)
        start = self.cache.lengths[row]
        self.cache.advance(row, 1, len(ids))
        logits = np.empty((1, len(kept), self._session.n_logits), np.float32)
        binding.input(names.INPUT_IDS, ids[None])  # [1, tokens]
        binding.input(names.POSITION_IDS, np.arange(start, start + len(ids))[None])  # [1, tokens]
        binding.input(names.LOGITS_TO_KEEP, kept[None])  # [1, kept]
        binding.output(names.LOGITS, logits)
        self._run(binding, row, 1, len(ids))
        return logits.reshape(len(kept), -1)

    def _shown_by(self, name: str, row: int, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run the graph on a chunk of ``row`` without its head; return its output ``name``."""
        binding = self._bind_cache(row, 1)  # its own: the output stays bound
        start = self.cache.lengths[row]
        self.cache.advance(row, 1, len(ids))
        kept = np.arange(len(ids))
        binding.input(names.INPUT_IDS, ids[None])  # [1, tokens]
        binding.input(names.POSITION_IDS, np.arange(start, start + len(ids))[None])  # [1, tokens]
        binding.input(names.LOGITS_TO_KEEP, kept[None])  # [1, tokens]
        binding.allocated(name)
        self._run(binding, row, 1, len(ids))
        return binding.last_output()

    def _run(self, binding: Binding, first: int, count: int, tokens: int) -> None:
        """Run the graph; where that fails, remove the ``tokens`` just added to the rows."""
        self._inputs.read(first, count)
        try:
            binding.run()
        except Exception:
            for row in range(first, first + count):
                self.cache.truncate(row, int(self.cache.lengths[row]) - tokens)
            raise

    def _bind_step(self, count: int) -> _BoundStep:
        self._session.settle()
        binding = self._bind_cache(0, count)
        binding.input(names.INPUT_IDS, self._input_ids[:count])
        binding.input(names.POSITION_IDS, self._position_ids[:count])
        binding.input(names.LOGITS_TO_KEEP, self._logits_to_keep[:count])
        binding.output(names.LOGITS, self._logits[:count])
        step = self._steps[count] = _BoundStep(binding, self._logits[:count, 0])
        return step

    def _bind_cache(self, first: int, count: int) -> Binding:
        binding = self._session.binding()
        self._inputs.bind(binding, slice(first, first + count))
        return binding
