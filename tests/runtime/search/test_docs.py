"""docs/search.md: its example runs, and it names what exists."""

import re

import pytest

from gpt2edge import ModelDir
from gpt2edge.runtime import search
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")


def test_the_example_runs(
    tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpt2edge.runtime.engine.BUNDLED_MODEL", tiny_model.path)
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(compile(example, "search.md", "exec"), {})
    assert "prefilled_tokens=" in capsys.readouterr().out


def test_what_it_names_exists() -> None:
    named = set(re.findall(r"`([A-Z]\w+)(?:\(|`)", PAGE))
    assert named <= set(search.__all__)
    assert {"MajorityVote", "BestOfN", "StepBeam", "TreeOfThoughts", "MCTS"} <= named
