"""README's Python runs as it stands, and its commands exist."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from gpt2edge import ModelDir
from gpt2edge.cli.names import COMMANDS
from gpt2edge.native.library import library
from gpt2edge.runtime.ort.session import runtime_facts
from tests.cli.running import output
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_examples_run(
    tiny_model: ModelDir,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gpt2edge.runtime.engine.BUNDLED_MODEL", tiny_model.path)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_checkpoint, tmp_path / "checkpoints" / "gpt2")
    examples = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})
    assert "models/gpt2-int8" in capsys.readouterr().out


def test_the_demo_is_a_real_run() -> None:
    """To the last letter where our kernels run, whose sums are the same on every processor.

    onnxruntime's own round differently, and a draw far into the text with them.
    """
    (shown,) = re.findall(r"<!-- begin demo -->\n```console\n(.*?)```", README, re.DOTALL)
    command, text = shown.split("\n", 1)
    assert command.startswith("$ gpt2edge ")
    *options, prompt = shlex.split(command)[2:]
    written = output(*options, prompt)
    assert written.startswith(prompt)
    version = tuple(map(int, runtime_facts()["onnxruntime"].split(".")[:2]))
    if version >= (1, 31) and library() is not None:
        assert written == text


def test_commands_are_those_that_exist() -> None:
    used = set(re.findall(r"^\$ gpt2edge (\w+)", README, re.MULTILINE))
    listed = set(
        re.findall(r"`(\w+)`", README[README.index("| Command") : README.index("`--help` shows")])
    )
    assert used <= set(COMMANDS)
    assert listed == set(COMMANDS)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.replace("\n", " ")):
        if "://" not in target:
            assert (ROOT / target.replace(" ", "")).exists(), target
