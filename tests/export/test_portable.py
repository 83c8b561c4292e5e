"""Profile portable: standard operators, Optimum's names, left padding; the reference's logits."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gpt2edge.errors import ExportError
from gpt2edge.export import export_checkpoint
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, write_checkpoint
from tests.export.configurations import CASES
from tests.export.running import open_session, run
from tests.export.test_graph import TOLERANCE, reference_logits

LANGUAGE_MODELS = [name for name in CASES if "label" not in name and name != "token_scalar"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    folder = tmp_path_factory.mktemp("portable")
    write_checkpoint(folder / "hf")
    return export_checkpoint(folder / "hf", folder / "out", profile="portable")


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_prefill_append_and_decode_are_the_reference(name: str, tmp_path: Path) -> None:
    keys, options = CASES[name]
    write_checkpoint(tmp_path / "hf", keys, **options)
    model = export_checkpoint(tmp_path / "hf", tmp_path / "out", profile="portable")
    ids = np.random.default_rng(1).integers(0, keys["vocab_size"], 30).tolist()
    session = open_session(model)
    pieces, past = [], None
    for start, end in ((0, 15), (15, 28), (28, 29), (29, 30)):
        found, past = run(session, ids[start:end], past)
        pieces.append(found)
    expected = reference_logits(Checkpoint.open(tmp_path / "hf"), ids)
    assert np.abs(np.concatenate(pieces) - expected).max() <= TOLERANCE


def test_what_the_graph_declares(small: ModelDir) -> None:
    model = onnx.load(small.graph_path, load_external_data=False)
    onnx.checker.check_model(str(small.graph_path), full_check=True)
    assert [opset.domain for opset in model.opset_import] == [""]
    assert {node.domain for node in model.graph.node} == {""}
    assert small.manifest.profile == "portable"
    cache = [f"{layer}.{part}" for layer in range(2) for part in ("key", "value")]
    pasts = [f"past_key_values.{name}" for name in cache]
    names = ["input_ids", "attention_mask", "position_ids", *pasts]
    assert [value.name for value in model.graph.input] == names
    outputs = ["logits", *(f"present.{name}" for name in cache)]
    assert [value.name for value in model.graph.output] == outputs


def test_a_left_padded_batch_is_each_row_alone(small: ModelDir) -> None:
    session = open_session(small)
    rows = [[5, 6, 7, 8, 9], [11, 12], [40]]
    alone = [run(session, row)[0][-1] for row in rows]
    width = max(map(len, rows))
    mask = np.array([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    ids = np.array([[0] * (width - len(row)) + row for row in rows])
    past: dict[str, object] = {
        value.name: np.zeros((len(rows), 4, 0, 8), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past")
    }
    logits, presents = _step(session, ids, mask, past)
    assert np.isfinite(logits).all()
    assert np.abs(logits[:, -1] - np.stack(alone)).max() <= 1e-5
    following = np.array([[3], [4], [5]])
    mask = np.concatenate([mask, np.ones((3, 1), np.int64)], axis=1)
    logits, _ = _step(session, following, mask, dict(zip(past, presents, strict=True)))
    alone = [run(session, [*row, at + 3])[0][-1] for at, row in enumerate(rows)]
    assert np.abs(logits[:, -1] - np.stack(alone)).max() <= 1e-5


def test_the_tokenizer_files_of_transformers_go_along(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    (tmp_path / "hf" / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    model = export_checkpoint(tmp_path / "hf", tmp_path / "out", profile="portable")
    assert "tokenizer_config.json" in model.manifest.files


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    keys = {**SMALL, "architectures": ["GPT2ForTokenClassification"]}
    write_checkpoint(tmp_path / "hf", keys)
    with pytest.raises(ExportError, match=r"task is token-classification: .* profile cpu"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out", profile="portable")
    with pytest.raises(ValueError, match="profile is 'gpu'; it must be one of cpu, portable"):
        export_checkpoint(tmp_path / "hf", tmp_path / "out", profile="gpu")
    assert not (tmp_path / "out").exists()


def _step(
    session: object, ids: NDArray[np.int64], mask: NDArray[np.int64], past: dict[str, object]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    positions = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -ids.shape[1] :]
    feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **past}
    logits, *presents = session.run(None, feeds)  # type: ignore[attr-defined]
    return logits, presents
