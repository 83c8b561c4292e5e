"""ONNX external data, written straight to disk, one tensor at a time."""

from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.numpy_helper import from_array

_INLINE_BELOW: Final = 1024  # bytes
_PAGE_FROM: Final = 1 << 20  # from here on a page boundary costs under 0.4 %
_PAGE: Final = 4096
_VECTOR: Final = 64


class ExternalData:
    """The file beside a graph that holds its weights; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._location = path.name

    def __enter__(self) -> "ExternalData":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, name: str, array: NDArray[np.float32]) -> TensorProto:
        """Write ``array`` and return the initializer that points at it; small ones stay inline."""
        array = np.ascontiguousarray(array, dtype="<f4")
        if array.nbytes < _INLINE_BELOW:
            return from_array(array, name)
        self._align(_PAGE if array.nbytes >= _PAGE_FROM else _VECTOR)
        offset = self._file.tell()
        self._file.write(array.data.cast("B"))  # not tofile: it hides what went wrong
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": self._location, "offset": offset, "length": array.nbytes}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def _align(self, boundary: int) -> None:
        self._file.write(bytes(-self._file.tell() % boundary))
