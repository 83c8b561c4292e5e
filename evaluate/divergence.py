"""How far one model's predictions are from another's: the Kullback-Leibler divergence."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.log_probs import log_softmax_float32


def token_divergences(a: FloatArray, b: FloatArray) -> NDArray[np.float64]:
    """Return KL(A || B) in nats of each row, from log-probabilities [tokens, vocab_size]."""
    divergences: NDArray[np.float64] = (np.exp(a) * (a - b)).sum(axis=-1, dtype=np.float64)
    return divergences


def kl_divergence(a: Engine, b: Engine, windows: Sequence[Sequence[int]]) -> float:
    """Return the mean KL(A || B) in nats a token, after every token of every window."""
    longest = max(map(len, windows))
    decoders = [engine.decoder(rows=1, max_length=longest) for engine in (a, b)]
    divergences = [
        token_divergences(log_softmax_float32(logits_a), log_softmax_float32(logits_b))
        for window in windows
        for logits_a, logits_b in paired_logits(decoders, window)
    ]
    return float(np.concatenate(divergences).mean())


def paired_logits(
    decoders: Sequence[Decoder], window: Sequence[int]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield the logits of two decoders after every token of ``window``, [chunk, vocab_size] each.

    Row 0 of both is emptied first.
    """
    for decoder in decoders:
        decoder.cache.truncate(0, 0)
    for first, second in in_step([decoder.prefill_all(0, window) for decoder in decoders]):  # noqa: UP028
        yield first, second


def in_step(streams: Sequence[Iterator[FloatArray]]) -> Iterator[tuple[FloatArray, ...]]:
    """Cut streams of arrays [chunk, ...] alike: engines cut a prompt each by its own kernels' rule.

    The streams must hold the same number of rows in all.
    """
    held: list[FloatArray] = [np.empty(0, np.float32)] * len(streams)
    while True:
        held = [
            rows if len(rows) else next(stream, rows)
            for rows, stream in zip(held, streams, strict=True)
        ]
        size = min(map(len, held))
        if not size:
            assert not any(map(len, held)), "the streams hold different numbers of rows"
            return
        yield tuple(rows[:size] for rows in held)
        held = [rows[size:] for rows in held]
