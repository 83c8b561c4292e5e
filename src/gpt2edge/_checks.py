"""Checks of numbers that a caller gives: the name, the value and what is allowed, in one line."""

import math
import operator
from typing import Any


def whole(name: str, value: Any, low: int, high: int) -> int:
    """``value`` as an int from ``low`` to ``high``; numpy's integers count, bools do not."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")
    return number


def real(name: str, value: Any, low: float, high: float, *, open_low: bool = False) -> float:
    """``value`` as a float in [low, high], or in (low, high] where ``open_low``."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high or (open_low and number == low):
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} is {value!r}; it must be a number in {bracket}{low}, {high}]")
    return number
