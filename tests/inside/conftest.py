"""Engines for looking inside: the bundled model, and a tiny one by every recipe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import gpt2edge
from gpt2edge import Engine
from gpt2edge.export import export_checkpoint
from gpt2edge.inside import Inside
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.ort import session
from tests.checkpoints import SMALL, write_checkpoint

KEYS = {**SMALL, "n_embd": 48, "n_positions": 600, "vocab_size": 130, "n_inner": 160}
"""Heads of 12, padded to 16; rows of blocks that are padded, too."""


@pytest.fixture(scope="module", autouse=True)
def _onnxruntime_alone() -> Iterator[None]:
    """Compare with engines without our kernels: captures are of onnxruntime's operators."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "library", lambda: None)
        yield


@pytest.fixture(scope="module")
def storyteller() -> Iterator[Engine]:
    """The bundled model."""
    with gpt2edge.load() as engine:
        yield engine


@pytest.fixture(scope="module")
def scope(storyteller: Engine) -> Inside:
    """The inside of the bundled model."""
    return storyteller.inside()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """A tiny float32 model without a tokenizer."""
    folder = tmp_path_factory.mktemp("small")
    write_checkpoint(folder / "hf", KEYS, seed=3)
    return export_checkpoint(folder / "hf", folder / "onnx")


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    """The same, of profile portable."""
    folder = tmp_path_factory.mktemp("portable")
    write_checkpoint(folder / "hf", KEYS, seed=3)
    return export_checkpoint(folder / "hf", folder / "onnx", profile="portable")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of sequences."""
    keys = {
        **SMALL,
        "architectures": ["GPT2ForSequenceClassification"],
        "id2label": {"0": "a", "1": "b", "2": "c"},
        "pad_token_id": 0,
    }
    folder = tmp_path_factory.mktemp("classifier")
    write_checkpoint(folder / "hf", keys)
    return export_checkpoint(folder / "hf", folder / "onnx").path
