"""WeightsFile: the weights of a graph as ONNX external data, written tensor by tensor."""

from pathlib import Path
from types import TracebackType
from typing import Final

from onnx import TensorProto

_INLINE_BELOW: Final = 1024  # bytes
_PAGE_FROM: Final = 1 << 20  # bytes; for larger tensors, aligning to a page costs under 0.4 %
_PAGE: Final = 4096
_VECTOR: Final = 64


class WeightsFile:
    """Writes the values of initializers one after the other; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._location = path.name

    def __enter__(self) -> "WeightsFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def attach(self, tensor: TensorProto, data: memoryview) -> None:
        """Store the value of ``tensor``, little-endian; a small one stays inside the graph."""
        if data.nbytes < _INLINE_BELOW:
            tensor.raw_data = data.tobytes()
            return
        boundary = _PAGE if data.nbytes >= _PAGE_FROM else _VECTOR
        self._file.write(bytes(-self._file.tell() % boundary))
        offset = self._file.tell()
        self._file.write(data.cast("B"))
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": self._location, "offset": offset, "length": data.nbytes}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
