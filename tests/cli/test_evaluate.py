"""``gpt2edge evaluate``: its table, its files, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest

from gpt2edge import ModelDir
from gpt2edge.cli.display import evaluation as display
from gpt2edge.quant import INT8, quantize
from tests.cli.running import error, invoke, output, output_json
from tests.evaluate.texts import TEXT, evaluation


@pytest.fixture(scope="module")
def small(tiny_model: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantize(tiny_model, tmp_path_factory.mktemp("q") / "int8", recipe=INT8).path


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


def test_a_table_of_variants(tiny_model: ModelDir, small: Path, text: Path) -> None:
    shown = output("evaluate", tiny_model.path, small, "--text", text, "-r", 1).splitlines()
    head = shown[0].split("  ")
    assert [part.strip() for part in head if part][:3] == ["model", "recipe", "size MB"]
    assert shown[1].startswith("model  fp32")
    assert shown[2].startswith("int8   int8")
    assert shown[4].startswith("on text.txt: ")
    assert shown[4].endswith("against model")


def test_every_form_has_the_same_figures(tiny_model: ModelDir, small: Path, text: Path) -> None:
    args = ("evaluate", tiny_model.path, small, "--text", text, "--no-speed")
    report = output_json(*args)
    kl = report["models"][1]["quality"]["kl"]["value"]
    assert json.loads(output(*args, "-o", "json")) == report
    rows = list(csv.DictReader(output(*args, "-o", "csv").splitlines()))
    assert float(rows[1]["kl"]) == kl
    markdown = output(*args, "-o", "md").splitlines()
    assert markdown[1].startswith("| --- |")
    cells = dict(zip(markdown[0].split(" | "), markdown[3].split(" | "), strict=True))
    assert float(cells["KL nats"]) == pytest.approx(kl, rel=0.01)
    assert "decode" not in markdown[0]


def test_a_plot_is_drawn_beside_the_table(tiny_model: ModelDir, text: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    args = ("evaluate", tiny_model.path, "--text", text, "--no-speed", "--plot")
    result = invoke(*args, plot)
    assert result.exit_code == 0
    assert result.stderr == f"{plot} written\n"
    assert plot.read_text().startswith("<svg ")
    assert "No such file" in invoke(*args, tmp_path / "none" / "plot.svg").stderr
    assert [path.name for path in tmp_path.iterdir()] == ["plot.svg"]


def test_answers_are_counted(tiny_model: ModelDir, tmp_path: Path) -> None:
    passages = tmp_path / "lambada.jsonl"
    passages.write_text('{"text": "the king slept"}\n' * 3)
    model = tiny_model.path
    report = output_json("evaluate", model, "--lambada", passages, "--no-speed", "--limit", 2)
    assert report["passages"] == 2
    assert report["models"][0]["lambada"]["value"] in (0, 1)
    assert report["models"][0]["quality"] is None


def test_rows_of_machines_are_pooled(tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, cpu in zip(files, ("this one", "that one"), strict=True):
        path.write_text(json.dumps(evaluation(cpu=cpu).to_dict()))
    shown = output("evaluate", "--pool", *files)
    assert "400 (399 to 401)" in shown
    assert "means over 2 machines, in brackets the extremes" in shown
    assert "that one, 2 threads" in shown
    files[1].write_text("{}")
    assert "b.json: give what evaluate --json wrote" in error("evaluate", "--pool", *files)
    assert "--pool needs the JSON files" in error("evaluate", "--pool", code=2)


def test_a_narrow_terminal_gets_two_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "90")
    rows = display.cells_of(evaluation())
    quality, speed = display.parts(rows)
    assert quality[0] == ["model", *rows[0][1:7]]
    assert speed[0] == ["model", *rows[0][7:]]
    monkeypatch.setenv("COLUMNS", "200")
    assert display.parts(rows) == [rows]


def test_mistakes(tiny_model: ModelDir, text: Path, tmp_path: Path) -> None:
    model = tiny_model.path
    assert "Missing option '--text'" in error("evaluate", model, code=2)
    absent = tmp_path / "absent"
    assert "No such file" in error("evaluate", model, "--text", absent)
    assert "No such file" in error("evaluate", model, "--blimp", absent)
    assert "no model folder" in error("evaluate", absent, "--text", text)
    assert "--context is 4000" in error("evaluate", model, "--text", text, "--context", 4000)
    assert "--stride is 33" in error(
        "evaluate", model, "--text", text, "--context", 32, "--stride", 33, "--no-speed"
    )
