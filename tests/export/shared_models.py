"""Trained models that lie beside the repository, not in it."""

import os
from pathlib import Path
from typing import Final

import pytest

SORTER: Final = "llmviz-gpt-nano-sort-85k"
TOY_CHAT: Final = "gpt2basic-pack-chat-691k"
_ROOT: Final = Path(__file__).resolve().parents[2]


def shared_model(name: str) -> Path:
    """The checkpoint folder; skips the test where it is not there."""
    shared = Path(os.environ.get("GPT2EDGE_SHARED", _ROOT.parent / "shared"))
    if not (shared / "models" / name).is_dir():
        pytest.skip(f"{shared / 'models' / name} is absent: set GPT2EDGE_SHARED to its folder")
    return shared / "models" / name
