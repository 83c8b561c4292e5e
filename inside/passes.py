"""Forward passes that return values from inside the graph, or change them, in engine's chunks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge.graph import names
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.cache.kv_cache import ContiguousCache
from gpt2edge.runtime.decoding.decoder import chunk_bounds
from gpt2edge.runtime.ort.graph_values import edit_add, edit_keep
from gpt2edge.runtime.ort.session import Session

GraphEdits = Mapping[str, tuple[FloatArray, FloatArray]]
"""By the value's name in the graph: what it is multiplied by, and what is added, each
[rows or 1, tokens or 1, n or 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass over some rows gave.

    ``logits`` are [rows, kept, n_logits]; ``values`` are [rows, tokens, n] by their name in the
    graph; ``keys`` are [n_layer, rows, n_head, tokens, head_dim] as the cache holds them.
    """

    logits: FloatArray
    values: dict[str, FloatArray]
    keys: NDArray[Any]


class Passes:
    """Runs token ids [rows, tokens] through a session, in the engine's chunks."""

    def __init__(self, session: Session, prefill_chunk: int) -> None:
        self._session = session
        self._chunk = prefill_chunk

    def run(
        self,
        token_ids: NDArray[np.int64],
        values: Collection[str] = (),
        *,
        edits: GraphEdits | None = None,
        last: bool = False,
    ) -> Pass:
        """Run all tokens; return ``values`` and the logits of every token, or the ``last``."""
        rows, tokens = token_ids.shape
        edits = edits or {}
        shapes = self._shapes(edits)
        cache = ContiguousCache(rows, tokens, self._session.cache_layout)
        found: dict[str, list[FloatArray]] = {name: [] for name in values}
        logits: list[FloatArray] = []
        for start, end in chunk_bounds(tokens, self._chunk):
            fed = {**self._tokens(token_ids, start, end), **_fed(edits, start, end, shapes)}
            kept = np.arange(end - start) if not last else np.array([end - start - 1])
            fed[names.LOGITS_TO_KEEP] = np.tile(kept, (rows, 1))
            outputs = self._call(fed, [names.LOGITS, *found], cache, start, end)
            if not last or end == tokens:
                whole = outputs[0].reshape(rows, -1, outputs[0].shape[-1])
                logits.append(whole if self._session.in_place else whole[:, kept])
            for name, output in zip(found, outputs[1:], strict=True):
                found[name].append(output.reshape(rows, end - start, -1))
        return Pass(
            logits=_joined(logits),
            values={name: _joined(pieces) for name, pieces in found.items()},
            keys=cache.data[:, 0],
        )

    def _shapes(self, edits: GraphEdits) -> dict[str, tuple[int, ...]]:
        """Return the shape that the graph gives each edited value for a single token."""
        if not edits:
            return {}
        cache = ContiguousCache(1, 1, self._session.cache_layout)
        fed = self._tokens(np.zeros((1, 1), np.int64), 0, 1)
        fed[names.LOGITS_TO_KEEP] = np.zeros((1, 1), np.int64)
        outputs = self._call(fed, list(edits), cache, 0, 1)
        return {name: output.shape for name, output in zip(edits, outputs, strict=True)}

    def _tokens(self, token_ids: NDArray[np.int64], start: int, end: int) -> dict[str, Any]:
        rows, tokens = token_ids.shape
        held = tokens if self._session.in_place else end  # columns of the mask
        mask = np.broadcast_to(np.arange(held) < end, (rows, held))
        return {
            names.INPUT_IDS: np.ascontiguousarray(token_ids[:, start:end]),
            names.POSITION_IDS: np.tile(np.arange(start, end), (rows, 1)),
            names.ATTENTION_MASK: np.ascontiguousarray(mask, np.int64),
            names.SEQLENS_K: np.full(rows, end - 1, np.int32),
            names.TOTAL_SEQUENCE_LENGTH: np.array(tokens, np.int32),
        }

    def _call(
        self, fed: dict[str, Any], outputs: list[str], cache: ContiguousCache, start: int, end: int
    ) -> list[FloatArray]:
        """Run one chunk over the cache: in place, or by concatenation."""
        pairs = list(names.cache(cache.layout.n_layer))
        parts = [part for layer in cache.data for part in layer]  # [rows, n_head, tokens, head_dim]
        if self._session.in_place:
            triples = [(*pair, part) for pair, part in zip(pairs, parts, strict=True)]
            return self._session.run(fed, outputs, triples)
        for (past, _), part in zip(pairs, parts, strict=True):
            fed[past] = np.ascontiguousarray(part[:, :, :start])
        presents = [present for _, present in pairs]
        results = self._session.run(fed, [*outputs, *presents])
        for part, present in zip(parts, results[len(outputs) :], strict=True):
            part[:, :, start:end] = present[:, :, start:end]
        return results[: len(outputs)]


def _fed(
    edits: GraphEdits, start: int, end: int, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, FloatArray]:
    """Return what each edit feeds for the tokens from ``start`` to ``end``."""
    fed = {}
    for value, (keep, add) in edits.items():
        for name, array in ((edit_keep(value), keep), (edit_add(value), add)):
            part = array if array.shape[1] == 1 else array[:, start:end]
            shaped = _shaped(part, end - start, shapes[value])
            fed[name] = np.ascontiguousarray(shaped, np.float32)
    return fed


def _shaped(part: FloatArray, tokens: int, like: tuple[int, ...]) -> FloatArray:
    """Turn [rows or 1, tokens or 1, n or 1] into the rank of a value that is ``like`` for a token.

    Graphs hold [rows * tokens, n], [rows, tokens, n] or [rows, tokens, head, head_dim].
    """
    if len(like) == 2:
        if part.shape[0] > 1 and part.shape[1] == 1:
            part = np.broadcast_to(part, (part.shape[0], tokens, part.shape[2]))
        return part.reshape(-1, part.shape[-1])
    if len(like) == 4:
        tail = like[2:] if part.shape[-1] > 1 else (1, 1)
        return part.reshape(*part.shape[:2], *tail)
    return part


def _joined(pieces: Sequence[FloatArray]) -> FloatArray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
