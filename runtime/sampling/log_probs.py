"""Log-probabilities of logits."""

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.sampling.truncation import CELLS


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def log_masses(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log-sum-exp [rows] of each row of ``logits`` [rows, vocab_size].

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
