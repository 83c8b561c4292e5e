"""ConcatDecoder: for graphs that return ``past_key_values`` with the new tokens appended.

Optimum's exports and models of profile ``portable`` are such graphs. They copy the whole cache at
every step, so they are slower than a cache in place; the results and the interface are the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge.graph import names
from gpt2edge.runtime.cache.kv_cache import CacheLayout, ContiguousCache
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.ort.session import Session

Values = list[Any]
"""Keys and values of every layer on the session's device, [rows, n_head, tokens, head_dim]."""


@dataclass(slots=True)
class _Live:
    """The last ``present`` of some rows, ``length`` tokens long; ``data`` holds ``stored``."""

    values: Values
    length: int
    stored: int


class ConcatCache(ContiguousCache):
    """A cache that leaves the newest tokens on the device until ``data`` is read.

    A step passes the last ``present`` back as ``past_key_values``, without a copy through Python,
    as long as the same rows continue. Reading ``data`` copies all tokens to it first.
    """

    def __init__(self, rows: int, max_length: int, layout: CacheLayout, session: Session) -> None:
        self._live: dict[tuple[int, ...], _Live] = {}
        self._session = session
        super().__init__(rows, max_length, layout)

    @property
    def data(self) -> NDArray[Any]:
        """Keys and values of all rows, [n_layer, 2, rows, n_head, max_length, head_dim]."""
        while self._live:
            rows, live = self._live.popitem()
            self._store(rows, live)
        return self._data

    @data.setter
    def data(self, array: NDArray[Any]) -> None:
        self._data = array

    def past(self, rows: Sequence[int]) -> Values:
        """Return the keys and values of ``rows``, all of one length, on the session's device."""
        length = int(self.lengths[rows[0]])
        live = self._live.get(tuple(rows))
        if live is not None and live.length == length:
            return live.values
        # [n_layer, 2, rows, n_head, length, head_dim]; a copy, as rows is a list
        held = self.data[:, :, rows, :, :length]
        return [self._session.place(np.ascontiguousarray(p)) for layer in held for p in layer]

    def keep(self, rows: Sequence[int], presents: Values, tokens: int) -> None:
        """Keep ``presents`` as the cache of ``rows``, each longer by ``tokens``."""
        length = int(self.lengths[rows[0]])
        before = self._live.get(tuple(rows))
        stored = length if before is None else before.stored
        self._live[tuple(rows)] = _Live(presents, length + tokens, stored)
        for row in rows:
            self.advance(row, 1, tokens)

    def _store(self, rows: tuple[int, ...], live: _Live) -> None:
        """Copy the tokens that only ``live`` has to ``data``; rows may have been truncated."""
        for layer, part in np.ndindex(self._data.shape[:2]):
            # [rows, n_head, tokens, head_dim]
            value = self._session.fetch(live.values[2 * layer + part])
            for index, row in enumerate(rows):
                fresh = slice(live.stored, min(live.length, int(self.lengths[row])))
                self._data[layer, part, row, :, fresh] = value[index, :, fresh]


class ConcatDecoder(Decoder):
    """Forward calls over a cache that grows by concatenation.

    Rows of equal length are computed in one call, rows of other lengths in separate calls. So no
    row is padded, and the logits of a row do not depend on the other rows.
    """

    cache: ConcatCache

    def __init__(self, session: Session, cache: ConcatCache, *, prefill_chunk: int) -> None:
        super().__init__(session, cache, prefill_chunk=prefill_chunk)

    def decode(self, token_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Append ``token_ids[i]`` to row ``i`` and return logits [len(token_ids), n_logits].

        The decoder owns the array, and overwrites it at the next call.
        """
        count = len(token_ids)
        if not 1 <= count <= self.cache.rows:
            raise ValueError(f"{count} token ids for a cache of {self.cache.rows} rows")
        self.cache.check_room(0, count, 1)
        self._session.settle()
        ids = np.asarray(token_ids, np.int64)
        for rows in self._equally_long(count):
            self._logits[rows] = self._grow(rows, ids[rows, None])  # [rows, 1, n_logits]
        return self._logits[:count].reshape(count, -1)

    def _forward(
        self, row: int, ids: NDArray[np.int64], kept: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._grow([row], ids[None])[0, kept]
        return logits

    def _grow(self, rows: list[int], ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Append ``ids`` [rows, tokens] and return logits [rows, tokens, n_logits]."""
        start, tokens = int(self.cache.lengths[rows[0]]), ids.shape[1]
        positions = np.arange(start, start + tokens)
        logits, presents = self._session.grow(
            {
                names.INPUT_IDS: ids,
                names.ATTENTION_MASK: np.ones((len(rows), start + tokens), np.int64),
                names.POSITION_IDS: np.tile(positions, (len(rows), 1)),
            },
            self.cache.past(rows),
        )
        self.cache.keep(rows, presents, tokens)
        return logits

    def _equally_long(self, count: int) -> Iterator[list[int]]:
        """Yield the first ``count`` rows, grouped by length."""
        lengths = self.cache.lengths[:count].copy()  # they change while the rows are computed
        for length in np.unique(lengths):
            yield np.flatnonzero(lengths == length).tolist()


def decoder_over(session: Session, rows: int, max_length: int, prefill_chunk: int) -> Decoder:
    """Return the decoder that the graph of ``session`` needs, over a fresh cache.

    Raises Gpt2EdgeError where the session is closed, or was made before a fork.
    """
    session.lifetime.check()
    if session.in_place:
        cache = session.new_cache(rows, max_length)
        return Decoder(session, cache, prefill_chunk=prefill_chunk)
    concat_cache = ConcatCache(rows, max_length, session.cache_layout, session)
    return ConcatDecoder(session, concat_cache, prefill_chunk=prefill_chunk)
