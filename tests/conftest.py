"""Fixtures for every room: data beside the repository, and a tiny exported model."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings

from gpt2edge.errors import ProviderError
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.native.library import Library, facts, library
from gpt2edge.runtime.ort import session
from gpt2edge.runtime.ort.session import require_int8_cache
from tests.checkpoints import SMALL, write_checkpoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT: Final = Path(__file__).resolve().parents[1]


def _take_cores_of_our_own() -> None:
    """Pin each of several pytest-xdist workers, and what it starts, to its share of the cores.

    Engines take a thread a core; those of two workers on the same cores mostly wait for each
    other, spinning: the suite costs twice the processor time.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count == 1 or not hasattr(os, "sched_setaffinity"):
        return
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[worker % len(cores) :: count])


_take_cores_of_our_own()
settings.register_profile("gpt2edge", deadline=None, derandomize=True)
settings.load_profile("gpt2edge")  # no test depends on the clock, and each run tries the same cases


@pytest.fixture(scope="session")
def int8_cache() -> None:
    """Skips where onnxruntime is too old for an int8 cache, as on Python 3.10."""
    try:
        require_int8_cache()
    except ProviderError as error:
        pytest.skip(str(error))


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines opened in the test run on onnxruntime's operators alone."""
    monkeypatch.setattr(session, "library", lambda: None)


@pytest.fixture(scope="session")
def kernels() -> Library:
    """The library of kernels; skips where it is not built or switched off."""
    found = library()
    if found is None:
        pytest.skip(f"no kernels: {facts()['reason']}")
    return found


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own, for their child processes too, in place of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT2EDGE_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _interrupts_as_in_a_terminal() -> Iterator[None]:
    """A job in the background of a script starts with interrupts ignored, its children too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of models and texts beside the repository; skips where it is absent."""
    folder = Path(os.environ.get("GPT2EDGE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set GPT2EDGE_SHARED to a folder with models/ and data/")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Path:
    """A Hugging Face folder: 128 positions, 512 byte-level tokens, greedy by default."""
    return ROOT / "tests" / "data" / "tiny"


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """The same, exported."""
    return export_checkpoint(tiny_checkpoint, tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def token_model(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """A model without a tokenizer or special tokens, with room for a long completion."""
    keys: dict[str, Any] = {**SMALL, "n_positions": 8192}
    keys |= {"bos_token_id": None, "eos_token_id": None}
    folder = tmp_path_factory.mktemp("tokens")
    write_checkpoint(folder / "hf", keys, seed=7)
    return export_checkpoint(folder / "hf", folder / "onnx")


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        read: dict[str, Any] = tomllib.load(file)
    return read
