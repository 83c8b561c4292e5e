"""tasks/README.md: its task runs as it stands, and a model's lines go through its checker."""

import re
from typing import Any

import pytest

from gpt2edge import Engine
from gpt2edge.runtime.search import SearchSession
from gpt2edge.runtime.search.trees.line_beam import ScoredLine
from tests.conftest import ROOT

PAGE = (ROOT / "tasks" / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    names = _run()
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1][-11:] for line in printed] == ["1.0 decided"] * 2
    for line in printed:
        number, *moves = line.split(" 1.0")[0].rstrip("|").split("|")
        at = names["start"]
        for move in moves:
            at = names["after"](at, move)
        assert at == int(number) == names["goal"]
    asked: list[str] = []

    def written(prompts: list[str], _: SearchSession) -> list[list[ScoredLine]]:
        asked.extend(prompts)
        texts = (("* 3\n", 0.3), ("+ 7\n", 0.1), ("+ 8\n", 0.5), ("plus 7\n", 0.1))
        return [[ScoredLine(text, probability) for text, probability in texts] for _ in prompts]

    task = names["WrittenReach"](2, 6, moves=written)
    (thoughts,) = task.propose([task.root], SearchSession(engine))
    assert asked == ["From 2 to 6: "]
    assert [(thought.state, thought.text) for thought in thoughts] == [
        ("6|* 3|", "* 3"),
        ("9|+ 7|", "+ 7"),
    ]
    assert [thought.prior for thought in thoughts] == pytest.approx([0.75, 0.25])
    assert task.is_terminal("6|* 3|")


def _run() -> dict[str, Any]:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(example, "tasks/README.md", "exec"), names)
    return names
