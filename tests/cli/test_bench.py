"""``gpt2edge bench``: tables and rows; tests/runtime checks the measuring itself."""

import csv
import json
import re
from pathlib import Path

import pytest

from gpt2edge import ModelDir
from gpt2edge.cli.display import bench as benching
from gpt2edge.evaluate.speed import BenchmarkTest, Figures, ModelFigures, Sample
from tests.cli.running import error, output, output_json

SHORT = ["-p", "8", "-n", "2", "-r", "2", "-t", "1"]


def test_json_has_every_test(tiny_model: ModelDir) -> None:
    report = output_json("bench", tiny_model.path, *SHORT, "-d", "0,4", "-b", "1,2")
    (model,) = report["models"]
    assert model["model_size"] == tiny_model.nbytes
    assert model["variant"] == model["recipe"] == "fp32"
    assert model["load_s"] > 0
    names = ["pp8", "tg2", "pp8 @ d4", "tg2 @ d4"]
    assert [test["test"] for test in model["tests"]] == names * 2
    assert [test["batch"] for test in model["tests"]] == [1] * 4 + [2] * 4
    for test in model["tests"]:
        assert len(test["samples_ns"]) == 2
        assert test["p50_ts"] >= test["p95_ts"] > 0
        assert test["ttft_p95_ms"] >= test["ttft_p50_ms"] > 0
        assert (test["tpot_p50_ms"] is None) == (test["n_gen"] == 0)
    assert report["ratios"] == []
    assert report["n_threads"] == 1
    assert report["cpu"]["model"]


def test_jsonl_is_a_row_a_test(tiny_model: ModelDir) -> None:
    lines = output("bench", tiny_model.path, *SHORT, "-o", "jsonl").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["test"] for row in rows] == ["pp8", "tg2"]
    assert {row["model_filename"] for row in rows} == {str(tiny_model.path)}


def test_compare_prints_ratios(tiny_model: ModelDir) -> None:
    models = [tiny_model.path, tiny_model.path]
    report = output_json("bench", "--compare", *models, *SHORT)
    assert len(report["models"]) == 2
    for ratio in report["ratios"]:
        first, second = (
            next(test for test in model["tests"] if test["test"] == ratio["test"])
            for model in report["models"]
        )
        pairs = zip(second["samples_ts"], first["samples_ts"], strict=True)
        assert ratio["ratios"] == [b / a for b, a in pairs]
        assert ratio["p50_ratio"] == second["p50_ts"] / first["p50_ts"]  # as the tables have them
        assert ratio["low"] <= ratio["p50_ratio"] <= ratio["high"]
    table = output("bench", "--compare", *models, *SHORT)
    assert f"to {tiny_model.path} (fp32)" in table
    assert table.count("TPOT ms p50") == 2


def test_a_ratio_follows_the_medians_and_says_where_turns_disagree(
    capsys: pytest.CaptureFixture[str], tiny_model: ModelDir
) -> None:
    def figures(*seconds: float) -> ModelFigures:
        samples = [Sample(ttft_s=value) for value in seconds]
        tests = [Figures(test=BenchmarkTest(n_prompt=8), samples=samples)]
        return ModelFigures(model=tiny_model, threads=1, tests=tests, load_s=[0.1])

    # medians 2 s and 3 s: the second is slower, though it is faster in two of three turns
    both = [figures(1.0, 2.0, 10.0), figures(3.0, 1.9, 9.0)]
    (row,) = benching.compare(both)
    assert row["p50_ratio"] == pytest.approx(2 / 3)
    assert (row["low"], row["high"]) == pytest.approx((1 / 3, 10 / 9))
    tables = "table"
    benching.print_figures(both, tables, ratios=True)
    shown = capsys.readouterr()
    assert "0.667 x  0.333 to 1.111" in shown.out
    assert "the turns do not agree which is faster" in shown.err
    benching.print_figures([figures(1.0), figures(2.0)], tables, ratios=True)
    shown = capsys.readouterr()
    assert "0.500 x      -" in shown.out
    assert "one turn says nothing about chance" in shown.err
    benching.print_figures([figures(1.0, 1.1), figures(2.0, 2.1)], tables, ratios=True)
    assert capsys.readouterr().err == ""


def test_a_single_sample_has_no_spread(tiny_model: ModelDir) -> None:
    report = output_json("bench", tiny_model.path, "-p", "8", "-n", "0", "-r", "1")
    (test,) = report["models"][0]["tests"]
    assert test["stddev_ns"] is None
    assert test["stddev_ts"] is None


def test_defaults_fit_the_context(tiny_model: ModelDir) -> None:
    report = output_json("bench", tiny_model.path, "-r", "1", "-d", "120")
    assert [test["test"] for test in report["models"][0]["tests"]] == ["pp8 @ d120", "tg8 @ d120"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--compare"], 2, "--compare needs two models or more"),
        (["-o", "yaml"], 2, "'yaml' is not one of"),
        (["--prompts", "absent.jsonl"], 1, "absent.jsonl: No such file"),
        (["--prompts", "x", "-b", "2"], 2, "--prompts excludes -p, -d and -b"),
        (["--prompts", "x", "-n", "0"], 2, "--prompts needs -n of 1 or more"),
        (["-n", "2,x"], 2, "'2,x' is no list of whole numbers"),
        (["-b", "0"], 2, "0 is given; 1 is the least"),
        (["-p", "4000"], 1, "pp4000 needs 4000 tokens of context, the model has 128"),
        (["-p", "0", "-n", "0"], 1, "nothing to measure"),
    ],
)
def test_mistakes(tiny_model: ModelDir, options: list[str], code: int, words: str) -> None:
    assert words in error("bench", tiny_model.path, *options, code=code)


