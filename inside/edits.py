"""Edit: what is done to a value inside the model before the rest of it computes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from gpt2edge._checks import argument_error, check_float, check_int
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.runtime.arrays import FloatArray

Positions: TypeAlias = int | slice | Sequence[int] | None
"""Tokens of a prompt, from 0 or from the end; None is all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """Make ``value * keep + add`` of a value, at some positions, and in one head or column.

    ``keep`` is a number. ``amount`` is a number, or an array that broadcasts to the value's shape
    (see ``hooks``): [d_model], [pos, d_model], [pos, head, d_head]. Use the four makers.
    """

    keep: float
    amount: FloatArray
    positions: Positions = None
    head: int | None = None
    column: int | None = None

    @classmethod
    def add(cls, vector: ArrayLike, *, positions: Positions = None) -> "Edit":
        """Add ``vector``: steering."""
        return cls(1.0, _floats(vector), positions)

    @classmethod
    def replace(
        cls, value: ArrayLike, *, positions: Positions = None, head: int | None = None
    ) -> "Edit":
        """Put ``value`` in its place: patching."""
        return cls(0.0, _floats(value), positions, head)

    @classmethod
    def zero(
        cls, *, positions: Positions = None, head: int | None = None, neuron: int | None = None
    ) -> "Edit":
        """Put 0 in its place, in a head or a neuron alone where one is given: ablation."""
        return cls(0.0, _floats(0), positions, head, neuron)

    @classmethod
    def scale(
        cls,
        factor: float,
        *,
        positions: Positions = None,
        head: int | None = None,
        neuron: int | None = None,
    ) -> "Edit":
        """Multiply by ``factor``."""
        check_float("factor", factor, -1e6, 1e6)
        return cls(float(factor), _floats(0), positions, head, neuron)

    def times(self, factor: float) -> "Edit":
        """Return the edit with ``factor`` times the amount that is added."""
        return replace(self, amount=self.amount * np.float32(factor))

    def arrays(self, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """Return ``keep`` and ``add`` of ``shape``, that of the value.

        Raises ValueError where the edit does not fit the value.
        """
        keep, add = np.ones(shape, np.float32), np.zeros(shape, np.float32)
        where: list[Any] = [_index(self.positions, shape[0])]
        if self.head is not None:
            if len(shape) != 3:
                raise argument_error("head", self.head, "None: this value has no heads")
            where.append(check_int("head", self.head, 0, shape[1] - 1))
        if self.column is not None:
            check_int("neuron", self.column, 0, shape[-1] - 1)
            where += [slice(None)] * (len(shape) - 1 - len(where)) + [self.column]
        try:
            whole = np.broadcast_to(self.amount, shape)
        except ValueError:
            whole = None
        target = tuple(where)
        keep[target] = self.keep
        try:
            add[target] = self.amount if whole is None else whole[target]
        except ValueError:
            raise ArgumentError(
                Argument("amount"),
                f" has shape {self.amount.shape}; the value that it changes is {add[target].shape}",
            ) from None
        return keep, add


def _floats(value: ArrayLike) -> FloatArray:
    found = np.asarray(value, np.float32)
    if not np.isfinite(found).all():
        raise ArgumentError(Argument("value"), " holds numbers that are not finite")
    return found


def _index(positions: Positions, tokens: int) -> Any:
    """Return an index of the first axis; raise ValueError for a position that does not exist."""
    if positions is None:
        return slice(None)
    if isinstance(positions, slice):
        return positions
    if isinstance(positions, Sequence | np.ndarray):
        return [check_int("positions", each, -tokens, tokens - 1) for each in positions]
    return check_int("positions", positions, -tokens, tokens - 1)


Edits: TypeAlias = (
    Mapping[str, Edit] | Mapping[tuple[str, int], Edit] | Mapping[str | tuple[str, int], Edit]
)
"""Edits by the name of the value, or by shorthand and layer."""
