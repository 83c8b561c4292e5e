"""``gpt2edge solve``: methods, verifiers, problems, budgets, trees."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, ModelDir, SamplingParams
from gpt2edge.cli.commands.solve import _lines
from gpt2edge.cli.options import search
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.search import Allocation, Cost, MajorityVote, Policy, Tree
from gpt2edge.runtime.search.methods import METHODS, TREES, UNVERIFIED, Outcome
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.text import render_text
from tests.checkpoints import SMALL, write_checkpoint
from tests.cli.running import error, invoke, output, output_json
from tests.runtime.models import write_tokenizer

LENGTH = ["-n", 12, "--seed", 3, "--step", " "]


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python file of verifiers."""
    path = tmp_path_factory.mktemp("checks") / "checks.py"
    path.write_text(
        "def score(prompt, completion):\n    return len(set(completion)) / 200\n"
        "def broken(prompt, completion):\n    return float('nan')\n"
    )
    return path


@pytest.fixture(scope="module")
def value_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a scalar head."""
    folder = tmp_path_factory.mktemp("value")
    keys = {
        **SMALL,
        "vocab_size": 260,
        "n_positions": 256,
        "architectures": ["GPT2ForTokenClassification"],
        "id2label": {"0": "value"},
    }
    write_checkpoint(folder / "hf", keys, seed=2)
    write_tokenizer(folder / "hf" / "tokenizer.json")
    return export_checkpoint(folder / "hf", folder / "onnx").path


def test_greedy_is_greedy(tiny_model: ModelDir) -> None:
    text = output("solve", "-m", tiny_model.path, "--method", "greedy", "-n", 12, "hello")
    assert text == Engine(tiny_model.path).generate("hello", max_new_tokens=12).text + "\n"


def test_it_says_when_no_candidate_has_an_answer(tiny_model: ModelDir, checks: Path) -> None:
    args = ["solve", "-m", tiny_model.path, "--samples", 3, "-n", 3, "--seed", 1, "hello"]
    banned = [str(digit) for digit in range(10)]
    silent = [*args, *(word for digit in banned for word in ("--bad-word", digit))]
    result = invoke(*silent)
    assert "no vote was possible: of 3 candidates, none has an answer" in result.stderr
    assert result.stdout
    assert invoke(*silent, "--json").stderr == result.stderr
    judged = ["--method", "best-of-n", "--verifier", f"{checks}:score"]
    assert invoke(*silent, *judged).stderr == ""
    assert "no vote" in invoke(*silent, *judged, "--choose", "weighted").stderr
    assert invoke(*silent, "--method", "greedy").stderr == ""
    forced = [*args, "-l", f"{Engine(tiny_model.path).encode('7')[0]}+100"]
    assert invoke(*forced).stderr == ""


def test_the_majority_is_the_librarys(tiny_model: ModelDir) -> None:
    args = ["solve", "-m", tiny_model.path, "--samples", 5, *LENGTH, "--temperature", 0.9, "hello"]
    report = output_json(*args)
    sampling = SamplingParams(temperature=0.9, seed=3)
    engine = Engine(tiny_model.path)
    result = MajorityVote(n=5).run(engine, "hello", sampling=sampling, max_new_tokens=12)
    assert report["text"] == result.best.text
    assert len(report["candidates"]) == 5
    assert [c["token_ids"] for c in report["candidates"]] == [
        list(c.completion.token_ids) for c in result.candidates
    ]
    assert report["cost"]["generated_tokens"] == result.cost.generated_tokens
    assert report["stopped"] in ("done", "decided")
    assert set(report) == {
        *("prompt", "text", "answer", "score", "candidates", "stopped", "cost"),
    }
    assert invoke(*args).stdout == result.best.text + "\n"


@pytest.mark.parametrize("method", ["best-of-n", "beam", "dvts", "adaptive", "tot", "mcts"])
def test_every_method_under_a_function(tiny_model: ModelDir, checks: Path, method: str) -> None:
    args = [
        "--method",
        method,
        "--verifier",
        f"{checks}:score",
        "--samples",
        4,
        "--width",
        2,
        *LENGTH,
    ]
    report = output_json("solve", "-m", tiny_model.path, *args, "hello")
    assert report["score"] == pytest.approx(len(set(report["text"])) / 200)
    assert report["cost"]["verifier_calls"] > 0
    assert report["stopped"] == "done"
    assert report == {
        **output_json("solve", "-m", tiny_model.path, *args, "hello"),
        "cost": report["cost"],
    }


def test_a_policy_says_how_much(tiny_model: ModelDir, checks: Path, tmp_path: Path) -> None:
    policy = Policy(arms=(Allocation(method="best-of-n", n=7, choose="best"),), probe=2)
    policy.save(tmp_path / "policy.json")
    args = ["solve", "-m", tiny_model.path, "--method", "adaptive", *LENGTH, "hello"]
    own = ["--policy", tmp_path / "policy.json", "--verifier", f"{checks}:score"]
    assert len(output_json(*args, *own)["candidates"]) == 7
    report = output_json(*args, "--samples", 6, "--temperature", 1.5)
    assert [c["score"] for c in report["candidates"]] == [None] * 6


@pytest.mark.parametrize("spec", ["likelihood", "yes", "model"])
@pytest.mark.parametrize("method", ["best-of-n", "beam"])
def test_models_as_verifiers(
    tiny_model: ModelDir, value_model: Path, spec: str, method: str
) -> None:
    verifier = value_model if spec == "model" else spec
    args = ["--method", method, "--verifier", verifier, "--samples", 4, "--width", 2, *LENGTH]
    report = output_json("solve", "-m", tiny_model.path, *args, "hello")
    assert 0 < report["score"] <= 1
    scores = [c["score"] for c in report["candidates"] if c["score"] is not None]
    assert report["score"] == max(scores)


def test_problems_are_counted(tiny_model: ModelDir, tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    prompts = ["one", "two", "three"]
    args = ["solve", "-m", tiny_model.path, "--samples", 3, *LENGTH, "--problems", path]
    path.write_text("\n".join(json.dumps({"prompt": p}) for p in prompts) + "\n\n")
    found = [json.loads(line)["answer"] for line in output(*args, "--json").splitlines()]
    assert len(found) == 3
    answers = [found[0] or "7", "never", "never"]
    rows = [{"prompt": p, "answer": a} for p, a in zip(prompts, answers, strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)))
    result = invoke(*args)
    right = int(found[0] is not None)
    assert f"{right} of 3 right" in result.stderr
    assert len(result.stdout.splitlines()) == 3
    lines = [json.loads(line) for line in output(*args, "--json").splitlines()]
    assert [line["right"] for line in lines] == [bool(right), False, False]
    assert lines[1]["expected"] == "never"


def test_a_tree_is_shown_and_saved(tiny_model: ModelDir, checks: Path, tmp_path: Path) -> None:
    path = tmp_path / "tree.json"
    args = ["--method", "mcts", "--verifier", f"{checks}:score", "--samples", 6, *LENGTH]
    result = invoke(
        *("solve", "-m", tiny_model.path, *args, "--show-tree", "--save", path),
        *("--html", tmp_path / "tree.html", "-v", "hello"),
    )
    assert result.exit_code == 0, result.stderr
    tree = Tree.load(path)
    assert tree.root.visits == 6
    assert render_text(tree) in result.stderr
    page = (tmp_path / "tree.html").read_text(encoding="utf-8")
    assert page.count('<span class="text">') == len(tree.nodes)
    assert 'class="branch best"' in page
    assert "verified" in result.stderr


def test_a_budget_gives_the_best_so_far(tiny_model: ModelDir) -> None:
    args = ["--samples", 4, "-n", 50, "--budget-tokens", 20, "hello"]
    report = output_json("solve", "-m", tiny_model.path, *args)
    assert report["stopped"] == "tokens"
    assert report["cost"]["generated_tokens"] <= 20


def test_ctrl_c_prints_the_best_so_far(
    tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SearchSession._check

    def interrupted(self: SearchSession, *, tokens: int, calls: int) -> None:
        if self.cost.generated_tokens > 8:
            raise KeyboardInterrupt
        original(self, tokens=tokens, calls=calls)

    monkeypatch.setattr(SearchSession, "_check", interrupted)
    result = invoke("solve", "-m", tiny_model.path, "--samples", 4, "-n", 30, "--json", "hello")
    assert result.exit_code == 130
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["stopped"] == "interrupted"
    assert report["candidates"][0]["token_ids"]


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (["--method", "beam"], "needs --verifier", 2),
        (["--verifier", "likelihood"], "uses no verifier", 2),
        (["--policy", "x.json"], "--policy is for --method adaptive", 2),
        (["--method", "adaptive", "--policy", "none.json", "x"], "none.json: No such file", 1),
        (["--show-tree"], "need --method tot or mcts", 2),
        (["--html", "tree.html"], "need --method tot or mcts", 2),
        (["--problems", "-", "extra"], "either PROMPT or --problems", 2),
        (["--temperature", 0, "x"], "would all be the same", 1),
        (["--budget-tokens", 0, "x"], "'--budget-tokens': 0 is not in the range", 2),
        (["--method", "beam", "--samples", 5, "--verifier", "likelihood", "x"], "multiple", 1),
        (["--method", "beam", "--verifier", "none.py:f", "x"], "no Python file at", 1),
        (["--method", "beam", "--verifier", "no/folder", "x"], "no model folder", 1),
    ],
)
def test_mistakes_are_one_line(
    tiny_model: ModelDir, args: list[object], words: str, code: int
) -> None:
    assert words in error("solve", "-m", tiny_model.path, *args, stdin="", code=code)


@pytest.mark.parametrize("line", ["{", "[]", '{"question": 1}', '{"prompt": 5}', ""])
def test_problems_that_are_none(tiny_model: ModelDir, tmp_path: Path, line: str) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(line)
    assert str(path) in error("solve", "-m", tiny_model.path, "--problems", path)


def test_a_broken_verifier_is_one_line(tiny_model: ModelDir, checks: Path) -> None:
    args = ["solve", "-m", tiny_model.path, "--method", "best-of-n", "--verifier"]
    assert "a score must be a number" in error(*args, f"{checks}:broken", *LENGTH, "x")
    assert "has no 'missing'" in error(*args, f"{checks}:missing", "x")
    checks.with_name("bad.py").write_text("1 / 0")
    assert "failed with ZeroDivisionError" in error(*args, f"{checks.with_name('bad.py')}:f", "x")


def test_the_command_offers_the_librarys_methods() -> None:
    assert (search.METHODS, search.TREES, search.UNVERIFIED) == (METHODS, TREES, UNVERIFIED)


def test_cost_by_hand() -> None:
    cost = Cost(
        prefilled_tokens=1,
        generated_tokens=2,
        forward_calls=3,
        verifier_calls=4,
        verifier_tokens=5,
        verifier_forward_calls=6,
        wall_s=7.25,
    )
    outcome = Outcome(
        prompt="", text="", answer="8", score=None, candidates=(), cost=cost, stopped="done"
    )
    assert _lines(outcome) == [
        "answer 8, stopped: done",
        "1 token prefilled, 2 generated in 3 calls; 4 texts verified, 5 tokens read for it in "
        "6 calls; 7.250 s",
    ]
