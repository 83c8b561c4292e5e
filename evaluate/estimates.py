"""Means over tokens or problems, with their standard errors."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LARGEST_EXPONENT: Final = 700.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over tokens or problems, and its standard error; NaN for a single one."""

    value: float
    standard_error: float


def mean_of(values: Array) -> Estimate:
    """Return the mean of ``values`` [n]."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Estimate(float(values.mean()), spread / math.sqrt(len(values)))


def perplexity_of(losses: Array) -> Estimate:
    """Return exp of the mean of token losses [n] in nats; the error is by the delta method."""
    mean = mean_of(losses)
    value = math.exp(min(mean.value, _LARGEST_EXPONENT))
    return Estimate(value, value * mean.standard_error)


def increase_of(losses: Array, reference: Array) -> Estimate:
    """Return the relative increase of perplexity over a reference's losses of the same tokens.

    Its error is that of the mean difference, token by token: far below the error of either.
    """
    mean = mean_of(losses - reference)
    ratio = math.exp(min(mean.value, _LARGEST_EXPONENT))
    return Estimate(ratio - 1, ratio * mean.standard_error)


def bits_per_byte_of(losses: Array, nbytes: int) -> Estimate:
    """Return the bits that a text of ``nbytes`` takes for each of its bytes, from token losses."""
    mean, share = mean_of(losses), len(losses) / nbytes / math.log(2)
    return Estimate(mean.value * share, mean.standard_error * share)
