"""What is published: rows of committed code, under tables that say so where it was not."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common import fingerprint, plan, systems
from benchmarks.common import report as tables
from benchmarks.common.result_files import read_rows
from benchmarks.quality import fidelity
from benchmarks.quality import peers as peer_quality
from benchmarks.speed import first_page, overhead, startup
from tests.conftest import ROOT

BENCHMARKS = ROOT / "benchmarks"
AWAITED = {
    *("export", "many_samples", "overhead", "profile", "quantize", "search", "search_game24"),
    *("shortcuts", "startup"),
}
"""Tables from before uncommitted code was refused. Strike out what was measured again."""


def commits(path: Path) -> set[str]:
    return {json.loads(line)["git_commit"] for line in path.read_text().splitlines()}


def test_rows_are_of_committed_code() -> None:
    results = {path.stem: commits(path) for path in (BENCHMARKS / "results").glob("*.jsonl")}
    assert results
    dirty = {name for name, own in results.items() if any(map(is_dirty, own))}
    assert dirty == AWAITED


def is_dirty(commit: str | None) -> bool:
    return commit is None or commit.endswith("-dirty")


def test_tables_say_what_awaits_a_run() -> None:
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- begin (\S+) -->\n(.*?)<!-- end \1 -->", text, re.DOTALL)
    assert len(blocks) > 10
    for name, table in blocks:
        assert table.startswith("**Awaiting a run from a commit.**") == ("-dirty" in table), name
        assert ("-dirty" in table) == (name in AWAITED), name


PAGES = (ROOT / "README.md", *sorted((ROOT / "docs" / "benchmarks").glob("*.md")))


def test_no_page_shows_such_a_figure_without_a_word() -> None:
    measured = [
        paragraph
        for page in PAGES
        for block in re.findall(
            r"<!-- begin measured -->\n(.*?)<!-- end measured -->",
            page.read_text(encoding="utf-8"),
            re.DOTALL,
        )
        for paragraph in block.split("\n\n")
    ]
    named = {
        (script, paragraph)
        for paragraph in measured
        for script in re.findall(r"-m benchmarks\.(?:\w+\.)?(\w+)", paragraph)
    }
    assert {script for script, _ in named} >= {"measure", "startup"}
    for script, paragraph in named:
        assert ("awaiting a run" in paragraph) == (script in AWAITED), script


def test_the_first_page_has_the_rows() -> None:
    rows = read_rows(BENCHMARKS / "results" / "latency.jsonl")
    assert not any(is_dirty(row["git_commit"]) for row in rows)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert first_page.BEGIN + first_page.table(rows) + first_page.END in text
    assert first_page.CHART.read_text(encoding="utf-8") == first_page.chart(rows)


def test_the_fastest_are_compared_by_bits() -> None:
    def row(system: str, variant: str, speed: float) -> dict[str, Any]:
        increase = {"value": 0.005, "standard_error": 0.001}
        facts = {"system": system, "variant": variant, "label": f"{system} {variant}"}
        return {**facts, "p50_ts": speed, "perplexity_increase": increase}

    rows = [
        row("gpt2edge", "fp32", 60),
        row("gpt2edge", "int8", 2000),
        row("gpt2edge", "int4", 300),
        row("llama.cpp", "F32", 50),
        row("llama.cpp", "Q8_0", 800),
        row("llama.cpp", "Q4_0", 400),
    ]
    tests = ("pp512", "tg64@d32", "tg64@d944", "tg64@d32/b8", "tg64@d200/n16")
    table = first_page.table([{**row, "test": test} for test in tests for row in rows])
    found = [entry.split(" | ") for entry in table.splitlines()]
    assert found[2][1:] == ["2,000 (int8, +0.50%)", "800 (llama.cpp Q8_0, +0.50%)", "2.50 |"]
    assert found[3][1:] == ["300 (int4, +0.50%)", "400 (llama.cpp Q4_0, +0.50%)", "0.75 |"]
    assert found[6][1:] == ["60 (fp32)", "50 (llama.cpp F32)", "1.20 |"]


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``report.py``, writing into a folder of the test's."""
    module = tables
    (tmp_path / "README.md").write_text("<!-- begin some -->\nold\n<!-- end some -->\n")
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module, "README", tmp_path / "README.md")
    return module


@pytest.mark.parametrize("commit", ["0123456789ab-dirty", None])
def test_rows_of_other_code_are_refused(report: Any, tmp_path: Path, commit: str | None) -> None:
    rows = [{"git_commit": "0123456789ab"}, {"git_commit": commit}]
    with pytest.raises(SystemExit, match="are not published: nobody else could run that code"):
        report.publish("some", rows, lambda _: "new")
    assert not (tmp_path / "results").exists()
    assert "old" in (tmp_path / "README.md").read_text()


