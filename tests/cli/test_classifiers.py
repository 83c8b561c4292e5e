"""Every command with a classifier: what it can do is done, the rest is one line."""

from pathlib import Path
from shutil import copyfile

import pytest

from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, write_checkpoint
from tests.cli.running import error, invoke, output, output_json
from tests.conftest import ROOT

HEADS = {
    "sequence-classification": "GPT2ForSequenceClassification",
    "token-classification": "GPT2ForTokenClassification",
}
TEXT = ROOT / "LICENSE"


@pytest.fixture(scope="module", params=HEADS)
def classifier(
    request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ModelDir:
    folder = tmp_path_factory.mktemp("classifier")
    keys = {**SMALL, "architectures": [HEADS[request.param]], "vocab_size": 512}
    write_checkpoint(folder / "hf", {**keys, "id2label": {"0": "a", "1": "b", "2": "c"}})
    copyfile(tiny_checkpoint / "tokenizer.json", folder / "hf" / "tokenizer.json")
    return export_checkpoint(folder / "hf", folder / "model")


@pytest.mark.parametrize(
    "args",
    [
        ["generate", "hi", "-m", "MODEL"],
        ["generate", "hi", "-m", "TINY", "--draft-model", "MODEL"],
        ["score", "a", "b", "-m", "MODEL"],
        ["solve", "hi", "-m", "MODEL"],
        ["branch", "hi", "-m", "MODEL"],
        ["perplexity", "--text", TEXT, "-m", "MODEL"],
        ["evaluate", "MODEL", "MODEL", "--text", TEXT],
        ["evaluate", "TINY", "MODEL", "--text", TEXT],
        ["evaluate", "MODEL", "TINY", "--text", TEXT],
        ["bench", "MODEL", "-n", 2],
        ["bench", "--compare", "TINY", "MODEL", "-n", 2],
        ["quantize", "MODEL", "OUT", "--text", TEXT],
        ["quantize", "MODEL", "OUT", "--recipe", "auto"],
        ["quantize", "MODEL", "OUT", "--recipe", "int4-mixed"],
        ["quantize", "MODEL", "OUT", "--kv-cache", "int8"],
    ],
    ids=lambda args: " ".join(str(arg) for arg in args if arg != TEXT),
)
def test_what_needs_a_language_model_is_one_line(
    args: list[object],
    classifier: ModelDir,
    tiny_model: ModelDir,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if "--kv-cache" in args:
        request.getfixturevalue("int8_cache")
    places = {"MODEL": classifier.path, "TINY": tiny_model.path, "OUT": tmp_path / "out"}
    line = error(*[places.get(str(arg), arg) for arg in args])
    assert str(classifier.path) in line
    assert list(tmp_path.iterdir()) == []


def test_what_needs_none_is_done(classifier: ModelDir, tmp_path: Path) -> None:
    assert "hi" in output("tokenize", "hi", "-m", classifier.path)
    assert output_json("inspect", classifier.path)["task"] == classifier.manifest.task
    assert invoke("quantize", classifier.path, tmp_path / "out").exit_code == 0
    report = output_json("bench", classifier.path, "-p", 8, "-r", 1)
    assert [test["test"] for test in report["models"][0]["tests"]] == ["pp8"]