def figures(model: ModelDir, *steps: float, load_s: tuple[float, ...] = (2.0,)) -> ModelFigures:
    """Two tokens decoded in every sample, each in one of ``steps`` seconds, the first in 9 s."""
    samples = [Sample(ttft_s=9.0, steps_s=(step, step)) for step in steps]
    test = Figures(test=BenchmarkTest(n_gen=2), samples=samples)
    own = ModelFigures(model=model, threads=1, tests=[test])
    own.load_s.extend(load_s)
    own.peak_rss_bytes = 3_000_000
    return own


def test_statistics_by_hand(tiny_model: ModelDir, capsys: pytest.CaptureFixture[str]) -> None:
    """Speeds 1, 2, 4 tokens a second, and 2, 6, 40: the ratios are 2, 3, 10."""
    form = "json"
    first = figures(tiny_model, 1, 0.5, 0.25, load_s=(1.0, 2.0, 6.0))
    second = figures(tiny_model, 1 / 2, 1 / 6, 1 / 40)
    benching.print_figures([first, second], form, ratios=True)
    report = json.loads(capsys.readouterr().out)
    (ratio,) = report["ratios"]
    assert ratio["p50_ratio"] == pytest.approx(3)
    assert ratio["ratios"] == pytest.approx([2, 3, 10])
    model = report["models"][0]
    assert model["load_s"] == 2
    assert model["peak_rss_bytes"] == 3_000_000
    (test,) = model["tests"]
    assert test["samples_ts"] == [1, 2, 4]
    assert test["avg_ts"] == pytest.approx(7 / 3)
    assert test["stddev_ts"] == pytest.approx((7 / 3) ** 0.5)  # of a sample: by n - 1
    assert (test["p50_ts"], test["p95_ts"]) == (2, 1)
    assert test["samples_ns"] == [2e9, 1e9, 0.5e9]
    assert test["avg_ns"] == round(3.5e9 / 3)
    assert (test["ttft_p50_ms"], test["ttft_p95_ms"]) == (9000, 9000)
    assert (test["tpot_p50_ms"], test["tpot_p95_ms"]) == (500, 1000)
    assert (test["itl_p50_ms"], test["itl_p95_ms"]) == (500, 1000)
    assert (test["ttft_p99_ms"], test["itl_p99_ms"], test["p99_ts"]) == (9000, 1000, 1)


def test_tables_by_hand(tiny_model: ModelDir, capsys: pytest.CaptureFixture[str]) -> None:
    own = figures(tiny_model, 1, 0.5, 0.25, load_s=(1.0, 2.0, 6.0))
    benching.print_figures([own], "table", ratios=False)
    printed = capsys.readouterr().out
    assert re.search(r"load +2000 ms\n", printed)
    assert re.search(r"peak memory +3\.0 MB\n", printed)
    times = ["9000.00", "9000.00", "500.00", "1000.00", "1000.00"]
    cells = ["tg2", "1", "2.0", "1.0", *times]
    assert printed.splitlines()[-1].split() == cells


def test_markdown_and_csv_have_a_line_a_test(
    tiny_model: ModelDir, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [figures(tiny_model, 1, 0.5, 0.25), figures(tiny_model, 0.5)]
    benching.print_figures(models, "md", ratios=False)
    head, rule, first, second, _, where = capsys.readouterr().out.splitlines()
    assert head.startswith("| model | recipe | size | test | batch | t/s p50 |")
    assert rule.startswith("| --- | --- | --- | --- | ---: |")
    assert {line.count("|") for line in (head, rule, first, second)} == {13}
    assert " | 2.0 | 1.0 | 9000.00 | 9000.00 | 500.00 | " in first
    assert where.endswith(".")
    benching.print_figures(models, "csv", ratios=False)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [float(row["p50_ts"]) for row in rows] == [2, 2]
    assert rows[0]["model_filename"] == str(tiny_model.path)
    assert float(rows[0]["itl_p99_ms"]) == 1000
    assert "samples_ts" not in rows[0]


def test_ratios_in_markdown(tiny_model: ModelDir, capsys: pytest.CaptureFixture[str]) -> None:
    benching.print_figures([figures(tiny_model, 1), figures(tiny_model, 0.5)], "md", ratios=True)
    assert f"| {tiny_model.path} | tg2 | 1 | 2.000 x | - |" in capsys.readouterr().out


def test_prompts_of_ones_own(tiny_model: ModelDir, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "the king"}\n{"prompt": "the boat came over the water"}\n')
    args = ("bench", tiny_model.path, "--prompts", prompts, "-n", 3, "-r", 2)
    (test,) = output_json(*args)["models"][0]["tests"]
    assert (test["test"], test["n_texts"], test["n_gen"]) == ("tg3 of 2 prompts", 2, 3)
    assert len(test["samples_ts"]) == 4  # two prompts, twice
    assert test["ttft_p99_ms"] >= test["ttft_p50_ms"] > 0
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"prompt": "the king " * 200}))
    assert "tokens" in error("bench", tiny_model.path, "--prompts", long)
