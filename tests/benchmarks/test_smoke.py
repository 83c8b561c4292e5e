"""The benchmarks run, on a model of two layers; their figures are nobody's business here."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gpt2edge.native.library import library
from tests.conftest import ROOT

pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("safetensors", reason="needs the export extra")

pytestmark = pytest.mark.slow


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder whose "124M" checkpoint is a tiny one."""
    shape = ["--layers", "2", "--heads", "2", "--width", "32", "--positions", "64", "--vocab", "97"]
    run("common.checkpoint", str(tmp_path / "checkpoint-124M"), *shape)
    return tmp_path


def test_latency_rows(work: Path) -> None:
    options = ["--work", str(work), "--peers", "--starts", "2", "--repeats", "1", "--json"]
    tests = ["--tests", "pp16", "tg4@d8", "tg4@d8/b3", "tg4@d8/n3"]
    output = run("speed.latency", *options, *tests)
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["test"] for row in rows] == tests[1:]
    for row in rows:
        assert len(row["samples_ns"]) == 2
        assert row["p50_ts"] >= row["p95_ts"] > 0
        assert row["same_tokens"] or row["samples"]
        assert row["machine"]["cpu"]


def test_overhead_and_export_tables(work: Path) -> None:
    out = str(work / "fp32-124M")
    run("speed.export_cost", "--work", str(work), "--repeats", "1")
    table = run("speed.overhead", out, "--work", str(work), "--new", "4", "--repeats", "1")
    assert "Decoder.decode" in table


def test_a_profile_adds_up(work: Path) -> None:
    options = ["--work", str(work), "--recipes", "int8", "int4-decode", "--tests", "tg4@d8/b2"]
    table = run("speed.profile_step", *options)
    rows = [json.loads(line) for line in (work / "profile.jsonl").read_text().splitlines()]
    for label in ("gpt2edge int8", "gpt2edge int4-decode"):
        own = {row["part"]: row for row in rows if row["label"] == label}
        step = own.pop("step")
        assert step["bytes"] == sum(row.get("bytes", 0) for row in own.values())
        itemsize = 4 if library() is None else 2  # float16 by default in our kernels' cache
        assert own["attention"]["bytes"] == 2 * (8 + 2) * 2 * 2 * 32 * itemsize
        assert label in table


def test_products_of_each_kind_are_timed() -> None:
    output = run("speed.products", "--rows", "3", "--seconds", "0.01", "--json")
    rows = [json.loads(line) for line in output.splitlines()]
    kernels = library()
    assert len({row["kind"] for row in rows}) == len(rows) == (5 if kernels is None else 10)
    for row in rows:
        assert row["macs_per_s"] * row["seconds"] == pytest.approx(3 * 24 * 768 * 3072)


def test_many_samples_are_compared(work: Path) -> None:
    options = ["--work", str(work), "--samples", "3", "--prompt", "8", "--new", "4", "--json"]
    options += ["--recipes", "int8", "--repeats", "1"]
    output = run("speed.many_samples", *options)
    (row,) = [json.loads(line) for line in output.splitlines()]
    assert row["ratio"] == pytest.approx(row["together_s"] / row["apart_s"])
    assert row["together_s"] > 0


def test_quality_asks_for_minimal_pairs(tmp_path: Path) -> None:
    pairs = [("The king was old.", "King the old was."), ("She saw him.", "She saw he.")]
    lines = [json.dumps({"sentence_good": good, "sentence_bad": bad}) for good, bad in pairs]
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        archive.writestr("data/order.jsonl", "\n".join(lines))
    (tmp_path / "text.txt").write_text("Once upon a time there was a king. " * 8)
    options = ["--text", str(tmp_path / "text.txt"), "--blimp", str(tmp_path / "pairs.zip")]
    storyteller = str(ROOT / "training" / "models" / "storyteller")
    found = run("quality.measure", storyteller, *options, "--recipes", "int8")
    assert re.search(r"storyteller plain gpt2edge int8: .* blimp 1, .*blimp_change 0\b", found)


@pytest.mark.usefixtures("int8_cache")
def test_quality_counts_a_solvers_answers() -> None:
    """And the twin, of the same function, is judged by the plain model."""
    solver = str(ROOT / "training" / "models" / "game24-0.1m")
    options = ["--problems", "8", "--recipes", "int8+int8-cache", "--twin"]
    lines = run("quality.measure", solver, *options).splitlines()
    assert [line.split()[1] for line in lines] == ["plain", "twin"]
    for line in lines:
        figures = dict(re.findall(r"(\w+) ([-\d.e]+)", line))
        assert float(figures["kl"]) < 0.01
        assert 0 <= float(figures["solved_fp32"]) <= 1
        assert abs(float(figures["solved_change"])) <= 0.25
