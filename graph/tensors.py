"""A graph's initializers on disk: read one at a time, written one at a time."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import np_dtype_to_tensor_dtype, tensor_dtype_to_np_dtype
from onnx.numpy_helper import to_array

from gpt2edge.errors import ModelDirError
from gpt2edge.graph.weights_file import WeightsFile


class TensorReader:
    """Initializers by name, each read from disk on demand."""

    def __init__(self, initializers: Iterable[TensorProto], folder: Path) -> None:
        self._tensors = {tensor.name: tensor for tensor in initializers}
        self._folder = folder

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, without reading it."""
        return tuple(self._tensors[name].dims)

    def is_float(self, name: str) -> bool:
        """Return whether a tensor of this name exists and is float32."""
        return name in self._tensors and self._tensors[name].data_type == TensorProto.FLOAT

    def read(self, name: str) -> NDArray[Any]:
        """Read a tensor. Raises ModelDirError where the weights file is too short."""
        tensor = self._tensors[name]
        if tensor.data_location != TensorProto.EXTERNAL:
            return np.asarray(to_array(tensor))
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = self._folder / Path(entries["location"]).name
        dtype = np.dtype(tensor_dtype_to_np_dtype(tensor.data_type))
        count = int(np.prod(tensor.dims, dtype=np.int64))
        array = np.fromfile(path, dtype, count, offset=int(entries.get("offset", 0)))
        if array.size != count:
            raise ModelDirError(f"{path} ends inside tensor {name!r}: export the model again")
        return array.reshape(tuple(tensor.dims))


def write_tensor(store: WeightsFile, name: str, array: NDArray[Any]) -> TensorProto:
    """Make an initializer; the value of ``array`` goes to ``store``, little-endian."""
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    kind = np_dtype_to_tensor_dtype(array.dtype)
    tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
    store.attach(tensor, array.data)
    return tensor


def same_bytes(tensor: TensorProto, name: str, shape: tuple[int, ...]) -> TensorProto:
    """Make another initializer on the bytes of ``tensor``, with another name and shape."""
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    copy.dims[:] = shape
    return copy