def test_rows_of_a_commit_are_published(report: Any, tmp_path: Path) -> None:
    report.publish("some", [{"git_commit": "0123456789ab"}], lambda _: "new")
    assert (tmp_path / "results" / "some.jsonl").read_text().count("\n") == 1
    assert (tmp_path / "README.md").read_text() == "<!-- begin some -->\nnew\n<!-- end some -->\n"


def test_what_is_code_and_what_is_not(tmp_path: Path) -> None:
    """Rows and documents may differ from the commit, code may not."""

    def commit(folder: Path) -> str:
        return str(fingerprint.git_commit(folder))

    run = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path))
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*run, *arguments], check=True)
    clean = commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", clean)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for name in ("README.md", "benchmarks/results/some.jsonl", "held_out.txt"):
        (tmp_path / name).touch()
    assert commit(tmp_path) == clean
    (tmp_path / "new.py").touch()
    assert commit(tmp_path) == f"{clean}-dirty"
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-q", "-m", "second"], check=True)
    clean = commit(tmp_path)
    assert not clean.endswith("-dirty")
    (tmp_path / "README.md").write_text("figures")
    (tmp_path / "benchmarks/results/some.jsonl").write_text("{}")
    assert commit(tmp_path) == clean
    (tmp_path / "new.py").write_text("1")
    assert commit(tmp_path) == f"{clean}-dirty"
    assert fingerprint.git_commit(tmp_path / "absent") is None


def test_publishing_is_refused_before_the_measuring(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    fingerprint.add_publish(parser)
    monkeypatch.setattr(fingerprint, "git_commit", lambda: "0123456789ab-dirty")
    assert parser.parse_args([]).publish is False
    with pytest.raises(SystemExit):
        parser.parse_args(["--publish"])
    assert "Commit it first" in capsys.readouterr().err
    monkeypatch.setattr(fingerprint, "git_commit", lambda: "0123456789ab")
    assert parser.parse_args(["--publish"]).publish is True


def start(label: str, seconds: float) -> dict[str, Any]:
    system, variant, *_ = label.removesuffix(", command").split()
    return {"label": label, "system": system, "variant": variant, "p50_s": seconds}


def test_starts_are_compared_like_with_like() -> None:
    """The quickest command is no match for a Python program, of whichever side."""
    rows = [
        start("gpt2edge int4, command", 0.1),
        start("gpt2edge int4", 0.3),
        start("gpt2edge int8", 0.5),
        start("llama.cpp Q4_0", 0.4),
        start("llama.cpp Q8_0", 0.25),
    ]
    table = tables.startup_ratios
    _, command, program = (line.split(" | ") for line in table(rows).splitlines()[-3:])
    assert set(command[1:]) == {"-", "- |"}
    assert program[1:] == [
        "-",
        "**2.00 x** int8 / llama.cpp Q8_0",
        "**0.75 x** int4 / llama.cpp Q4_0",
        "**1.20 x** int4 / llama.cpp Q8_0 |",
    ]
    rows.append(start("llama.cpp Q4_0, command", 0.2))
    *_, command, _ = (line.split(" | ") for line in table(rows).splitlines())
    assert command[3] == "**0.50 x** int4 / llama.cpp Q4_0"


def test_commands_are_timed_to_their_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([10.0, 12.5])
    monkeypatch.setattr(startup, "perf_counter", lambda: next(looks))
    assert startup.cold_command([sys.executable, "-c", "print('abc')"]) == 2.5
    monkeypatch.undo()
    for faulty in ("pass", "print('a'); exit(3)"):
        with pytest.raises(SystemExit, match="failed"):
            startup.cold_command([sys.executable, "-c", faulty])


def test_llama_cpps_command_reads_a_file_with_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[list[str]] = []
    monkeypatch.setattr(
        "benchmarks.speed.startup.subprocess.run", lambda command, **_: prepared.append(command)
    )
    python = tmp_path / "llamacpp" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    llama = systems.peer_system("llamacpp:q4_0", tmp_path, tmp_path, threads=2)
    ours = systems.engine_system(tmp_path, threads=2)
    args = argparse.Namespace(threads=2, llama_cli="llama-cli")
    commands = startup.commands_of([ours, llama], args, 50257)
    (own,) = prepared
    assert own[-2:] == ["--prepare", "--words"]
    command = commands[tuple(llama.command)]
    assert command[:3] == ["llama-cli", "-m", str(tmp_path / "model-q4_0-words.gguf")]
    assert len(command[command.index("-p") + 1]) == 32
    prompt = commands[tuple(ours.command)]
    assert len(prompt[prompt.index("--token-ids") + 1].split()) == 32
    args.llama_cli = None
    assert list(startup.commands_of([ours, llama], args, 50257)) == [tuple(ours.command)]


def test_a_row_of_starts_by_hand() -> None:
    facts = {"label": "some", "system": "some", "variant": "fp32", "peak": 1, "load_s": 1}
    row = startup._row(facts, [3.0, 1.0, 2.0, 9.0, 8.0], [30, 10, 20])
    assert (row["p50_s"], row["p95_s"], row["peak_rss_bytes"]) == (3, 9, 20)
    assert row["samples_s"] == [3, 1, 2, 9, 8]


def test_a_step_is_split_by_hand() -> None:
    """Steps of 10, 20 and 30 us, of which 8, 15 and 29 are onnxruntime's."""
    row = overhead._split([(10e-6, 8e-6), (20e-6, 15e-6), (30e-6, 29e-6)])
    assert row["steps"] == 3
    figures = [row[name] for name in ("step_us", "run_us", "python_us", "python_share")]
    assert figures == pytest.approx([20, 15, 2, 0.1])


def logits_of(seed: int, vocab: int = 50) -> Any:
    """Logits that depend on the token and the model."""
    table = np.random.default_rng(seed).normal(0, 2, (vocab, vocab)).astype(np.float32)
    return lambda token_ids: table[list(token_ids)]


def test_fidelity_against_float64() -> None:
    """Two windows of made-up logits: perplexities, paired increase, KL, agreement, errors."""
    a, b = logits_of(1), logits_of(2)
    ids = np.random.default_rng(3).integers(0, 50, 75).tolist()
    found = fidelity.Reference(a, fidelity.windows(ids, 50)).compare(b)
    places = [place for place in range(74) if place != 49]  # a window's first follows nothing
    inputs, targets = [ids[place] for place in places], [ids[place + 1] for place in places]
    p, q = (logits(inputs).astype(np.float64) for logits in (a, b))
    p, q = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in (p, q))
    nll_a, nll_b = (-x[np.arange(73), targets] for x in (p, q))
    kl, same = (np.exp(p) * (p - q)).sum(axis=1), p.argmax(axis=1) == q.argmax(axis=1)

    def error(values: Any) -> float:
        return float(values.std(ddof=1) / 73**0.5)

    ratio = np.exp((nll_b - nll_a).mean())
    assert found == pytest.approx(
        {
            "tokens": 73,
            "perplexity_fp32": np.exp(nll_a.mean()),
            "perplexity": np.exp(nll_b.mean()),
            "perplexity_se": np.exp(nll_b.mean()) * error(nll_b),
            "increase": ratio - 1,
            "increase_se": ratio * error(nll_b - nll_a),
            "kl": kl.mean(),
            "kl_se": error(kl),
            "top1": same.mean(),
        },
        rel=1e-4,
    )


