"""Torch files without torch: every number as it was stored, wherever it lies."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.pickled import Foreign, Name, read_plain
from gpt2edge.export.sources.torch_files import SavedTensor, read_torch_file, tensors_of
from tests.forms.torch_writer import (
    Pickled,
    View,
    bfloat16,
    instance,
    parameter,
    write_legacy,
    write_zip,
)

RNG = np.random.default_rng(0)
FLAT = RNG.standard_normal(100).astype("f4")
SHARED = RNG.standard_normal((5, 4)).astype("f4")
VALUES: dict[str, Any] = {
    "single": RNG.standard_normal((3, 4)).astype("f4"),
    "half": RNG.standard_normal(7).astype("f2"),
    "double": RNG.standard_normal((2, 2, 2)),
    "tied": SHARED,
    "again": SHARED,
    "column-major": View(FLAT, 10, (4, 3), (1, 4)),
    "every third": View(FLAT, 1, (5,), (3,)),
    "three axes": View(FLAT, 0, (2, 3, 4), (1, 8, 2)),
    "scalar": np.array(-1e4, "f4"),
    "empty": np.zeros((0, 3), "f4"),
    "parameter": parameter(FLAT[:6].copy()),
    "bfloat16": bfloat16(np.array([1, -2, 3.140625], "f4")),
}
EXPECTED = {
    **{name: value for name, value in VALUES.items() if isinstance(value, np.ndarray)},
    "column-major": FLAT[10:22].reshape(3, 4).T,
    "every third": FLAT[1:16:3],
    "three axes": np.lib.stride_tricks.as_strided(FLAT, (2, 3, 4), (4, 32, 8)),
    "parameter": FLAT[:6],
    "bfloat16": np.array([1, -2, 3.140625]),
}


def write_big_endian(path: Path, value: Any) -> None:
    write_zip(path, value, root="model", order="big")


@pytest.mark.parametrize("write", [write_zip, write_legacy, write_big_endian])
def test_every_number_is_as_it_was_stored(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "any.pt"
    write(path, {"model": VALUES, "step": 2**40, "best": 1.5, "args": {"bias": False, "n": [1]}})
    file = read_torch_file(path)
    assert {key: file.value[key] for key in ("step", "best", "args")} == {
        "step": 2**40,
        "best": 1.5,
        "args": {"bias": False, "n": [1]},
    }
    tensors = tensors_of(file, file.value["model"])
    assert list(tensors) == list(VALUES)
    for name, tensor in tensors.items():
        found = tensor.read()
        assert found.dtype == np.float32
        assert found.flags["C_CONTIGUOUS"]
        assert np.array_equal(found, EXPECTED[name].astype("f4")), name
    assert tensors["tied"].offset == tensors["again"].offset


def test_objects_are_only_described(tmp_path: Path) -> None:
    path = tmp_path / "any.pt"
    write_zip(path, {"config": instance("__main__.Config", {"n_layer": 2}), "a": FLAT})
    value = read_torch_file(path).value
    config = value["config"]
    assert type(config) is Foreign
    assert (config.name, config.state) == (Name("__main__", "Config"), {"n_layer": 2})
    assert type(value["a"]) is SavedTensor


def test_plain_pickles(tmp_path: Path) -> None:
    path, meta = tmp_path / "meta.pkl", {"itos": {0: "a", 1: "ß"}, "stoi": {"a": 0}, "n": [1, -2.5]}
    path.write_bytes(Pickled(legacy=False).program(meta))
    assert read_plain(path) == meta
    with pytest.raises(ExportError, match="not a regular file"):
        read_plain(tmp_path / "absent")
    path.write_bytes(b"\x80\x02NQ.")
    with pytest.raises(ExportError, match="a reference to data outside"):
        read_plain(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_python_s_own_pickles(protocol: int, tmp_path: Path) -> None:
    import pickle  # the writer, never the reader

    meta = {"stoi": {chr(i): i for i in range(300)}, "t": (1, (2, None), True), "big": 2**70}
    shared = ["x"] * 3
    meta["lists"] = [shared, shared, [shared]]
    path = tmp_path / "meta.pkl"
    path.write_bytes(pickle.dumps(meta, protocol))
    assert read_plain(path) == meta


def test_a_tensor_is_read_alone(tmp_path: Path) -> None:
    """The file may be removed in part: only what is read has to be there."""
    path = tmp_path / "any.pt"
    write_zip(path, {"first": FLAT, "last": SHARED})
    file = read_torch_file(path)
    tensors = tensors_of(file, file.value)
    path.write_bytes(path.read_bytes()[: tensors["last"].offset + 4])
    assert np.array_equal(tensors["first"].read(), FLAT)
    with pytest.raises(ExportError, match="ends inside tensor 'last'"):
        tensors["last"].read()
