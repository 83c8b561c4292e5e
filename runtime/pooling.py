"""Pooling: one vector for the hidden states of a text."""

from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_bool, check_one_of

Pooling: TypeAlias = Literal["mean", "last"]
"""The mean of all tokens' hidden states, or the last token's, which has seen all others."""
POOLINGS: Final[tuple[str, ...]] = get_args(Pooling)


def check_pooling(pooling: Pooling, normalize: bool) -> None:
    """Raise ArgumentError for a wrong ``pooling`` or ``normalize``."""
    check_one_of("pooling", pooling, POOLINGS)
    check_bool("normalize", normalize)


def pooled(
    states: NDArray[np.float32], pooling: Pooling, *, normalize: bool
) -> NDArray[np.float32]:
    """Return one vector [n_embd] for hidden states [tokens, n_embd], of length 1 if asked for.

    The mean is computed in float64.
    """
    vector = states[-1] if pooling == "last" else states.mean(axis=0, dtype=np.float64)
    if normalize:
        vector = vector / max(float(np.linalg.norm(vector)), np.finfo(np.float32).tiny)
    return np.asarray(vector, np.float32)
