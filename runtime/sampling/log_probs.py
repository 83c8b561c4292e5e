"""Log-probabilities of logits, at the precisions that their users need."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.sampling.truncation import CELLS


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def log_softmax_float32(logits: Logits, sums: type[np.floating] = np.float32) -> Logits:
    """Return the log-probabilities over the last axis, in float32.

    Each row's normalizer is summed in ``sums``: float32 is quicker over whole texts, float64 is
    exact where the results of many steps are added.
    """
    shifted = _shifted(logits)
    totals = np.exp(shifted).sum(axis=-1, keepdims=True, dtype=sums)
    shifted -= np.log(totals).astype(np.float32)
    return shifted


def log_masses(logits: Logits) -> NDArray[np.float64]:
    """Return the logarithm of the sum of the exponentials of each row [rows, vocab_size].

    A logit minus that is the token's log-probability.
    """
    masses = np.empty(len(logits))
    size = max(1, CELLS // logits.shape[1])
    for first in range(0, len(logits), size):
        part = logits[first : first + size]
        top = part.max(axis=1, keepdims=True)  # [size, 1]
        shifted = part.astype(np.float64) - top  # [size, vocab_size]
        total = np.exp(shifted, out=shifted).sum(axis=1)  # [size]
        masses[first : first + size] = top[:, 0] + np.log(total)
    return masses


def token_logprobs(
    logits: Logits, token_ids: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the log-probability of ``token_ids`` [n] under ``logits`` [n, vocab_size].

    The second result says which of them are the likeliest. Differences are taken in float32,
    normalizers in float64.
    """
    shifted = _shifted(logits)
    normalizer = np.log(np.exp(shifted).sum(axis=1, dtype=np.float64))
    return (
        shifted[np.arange(len(token_ids)), token_ids] - normalizer,
        logits.argmax(axis=1) == token_ids,
    )


def _shifted(logits: Logits) -> Logits:
    """Return new logits less the largest of each row, so that no exponential overflows."""
    shifted: Logits = logits - logits.max(axis=-1, keepdims=True)
    return shifted