def test_a_peers_loss_by_hand() -> None:
    reference = {"losses": [1.0, 2.0, 3.0], "greedy": [[1, 2], [3, 4]]}
    own = {"losses": [1.1, 2.3, 3.2], "greedy": [[1, 9], [3, 4]], "label": "some", "facts": {}}
    row = peer_quality.row(own, reference)
    assert row["perplexity"] == pytest.approx(np.exp(2.2))
    assert row["perplexity_increase"]["value"] == pytest.approx(np.exp(0.2) - 1)
    error = np.exp(0.2) * 0.1 / 3**0.5
    assert row["perplexity_increase"]["standard_error"] == pytest.approx(error)
    assert (row["tokens"], row["greedy_same"]) == (3, 0.75)


@pytest.mark.parametrize(
    ("name", "tokens", "speeds"),
    [
        ("pp512", 512, (512, 256)),  # seconds of the prompt: 1, 1, 2
        ("tg64@d32", 64, (32, 16)),  # of the steps: 2, 2, 4
        ("tg64@d32/b8", 512, (256, 128)),
        ("tg64@d200/n16", 1024, (1024 / 3, 1024 / 6)),  # of both
    ],
)
def test_speeds_by_hand(name: str, tokens: int, speeds: tuple[float, float]) -> None:
    answers = [
        {"prefill_s": prefill, "decode_s": 2 * prefill, "steps_s": [], "peak_rss_bytes": 7}
        for prefill in (1.0, 2.0, 1.0)
    ]
    test = plan.Test.of(name)
    assert test.tokens == tokens
    figures = plan.summary(test, answers)
    assert (figures["p50_ts"], figures["p95_ts"]) == pytest.approx(speeds)
    assert figures["peak_rss_bytes"] == 7


def test_a_test_of_peers_is_what_its_name_says() -> None:
    test = plan.Test.of("tg64@d200/n16")
    assert (test.label, test.n_gen, test.n_depth, test.samples) == ("tg64@d200/n16", 64, 200, 16)
    assert plan.Test.of("tg8").n_depth == 1  # a decode starts from one token at least
    assert len(plan.Test.of("tg8@d3/b2").request(100)["prompts"]) == 2
    for wrong in ("pp512@d3", "pp512/n4", "tg8/b2/n4", "tg8/n0", "tg8/n", "tg"):
        with pytest.raises(ValueError, match="test is"):
            plan.Test.of(wrong)
