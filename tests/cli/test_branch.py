"""``gpt2edge branch``: grow, save, load, talk."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, ModelDir, SamplingParams
from gpt2edge.runtime.search import Loom, Tree
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.text import render_text
from tests.cli.running import error, invoke, output, output_json

LENGTH = ["-n", 4, "--temperature", 0.9, "--seed", 3]


@pytest.fixture
def tree_file(tiny_model: ModelDir, tmp_path: Path) -> Path:
    """A tree of two levels, three nodes each."""
    path = tmp_path / "tree.json"
    output(
        "branch", "-m", tiny_model.path, "--samples", 2, "--depth", 2, *LENGTH, "--save", path, "he"
    )
    return path


def test_it_grows_what_the_library_grows(tiny_model: ModelDir, tree_file: Path) -> None:
    sampling = SamplingParams(temperature=0.9, seed=3)
    loom = Loom(Engine(tiny_model.path), "he", tokens=4, sampling=sampling)
    loom.grow(loom.tree.root, n=2, depth=2)
    assert Tree.load(tree_file).as_dict() == loom.tree.as_dict()
    args = ["branch", "-m", tiny_model.path, "--samples", 2, "--depth", 2, *LENGTH, "he"]
    assert output(*args) == render_text(loom.tree) + "\n"
    report = output_json(*args)
    cost = report.pop("cost")
    assert report == json.loads(json.dumps(loom.tree.as_dict()))
    assert cost["generated_tokens"] == loom.cost.generated_tokens
    assert f"{cost['generated_tokens']} new tokens, " in invoke(*args).stderr


def test_a_saved_tree_is_shown_without_a_model(
    tree_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2edge.runtime.engine.Engine", None)
    page = tmp_path / "tree.html"
    shown = output("branch", "--load", tree_file, "--html", page)
    assert shown == render_text(Tree.load(tree_file)) + "\n"
    assert "<h1>he</h1>" in page.read_text(encoding="utf-8")


def test_a_saved_tree_goes_on(tiny_model: ModelDir, tree_file: Path) -> None:
    args = [
        "branch",
        "-m",
        tiny_model.path,
        "--load",
        tree_file,
        "--at",
        3,
        "--samples",
        2,
        *LENGTH,
    ]
    result = invoke(*args, "--save", tree_file)
    assert result.exit_code == 0, result.stderr
    tree = Tree.load(tree_file)
    assert [child.depth for child in tree.children(tree.nodes[3])] == [3, 3]
    assert len(tree.nodes) == 9


def test_a_conversation(tiny_model: ModelDir, tmp_path: Path) -> None:
    path = tmp_path / "tree.json"
    args = ["branch", "-m", tiny_model.path, "-i", "--samples", 2, *LENGTH, "--save", path, "he"]
    result = invoke(*args, stdin="m\n2\n1\nb\n9\nnonsense\ns\nq\n")
    assert result.exit_code == 0, result.stderr
    tree = Tree.load(path)
    assert [len(node.children) for node in tree.nodes[:3]] == [4, 0, 2]
    assert result.stdout == tree.nodes[2].state + "\n"
    assert result.stderr.count("leads nowhere here") == 2
    assert "8 new tokens, 1 read, in 4 calls" in result.stderr
    again = invoke("branch", "-m", tiny_model.path, "-i", "--load", path, "--at", 2, *LENGTH)
    assert again.stdout == result.stdout  # the end of stdin is a goodbye


def test_a_place_to_save_is_asked_for(tiny_model: ModelDir, tmp_path: Path) -> None:
    path, bad = tmp_path / "tree.json", tmp_path / "none" / "tree.json"
    result = invoke(
        "branch", "-m", tiny_model.path, "-i", *LENGTH, "he", stdin=f"s\n{bad}\ns\n{path}\n"
    )
    assert f"{bad}: No such file" in result.stderr
    assert len(Tree.load(path).nodes) == 4


def test_ctrl_c_keeps_what_is_there(
    tiny_model: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SearchSession._check

    def interrupted(self: SearchSession, *, tokens: int, calls: int) -> None:
        if self.cost.generated_tokens > 16:
            raise KeyboardInterrupt
        original(self, tokens=tokens, calls=calls)

    monkeypatch.setattr(SearchSession, "_check", interrupted)
    path = tmp_path / "tree.json"
    args = ["branch", "-m", tiny_model.path, "--depth", 3, *LENGTH, "--save", path, "he"]
    assert invoke(*args).exit_code == 130
    assert len(Tree.load(path).nodes) == 4


def test_on_a_terminal_rich_draws_it(tree_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("gpt2edge.cli.display.tree.is_terminal", lambda _stream: True)
    monkeypatch.setenv("COLUMNS", "200")
    tree = Tree.load(tree_file)
    drawn = output("branch", "--load", tree_file)
    assert drawn != render_text(tree) + "\n"
    assert len(drawn.splitlines()) == len(tree.nodes)
    assert all(f"#{node.id}  p" in drawn for node in tree.nodes[1:])
    monkeypatch.setitem(sys.modules, "rich.tree", None)
    assert output("branch", "--load", tree_file) == render_text(tree) + "\n"


def test_markup_in_a_text_is_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("gpt2edge.cli.display.tree.is_terminal", lambda _stream: True)
    monkeypatch.setenv("COLUMNS", "200")
    Tree("[bold]x[/bold] :smile: \x1b[2J").save(tmp_path / "tree.json")
    drawn = output("branch", "--load", tmp_path / "tree.json")
    assert r"[bold]x[/bold] :smile: \x1b[2J" in drawn


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (["--load", "tree.json", "he"], "either PROMPT or --load", 2),
        (["--at", 5, "he"], "the tree has the nodes 0 to 0", 1),
        (["--temperature", 0, "he"], "would all be the same", 1),
        (["-n", 500, "he"], "--max-new-tokens is 500", 1),
        (["--load", "none.json"], "none.json: No such file", 1),
        ([], "Missing argument 'PROMPT'", 2),
    ],
)
def test_mistakes_are_one_line(
    tiny_model: ModelDir, args: list[Any], words: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not args:
        monkeypatch.setattr("gpt2edge.cli.options.common.is_terminal", lambda _stream: True)
    assert words in error("branch", "-m", tiny_model.path, *args, stdin="", code=code)
