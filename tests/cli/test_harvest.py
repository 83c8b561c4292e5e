"""``gpt2edge solve --harvest``: right solutions, each once, also over runs that were killed."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import ModelDir
from tests.cli.running import error, invoke, output, start

PROMPTS = [f"he {number}" for number in range(8)]
SEARCH = ["--samples", 4, "-n", 8, "--temperature", 0.9, "--seed", 3]


@pytest.fixture(scope="module")
def problems(tiny_model: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Problems whose answer is one that the model gives, but for the last, which has none."""
    path = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    args = ["solve", "-m", tiny_model.path, *SEARCH, "--step", " ", "--problems", path, "--json"]
    rows = []
    for line in output(*args, "--method", "best-of-n", "--verifier", "likelihood").splitlines():
        found = json.loads(line)
        answers = [c["answer"] for c in found["candidates"] if c["answer"] is not None]
        rows.append({"prompt": found["prompt"], "answer": (answers or ["none"])[0]})
    rows[-1]["answer"] = "never"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(model: ModelDir, problems: Path, out: Path) -> str:
    """The summary."""
    files = ["--problems", problems, "--harvest", out]
    result = invoke("solve", "-m", model.path, *SEARCH, *files)
    assert result.exit_code == 0, result.stderr
    return result.stderr.splitlines()[-1]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_right_solutions_are_written_once(
    tiny_model: ModelDir, problems: Path, tmp_path: Path
) -> None:
    out = tmp_path / "right.jsonl"
    summary = run(tiny_model, problems, out)
    rows = rows_of(out)
    expected = {row["prompt"]: row["answer"] for row in rows_of(problems)}
    assert rows
    assert all(row["answer"] == expected[row["prompt"]] for row in rows)
    solved = {row["prompt"] for row in rows}
    assert len(rows) >= len(solved) >= 2
    assert summary == (
        f"{len(rows)} solutions added to {out}, {len(rows)} in all; "
        f"{8 - len(solved)} of 8 problems have none"
    )
    before = out.read_bytes()
    assert run(tiny_model, problems, out).startswith("0 solutions added")
    assert out.read_bytes() == before


def test_a_run_that_was_killed_goes_on(
    tiny_model: ModelDir, problems: Path, tmp_path: Path
) -> None:
    whole, parted = tmp_path / "whole.jsonl", tmp_path / "parted.jsonl"
    run(tiny_model, problems, whole)
    args = ["solve", "-m", tiny_model.path, *SEARCH, "--problems", problems, "--harvest", parted]
    process = start(args)
    assert process.stdout is not None
    process.stdout.readline()  # the first problem is done
    process.kill()
    process.communicate()
    with parted.open("ab") as file:
        file.write(b'{"prompt": "he 1", "comp')  # what a full disk leaves
    done = run(tiny_model, problems, parted)
    assert "in all" in done
    assert parted.read_bytes() == whole.read_bytes()


def test_a_verifier_accepts(tiny_model: ModelDir, tmp_path: Path) -> None:
    out = tmp_path / "right.jsonl"
    check = tmp_path / "checks.py"
    check.write_text("def score(prompt, text):\n    return sum(text.encode()) % 3\n")
    method = ["--method", "best-of-n", "--verifier", f"{check}:score"]
    args = ["solve", "-m", tiny_model.path, *SEARCH, *method, "--harvest", out, "--accept", 1, "he"]
    candidates = json.loads(output(*args[:-5], "he", "--json"))["candidates"]
    invoke(*args)
    accepted = [c["text"] for c in candidates if c["score"] >= 1]
    assert 0 < len(accepted) < 4
    assert [row["completion"] for row in rows_of(out)] == accepted


def test_no_vote_ends_early(tiny_model: ModelDir, tmp_path: Path) -> None:
    problem = tmp_path / "problem.jsonl"
    args = [
        "solve",
        "-m",
        tiny_model.path,
        *SEARCH[2:],
        "--samples",
        40,
        "--problems",
        problem,
        "--json",
    ]
    problem.write_text(json.dumps({"prompt": "he 0", "answer": "5"}))
    harvested = json.loads(output(*args, "--harvest", tmp_path / "right.jsonl"))
    assert harvested["stopped"] == "done"
    assert all(c["finish_reason"] != "cancelled" for c in harvested["candidates"])


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (["--accept", 1], "--accept needs --harvest and --verifier", 2),
        (["--harvest", "x", "--token-ids"], "--harvest writes texts", 2),
        (
            ["--harvest", "x", "--method", "mcts", "--verifier", "likelihood"],
            "--method mcts has no candidates",
            2,
        ),
        (["--harvest", "x"], "the prompt has no answer to tell right solutions by", 1),
    ],
)
def test_mistakes_are_one_line(
    tiny_model: ModelDir, args: list[object], words: str, code: int
) -> None:
    assert words in error("solve", "-m", tiny_model.path, *args, "1 2", code=code)
    assert not Path("x").exists()
