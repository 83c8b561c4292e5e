"""Harvest: once each, and on from where it was."""

import json
from pathlib import Path

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.errors import FileFormatError
from gpt2edge.runtime.search import Budget, MajorityVote, SolutionFile

WARM = SamplingParams(temperature=0.9, top_k=40, seed=11)


def test_each_solution_once_over_runs(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "solutions.jsonl"
    result = MajorityVote(n=6).run(engine, "he", max_new_tokens=9, sampling=WARM)
    harvest = SolutionFile(path)
    assert harvest.add(result.candidates[:4]) == 4
    assert harvest.add(result.candidates[:4]) == 0
    with path.open("a") as file:
        file.write('{"prompt": "he", "compl')  # broken off
    again = SolutionFile(path)
    assert (len(again), again.prompts) == (4, {"he"})
    assert again.add(result.candidates) == 2
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert [row["completion"] for row in rows] == [c.text for c in result.candidates]
    assert set(rows[0]) == {"prompt", "completion", "answer", "score"}


def test_what_was_cut_off_is_no_solution(engine: Engine, tmp_path: Path) -> None:
    budget = Budget(tokens=8)
    result = MajorityVote(n=4).run(engine, "he", max_new_tokens=9, sampling=WARM, budget=budget)
    harvest = SolutionFile(tmp_path / "none.jsonl")
    assert harvest.add(result.candidates) == 0
    assert not harvest.path.exists()


@pytest.mark.parametrize("text", ["hello\n", "[1]\n", '{"prompt": "x"}\n'])
def test_another_kind_of_file_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(FileFormatError, match="line 1: not a harvested solution"):
        SolutionFile(path)
    assert path.read_text() == text
