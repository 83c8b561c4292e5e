"""``gpt2edge inspect`` of what is not exported yet: form, architecture, size, tokenizer."""

from pathlib import Path

import pytest

from gpt2edge.export import export_checkpoint
from tests.checkpoints import SMALL, write_checkpoint
from tests.cli.running import error, output, output_json
from tests.forms.folders import FORMS


def parameters(source: Path, out: Path) -> int:
    """Those that an export says."""
    export_checkpoint(source, out)
    count: int = output_json("inspect", out)["parameters"]
    return count


@pytest.mark.parametrize(
    ("name", "stored_as"),
    [
        ("zip", ["F32"]),
        ("half", ["F16"]),
        ("double", ["F64"]),
        ("llm.c, bfloat16", ["BF16"]),
        ("GGUF, F16", ["F16", "F32"]),
        ("OpenAI", ["F32"]),
        ("nanoGPT", ["F32"]),
        ("LoRA", ["F32"]),
    ],
)
def test_facts_are_those_of_the_export(name: str, stored_as: list[str], tmp_path: Path) -> None:
    case, source = FORMS[name], tmp_path / "source"
    source.mkdir()
    case.write(source, case.random())
    facts = output_json("inspect", source / case.file, *case.options)
    assert facts["form"] == case.form
    assert (facts["architecture"], facts["task"]) == ("gpt2", "text-generation")
    assert facts["config"]["n_head"] == 4
    assert facts["stored_as"] == stored_as
    assert facts["parameters"] == parameters(source / case.file, tmp_path / "out")
    assert facts["bytes"] == 4 * facts["parameters"]
    assert facts["exports"] is True
    assert facts["tokenizer"].startswith("no tokenizer")


def test_it_is_shown_to_people(tiny_checkpoint: Path) -> None:
    shown = output("inspect", tiny_checkpoint)
    assert "Hugging Face safetensors" in shown
    assert "gpt2, text-generation" in shown
    assert "a tokenizer.json" in shown
    assert "yes, to " in shown


def test_a_file_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, SMALL)
    facts = output_json("inspect", tmp_path / "model.safetensors")
    assert facts["path"] == str(tmp_path / "model.safetensors")


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, SMALL)
    (tmp_path / "model.safetensors").unlink()
    assert "a config.json but no weights" in error("inspect", tmp_path)


def test_options_need_a_checkpoint() -> None:
    assert "need the path of one" in error("inspect", "--heads", 4, code=2)
