"""Tensors on disk, and views of them that are computed when they are read.

A source lists what it holds as ``Readable``; nothing is read before ``read``, and then one tensor
at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt2edge.errors import ExportError
from gpt2edge.runtime.arrays import FloatArray

Shape = tuple[int, ...]

_KINDS: Final = {"F32": "f4", "F16": "f2", "BF16": "u2", "F64": "f8"}
"""Types that weights can have, by safetensors' names, as numpy stores them."""


class Readable(Protocol):
    """A tensor that can be read: its name in the file, its shape and its stored type."""

    @property
    def stored_name(self) -> str:
        """Return the name that the file gives it."""

    @property
    def shape(self) -> Shape:
        """Return the lengths of the axes."""

    @property
    def dtype(self) -> str:
        """Return the type that is stored, by safetensors' name."""

    def read(self) -> FloatArray:
        """Return the numbers as a contiguous float32 array of ``shape``."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor on disk: the first byte, in ``path``, of numbers that lie ``stride`` apart."""

    path: Path
    stored_name: str
    shape: Shape
    dtype: str
    offset: int
    stride: Shape | None = None
    """Elements from one index to the next on each axis; None: no gaps, the last axis innermost."""
    is_big_endian: bool = False

    def read(self) -> FloatArray:
        """Read the tensor as float32; a float64 out of range becomes infinite.

        Raises ExportError where the file is too short.
        """
        count = math.prod(self.shape)
        if not count:
            return np.zeros(self.shape, np.float32)
        gaps = self.stride is not None and self.stride != row_major(self.shape)
        raw = self._numbers(self._span() if gaps else count)
        if gaps:
            strides = [step * raw.itemsize for step in self.stride or ()]
            raw = np.lib.stride_tricks.as_strided(raw, self.shape, strides, writeable=False)
        if self.dtype == "BF16":  # the upper half of a float32
            raw = (raw.astype("<u4") << np.uint32(16)).view("<f4")
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(raw, np.float32).reshape(self.shape)

    def _numbers(self, count: int) -> NDArray[np.generic]:
        kind = np.dtype(("<", ">")[self.is_big_endian] + _KINDS[self.dtype])
        try:
            raw = np.fromfile(self.path, kind, count, offset=self.offset)
        except OSError as error:
            raise ExportError(f"cannot read {str(self.path)!r}: {error.strerror}") from None
        if raw.size != count:
            raise ExportError(f"{self.path} ends inside tensor {self.stored_name!r}")
        return raw

    def _span(self) -> int:
        """Return the count of elements from the first to the last."""
        assert self.stride is not None
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))


@dataclass(frozen=True, slots=True)
class View:
    """A tensor that is computed from one other, with its name and stored type."""

    base: Readable

    @property
    def stored_name(self) -> str:
        """Return the base's name."""
        return self.base.stored_name

    @property
    def shape(self) -> Shape:
        """Return the base's shape."""
        return self.base.shape

    @property
    def dtype(self) -> str:
        """Return the base's type."""
        return self.base.dtype

    def read(self) -> FloatArray:
        """Read the base."""
        return self.base.read()


@dataclass(frozen=True, slots=True)
class Transposed(View):
    """A matrix [rows, columns] that is stored as [columns, rows]."""

    @property
    def shape(self) -> Shape:
        """Return the base's shape, reversed."""
        return self.base.shape[::-1]

    def read(self) -> FloatArray:
        """Read and transpose."""
        return np.ascontiguousarray(self.base.read().T)


@dataclass(frozen=True, slots=True)
class Rows(View):
    """Rows ``first`` (included) to ``last`` (excluded) of the base, on its first axis."""

    first: int
    last: int

    @property
    def shape(self) -> Shape:
        """Return the shape that is left."""
        kept = range(self.base.shape[0])[self.first : self.last]
        return (len(kept), *self.base.shape[1:])

    def read(self) -> FloatArray:
        """Read the base and cut it."""
        return self.base.read()[self.first : self.last]


@dataclass(frozen=True, slots=True)
class Reordered(View):
    """The base's rows (its first axis) in another order: row i is the base's row ``order[i]``."""

    order: tuple[int, ...]

    @property
    def shape(self) -> Shape:
        """Return as many rows as ``order`` names."""
        return (len(self.order), *self.base.shape[1:])

    def read(self) -> FloatArray:
        """Read the base and take its rows."""
        return self.base.read()[list(self.order)]


@dataclass(frozen=True, slots=True)
class Reshaped(View):
    """The base's numbers, in their order, as another shape of as many elements."""

    to: Shape

    @property
    def shape(self) -> Shape:
        """Return the new shape."""
        return self.to

    def read(self) -> FloatArray:
        """Read the base and give it the new shape."""
        return self.base.read().reshape(self.to)


@dataclass(frozen=True, slots=True)
class Scaled(View):
    """The base times a number."""

    factor: float

    def read(self) -> FloatArray:
        """Read and multiply, in float32."""
        product: FloatArray = self.base.read() * np.float32(self.factor)
        return product


@dataclass(frozen=True, slots=True)
class Joined:
    """Tensors one after another on ``axis``, as one."""

    parts: tuple[Readable, ...]
    axis: int

    @property
    def stored_name(self) -> str:
        """Return the first part's name."""
        return self.parts[0].stored_name

    @property
    def shape(self) -> Shape:
        """Return the parts' shape, their lengths on the axis added."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)

    @property
    def dtype(self) -> str:
        """Return the first part's type."""
        return self.parts[0].dtype

    def read(self) -> FloatArray:
        """Read all parts and join them."""
        return np.concatenate([part.read() for part in self.parts], self.axis)


@dataclass(frozen=True, slots=True)
class Zeros:
    """A tensor that the file leaves out because all of it is zero."""

    stored_name: str
    shape: Shape
    dtype: str = "F32"

    def read(self) -> FloatArray:
        """Return zeros."""
        return np.zeros(self.shape, np.float32)


def row_major(shape: Sequence[int]) -> Shape:
    """Return the strides, in elements, of a tensor without gaps whose last axis is innermost."""
    steps = [1]
    for length in reversed(shape[1:]):
        steps.append(steps[-1] * length)
    return tuple(reversed(steps))[len(steps) - len(shape) :]


def check_dtype(tensor: Readable) -> None:
    """Raise ExportError for a stored type that weights cannot have."""
    if tensor.dtype not in _KINDS:
        raise ExportError(
            f"tensor {tensor.stored_name!r} is stored as {tensor.dtype}; it must be F32, F16, "
            "BF16 or F64"
        )
