"""The examples do what they say, as programs of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gpt2edge
from gpt2edge import GREEDY
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def run(name: str, *args: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, args)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_autocomplete_takes_the_suggestion_of_a_number() -> None:
    first = run("autocomplete.py", stdin="Once upon a\n\n")
    assert (first.returncode, first.stdout.splitlines()[-1]) == (0, "> > Once upon a")
    offered = [line.split("...", 1)[1] for line in first.stderr.splitlines() if "..." in line]
    assert len(offered) == 3
    assert offered[0].startswith(" time")
    second = run("autocomplete.py", stdin="Once upon a\n2\nand\n")
    assert second.stdout == f"> > > > Once upon a{offered[1]} and\n"


def test_storybook_serves_all_its_readers() -> None:
    done = run("storybook.py", "The wolf", "The king")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The wolf")
    assert "\n\nThe king" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("The wolf")
    assert last.endswith(" ...")
    assert len(last) < 60


def test_batch_keeps_the_order_and_names_the_lines_it_could_not_use(tmp_path: Path) -> None:
    prompts = [f"The {word} went" for word in ["king", "queen", "fox", "wolf"] * 5]
    lines = [json.dumps({"prompt": prompt, "id": at}) for at, prompt in enumerate(prompts)]
    lines[3:3] = ["{", '{"id": 7}', json.dumps({"prompt": "word " * 900})]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(lines), encoding="utf-8")
    done = run("batch.py", source, target)
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["line 4", "line 5"]
    records = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [record["id"] for record in records if "id" in record] == list(range(20))
    assert [record["truncated"] for record in records].count(True) == 1
    engine = gpt2edge.load()
    expected = engine.generate(prompts[-1], max_new_tokens=24, sampling=GREEDY)
    assert (records[-1]["text"], records[-1]["finish_reason"]) == (
        expected.text,
        expected.finish_reason,
    )
    assert not target.with_name("out.jsonl.partial").exists()


def test_think_longer_shows_every_kind_of_search() -> None:
    done = run("think_longer.py")
    assert (done.returncode, done.stderr) == (0, "")
    for begin in ("vote: ", "best of 16: ", "beam: ", "adaptive: ", "TreeOfThoughts: ", "MCTS: "):
        assert any(line.startswith(begin) for line in done.stdout.splitlines()), begin
    assert done.stdout.splitlines()[-1] == "30 tokens written, 8 read"
