"""Checks of arguments; an error states the argument, its value and the allowed values."""

import math
import operator
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from gpt2edge.errors import Argument, ArgumentError

_Item = TypeVar("_Item")
MODEL: Final = "the path of a model folder, or the name of a pulled model"
"""The allowed values of a model argument, in a message."""
_LONGEST: Final = 80
"""The most characters of a value in a message."""


def argument_error(name: str, value: object, allowed: str, *, part: str = "") -> ArgumentError:
    """Return the error for an argument with ``value``, which must be ``allowed``.

    ``part`` names the part of the argument that ``value`` is, such as "a token id in ".
    """
    return ArgumentError(part, Argument(name), f" is {shown(value)}; it must be {allowed}")


def shown(value: object) -> str:
    """Return the repr of ``value`` on one line, shortened to 80 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def check_int(name: str, value: Any, low: int, high: int, *, part: str = "") -> int:
    """Return ``value`` as an int from ``low`` to ``high``; accept numpy integers, no bools."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise argument_error(name, value, f"a whole number from {low} to {high}", part=part)
    return number


def check_float(
    name: str, value: Any, low: float, high: float, *, open_low: bool = False, part: str = ""
) -> float:
    """Return ``value`` as a float in [low, high], or in (low, high] if ``open_low``."""
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high or (open_low and number == low):
        bracket = "(" if open_low else "["
        raise argument_error(name, value, f"a number in {bracket}{low}, {high}]", part=part)
    return number


def check_bool(name: str, value: Any) -> None:
    """Raise ArgumentError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise argument_error(name, value, "True or False")


def check_text(name: str, value: Any, *, empty: bool = True, part: str = "") -> None:
    """Raise ArgumentError unless ``value`` is a str, and not empty unless ``empty``."""
    if not isinstance(value, str) or not (value or empty):
        allowed = "a text" if empty else "a text of one character or more"
        raise argument_error(name, value, allowed, part=part)


def check_one_of(name: str, value: Any, allowed: Iterable[object]) -> None:
    """Raise ArgumentError unless ``value`` is one of ``allowed``, in type and value."""
    choices = tuple(allowed)
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise argument_error(name, value, f"one of {', '.join(map(str, choices))}")


def check_type(name: str, value: Any, kinds: type | tuple[type, ...], allowed: str) -> None:
    """Raise ArgumentError unless ``value`` is of ``kinds``; ``allowed`` describes them."""
    if not isinstance(value, kinds):
        raise argument_error(name, value, allowed)


def check_optional(name: str, value: Any, kinds: type | tuple[type, ...], allowed: str) -> None:
    """Call ``check_type`` unless ``value`` is None."""
    if value is not None:
        check_type(name, value, kinds, f"{allowed}, or None")


def check_path(name: str, value: Any, allowed: str = "a path") -> None:
    """Raise ArgumentError unless ``value`` is a str or a path object; bytes are neither."""
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise argument_error(name, value, allowed)


def check_callable(name: str, value: Any) -> None:
    """Raise ArgumentError unless ``value`` can be called or is None."""
    if value is not None and not callable(value):
        raise argument_error(name, value, "a function, or None")


def check_list(name: str, value: Iterable[_Item], allowed: str) -> list[_Item]:
    """Return the items of a list, tuple or array; refuse a text, bytes, a mapping or a set."""
    unordered = isinstance(value, str | bytes | bytearray | memoryview | Mapping | set | frozenset)
    try:
        if not unordered:
            return list(value)
    except TypeError:  # not iterable
        pass
    raise argument_error(name, value, allowed)
