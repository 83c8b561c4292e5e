"""Tensors beside a graph: read as they were written; a file that is too short is said to be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto

from gpt2edge.errors import ModelDirError
from gpt2edge.graph.tensors import TensorReader, same_bytes, write_tensor
from gpt2edge.graph.weights_file import WeightsFile


def _write(folder: Path, arrays: dict[str, NDArray[Any]]) -> list[TensorProto]:
    with WeightsFile(folder / "weights") as store:
        return [write_tensor(store, name, array) for name, array in arrays.items()]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint8, np.int64, ">f4"])
@pytest.mark.parametrize("shape", [(3,), (40, 50), (2, 3, 400)])
def test_read_as_written(tmp_path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
    """Inside the graph and beside it; also of another byte order."""
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    tensors = _write(tmp_path, {"first": np.ones(999, np.int8), "x": array})
    reader = TensorReader(tensors, tmp_path)
    assert np.array_equal(reader.read("x"), array)
    assert reader.shape("x") == shape
    assert reader.is_float("x") == (np.dtype(dtype).name == "float32")
    assert "x" in reader
    assert "y" not in reader


def test_two_names_for_the_same_bytes(tmp_path: Path) -> None:
    (tensor,) = _write(tmp_path, {"x": np.arange(600, dtype=np.float32).reshape(20, 30)})
    twin = same_bytes(tensor, "twin", (600,))
    assert np.array_equal(TensorReader([twin], tmp_path).read("twin"), np.arange(600))


def test_a_short_file(tmp_path: Path) -> None:
    tensors = _write(tmp_path, {"x": np.zeros(600, np.float32)})
    (tmp_path / "weights").write_bytes(b"short")
    with pytest.raises(ModelDirError, match=r"weights ends inside tensor 'x': export"):
        TensorReader(tensors, tmp_path).read("x")
