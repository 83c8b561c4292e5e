"""The benchmarks run, on a model of two layers; their figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the export extra")
pytest.importorskip("safetensors", reason="needs the export extra")

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=BENCHMARKS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work folder whose "124M" checkpoint is a tiny one."""
    shape = ["--layers", "2", "--heads", "2", "--width", "32", "--positions", "64", "--vocab", "97"]
    run(str(BENCHMARKS / "checkpoint.py"), str(tmp_path / "checkpoint-124M"), *shape)
    return tmp_path


def test_latency_rows(work: Path) -> None:
    options = ["--work", str(work), "--peers", "--starts", "2", "--repeats", "1", "--json"]
    tests = ["--tests", "pp16", "tg4@d8", "tg4@d8/b3", "tg4@d8/n3"]
    output = run(str(BENCHMARKS / "latency.py"), *options, *tests)
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["test"] for row in rows] == tests[1:]
    for row in rows:
        assert len(row["samples_ns"]) == 2
        assert row["p50_ts"] >= row["p95_ts"] > 0
        assert row["same_tokens"] or row["samples"]
        assert row["machine"]["cpu"]


def test_overhead_and_export_tables(work: Path) -> None:
    out = str(work / "fp32-124M")
    run(str(BENCHMARKS / "export_cost.py"), "--work", str(work), "--repeats", "1")
    table = run(
        str(BENCHMARKS / "overhead.py"), out, "--work", str(work), "--new", "4", "--repeats", "1"
    )
    assert "Decoder.decode" in table


def test_many_samples_are_compared(work: Path) -> None:
    options = ["--work", str(work), "--samples", "3", "--prompt", "8", "--new", "4", "--json"]
    output = run(str(BENCHMARKS / "many_samples.py"), *options, "--repeats", "1")
    (row,) = [json.loads(line) for line in output.splitlines()]
    assert row["ratio"] == pytest.approx(row["together_s"] / row["apart_s"])
    assert row["together_s"] > 0
