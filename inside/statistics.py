"""What the model thinks of each token of a text: its rank, its log-probability, the spread of both.

From logits alone. The detection scores of ``detection`` are sums of these.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_callable
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.log_probs import log_softmax

_ROWS = 64
"""Rows of float64 distributions in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenStatistics:
    """Of each token of a text, given those before it; arrays are [tokens].

    ``ranks`` count from 1, the likeliest. ``logprobs``, ``entropies``, ``means`` (of log q under
    the model's own q) and ``variances`` of that are in nats. The first token is conditioned on the
    begin-of-text token; where the model has none, it is left out.
    """

    token_ids: NDArray[np.int64]
    texts: tuple[str, ...]
    logprobs: NDArray[np.float64]
    ranks: NDArray[np.int64]
    entropies: NDArray[np.float64]
    means: NDArray[np.float64]
    variances: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.token_ids)

    def part(self, start: int, end: int) -> "TokenStatistics":
        """Return the tokens from ``start`` to ``end``."""
        cut = {item.name: getattr(self, item.name)[start:end] for item in fields(self)}
        return TokenStatistics(**cut)

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else list(value)
            for name, value in found.items()
        }


def token_statistics(
    engine: Engine,
    text: Prompt,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> TokenStatistics:
    """Measure every token of ``text``; each window of a long text has half of it as context.

    ``progress`` is called with the number of tokens done and their total. Raises ValueError for an
    empty text, InsideError for a classifier.
    """
    check_callable("progress", progress)
    engine.model.require_language_model()
    token_ids = engine.encode(text, add_special_tokens=False)
    bos = engine.config.bos_token_id
    whole = token_ids if bos is None else [bos, *token_ids]
    pieces = []
    done = 0
    for logits, targets in windows(engine, whole):
        pieces += [
            _of_rows(logits[at : at + _ROWS], targets[at : at + _ROWS])
            for at in range(0, len(targets), _ROWS)
        ]
        done += len(targets)
        if progress is not None:
            progress(done, len(whole) - 1)
    kept = np.array(whole[1:], np.int64)
    if not pieces:
        raise ValueError("the text has a single token, and nothing comes before it")
    logprobs, ranks, means, variances = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return TokenStatistics(
        token_ids=kept,
        texts=tuple(_text(engine, int(each)) for each in kept),
        logprobs=logprobs,
        ranks=ranks.astype(np.int64),
        entropies=-means,
        means=means,
        variances=variances,
    )


def windows(
    engine: Engine, token_ids: list[int], context: int | None = None
) -> Iterator[tuple[FloatArray, NDArray[np.int64]]]:
    """Yield logits [n, vocab_size] and the tokens [n] that follow, each token of the text once.

    Tokens after the first window have at least half of the ``context`` before them, by default the
    model's.
    """
    size = context or engine.config.n_positions
    start, scored = 0, 1
    while scored < len(token_ids):
        end = min(start + size, len(token_ids) - 1)
        logits = engine.logits(token_ids[start:end])
        yield logits[scored - 1 - start :], np.array(token_ids[scored : end + 1], np.int64)
        scored = end + 1
        start = scored - max(1, size // 2)


def distributions(
    engine: Engine, token_ids: list[int], context: int | None = None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Yield log-probabilities [n, vocab_size] and the tokens that follow, ``_ROWS`` at a time."""
    for logits, targets in windows(engine, token_ids, context):
        for at in range(0, len(targets), _ROWS):
            yield log_softmax(logits[at : at + _ROWS]), targets[at : at + _ROWS]


def _of_rows(
    logits: FloatArray, targets: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return log-probability, rank, and mean and variance of log q, of each target [n]."""
    logprobs = log_softmax(logits)  # [n, vocab_size]
    rows = np.arange(len(targets))
    chosen = logits[rows, targets]
    ranks = (logits > chosen[:, None]).sum(axis=1) + 1
    probs = np.exp(logprobs)
    means = (probs * logprobs).sum(axis=1)
    variances = (probs * logprobs**2).sum(axis=1) - means**2
    return logprobs[rows, targets], ranks, means, np.maximum(variances, 0)


def _text(engine: Engine, token_id: int) -> str:
    return str(token_id) if engine.tokenizer is None else engine.tokenizer.piece(token_id)
