"""Sampler: choose the next tokens of sequences from their logits.

The order is transformers': the logits processors of ``processors``, then ``truncation``.
"""

from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.sampling.drawing import Drawing
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.processors import Ids, LogitsProcessor, Processing, Scope
from gpt2edge.runtime.sampling.random_stream import RandomStream
from gpt2edge.runtime.sampling.truncation import SCRATCH, check_finite

_AT_ONCE: Final = 1 << 20
"""Logits processed at once, which limits the memory of a draw."""


class Sampler:
    """Chooses the tokens of one sequence, with a separate random stream."""

    __slots__ = ("drawing", "params", "process", "stream")

    def __init__(
        self,
        params: SamplingParams,
        processors: Sequence[LogitsProcessor] = (),
        stream_key: Sequence[int] = (0, 0),
        scope: Scope | None = None,
    ) -> None:
        self.params = params
        self.process = Processing(params, processors, scope)
        self.drawing = Drawing(params)
        self.stream = RandomStream(stream_key)

    def __call__(self, logits: Logits, token_ids: Sequence[int], banned: Sequence[int]) -> int:
        """Return the next token id, from ``logits`` [vocab_size], which are not changed.

        ``token_ids`` are prompt and completion so far; ``banned`` tokens are never chosen.
        """
        process = self.process
        if not process.is_needed:
            unspelled = process.unspelled
            if self.params.is_greedy:
                likeliest = int(logits.argmax())
                if likeliest not in banned and (
                    unspelled is None or likeliest not in unspelled.members
                ):
                    return likeliest
            elif unspelled is None:
                return self.drawing.one(logits, self.stream.next(), banned)
        return choose([self], logits[None], [token_ids], [banned])[0]

    def fork(self, stream_key: Sequence[int] | None = None) -> "Sampler":
        """Return a copy that chooses the same tokens, or uses the random stream of a key."""
        twin = copy(self)
        twin.stream = self.stream.fork() if stream_key is None else RandomStream(stream_key)
        return twin


def choose(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    token_ids: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
) -> list[int]:
    """Return the next token of each of ``samplers``, from its row of ``logits`` [rows, vocab_size].

    ``token_ids`` and ``banned`` hold an entry per row, as ``Sampler`` takes it. Rows are computed
    together, and no token depends on the number of rows. In a writable array the banned logits are
    changed during the call and restored at its end, also after an error.
    """
    chosen: list[int] = []
    size = max(1, _AT_ONCE // logits.shape[1])
    for first in range(0, len(samplers), size):
        part = slice(first, first + size)
        chosen += _choose(samplers[part], logits[part], token_ids[part], banned[part])
    return chosen


def _choose(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    token_ids: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
) -> list[int]:
    params = samplers[0].params
    if any(sampler.params is not params for sampler in samplers):
        return _choose_by_params(samplers, logits, token_ids, banned)
    if any(sampler.process.is_needed for sampler in samplers):
        return _pick(samplers, _processed(samplers, logits, token_ids, banned))
    unspelled = samplers[0].process.unspelled  # the same for all samplers of a model
    if params.is_greedy:  # the most likely token is rarely banned
        likeliest: list[int] = logits.argmax(axis=1).tolist()  # [rows]
        lost = () if unspelled is None else unspelled.members
        if not any(
            token_id in ids or token_id in lost
            for token_id, ids in zip(likeliest, banned, strict=True)
        ):
            return likeliest
    if unspelled is not None or any(banned):
        return _pick_allowed(samplers, logits, banned, unspelled)
    return _pick(samplers, logits)


def _choose_by_params(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    token_ids: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
) -> list[int]:
    """Return the result of ``choose``, computing the rows of equal parameters together."""
    groups: dict[int, list[int]] = {}
    for row, sampler in enumerate(samplers):
        groups.setdefault(id(sampler.params), []).append(row)
    chosen = [0] * len(samplers)
    for rows in groups.values():
        part = _choose(
            [samplers[row] for row in rows],
            logits[rows],
            [token_ids[row] for row in rows],
            [banned[row] for row in rows],
        )
        for row, token_id in zip(rows, part, strict=True):
            chosen[row] = token_id
    return chosen


def _pick(samplers: Sequence[Sampler], logits: NDArray[np.float32]) -> list[int]:
    """Return the token of each row of ``logits`` [rows, vocab_size], without more processing.

    All ``samplers`` must have the same parameters.
    """
    params = samplers[0].params
    if params.is_greedy:
        places = logits.argmax(axis=1)  # [rows]
        check_finite(logits[np.arange(len(logits)), places])
    else:
        shares = np.array([sampler.stream.next() for sampler in samplers])
        places = samplers[0].drawing.rows(logits, shares)
    chosen: list[int] = places.tolist()
    return chosen


def _pick_allowed(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    banned: Sequence[Sequence[int]],
    unspelled: Ids | None,
) -> list[int]:
    """Return the result of ``_pick`` with ``banned`` and ``unspelled`` tokens excluded.

    Their logits are changed and restored, because copying a large vocabulary costs as much as the
    draw.
    """
    if not logits.flags.writeable:  # such as one row broadcast to many
        logits = logits.copy()
    held = [
        (row, token_id, logits[row, token_id]) for row, ids in enumerate(banned) for token_id in ids
    ]
    columns = (slice(None), slice(0) if unspelled is None else unspelled.index)
    block = logits[columns].copy()
    try:
        logits[columns] = -np.inf
        for row, token_id, _ in held:
            logits[row, token_id] = -np.inf
        return _pick(samplers, logits)
    finally:
        logits[columns] = block
        for row, token_id, logit in held:
            logits[row, token_id] = logit


def _processed(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    token_ids: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
) -> NDArray[np.float32]:
    """Return a processed copy of ``logits`` [rows, vocab_size]."""
    if samplers[0].process.hands_out:  # the caller's code may keep it, or sample recursively
        processed = np.empty_like(logits)
    else:
        processed = SCRATCH.array("processed", logits.shape)
    np.copyto(processed, logits)
    for row, sampler in enumerate(samplers):
        sampler.process(processed[row], token_ids[row], banned[row])
    return processed
