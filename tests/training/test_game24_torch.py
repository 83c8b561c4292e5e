"""The game24 checkpoints in transformers: the same tokens, the same numbers."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from gpt2edge import Engine
from gpt2edge.export import export_checkpoint
from tests.conftest import ROOT

pytestmark = pytest.mark.interop
TEXT: Final = "24: 4 6 8 8\n8 / 8 = 1 (left: 1 4 6)\n"


@pytest.mark.parametrize("name", ["0.1m", "0.7m", "3m", "value", "outcome"])
def test_transformers_agrees(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = ROOT / "training" / "models" / f"game24-{name}"
    judge = name in ("value", "outcome")
    kind = transformers.GPT2ForTokenClassification if judge else transformers.GPT2LMHeadModel
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    engine = Engine(export_checkpoint(folder, tmp_path / "onnx").path)
    ids = engine.encode(TEXT)
    assert tokenizer(TEXT)["input_ids"] == ids
    assert tokenizer.decode(ids) == TEXT
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(engine.logits(ids), expected, atol=1e-4)
