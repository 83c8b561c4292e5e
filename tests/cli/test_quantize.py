"""``gpt2edge quantize`` and ``gpt2edge compare``."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2edge.cli.display.comparison import measure
from gpt2edge.cli.display.output import estimate
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import Estimate
from tests.cli.running import error, invoke, output, output_json


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("A small boat came over the water at night, and nobody saw it. " * 8)
    return path


def test_says_how_small_it_became(tiny_model: ModelDir, tmp_path: Path) -> None:
    result = invoke("quantize", tiny_model.path, tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "% of" in result.stderr
    assert ModelDir.open(tmp_path / "out").manifest.variant == "int8"


def test_reports_the_loss(tiny_model: ModelDir, tmp_path: Path, text: Path) -> None:
    shown = output("quantize", tiny_model.path, tmp_path / "out", "--text", text)
    for name in ("size", "perplexity", "KL divergence", "top-1 agreement", "relative error"):
        assert name in shown


def test_reports_for_machines(tiny_model: ModelDir, tmp_path: Path, text: Path) -> None:
    report = output_json("quantize", tiny_model.path, tmp_path / "out", "--text", text)
    assert report["bytes_b"] < report["bytes_a"]
    assert report["perplexity_increase"]["standard_error"] >= 0
    assert "h.0/mlp" in report["layer_errors"]


def test_calibrates_on_a_text(tiny_model: ModelDir, tmp_path: Path, text: Path) -> None:
    args = ("quantize", tiny_model.path, tmp_path / "out", "--recipe", "int4")
    assert invoke(*args, "--calibrate", text).exit_code == 0


def test_refuses_too_great_a_loss(
    tiny_model: ModelDir, tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(*models: Any, **options: Any) -> Any:
        comparison, errors = measure(*models, **options)
        return replace(comparison, perplexity_increase=Estimate(0.05, 0.001)), errors

    monkeypatch.setattr("gpt2edge.cli.commands.quantize.measure", worse)
    args = ("quantize", tiny_model.path, tmp_path / "out", "--text", text)
    refused = invoke(*args, "--max-perplexity-increase", 4.9)
    assert refused.exit_code == 1
    assert "grows by 5.000%, more than the 4.9 % allowed" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    assert invoke(*args, "--max-perplexity-increase", 5.1).exit_code == 0


def test_wrong_use_is_one_line(tiny_model: ModelDir, tmp_path: Path) -> None:
    out, empty, binary = (tmp_path / name for name in ("out", "empty.txt", "binary.txt"))
    empty.write_bytes(b"")
    binary.write_bytes(b"\xff\xfe")
    model = tiny_model.path
    assert "there are int8" in error("quantize", model, out, "--recipe", "int3")
    assert "at least 32" in error("quantize", model, out, "--calibrate", empty)
    assert "not UTF-8" in error("quantize", model, out, "--calibrate", binary)
    assert "No such file" in error("quantize", model, out, "--calibrate", tmp_path / "none.txt")
    assert "no model folder" in error("quantize", tmp_path / "none", out)
    limit = ("--max-perplexity-increase", 1)
    assert "needs --text" in error("quantize", model, out, *limit, code=2)
    assert not out.exists()
    assert invoke("quantize", model, out).exit_code == 0
    assert "pass --overwrite" in error("quantize", model, out)
    assert "quantized already (int8)" in error("quantize", out, tmp_path / "again")
    assert "quantized already" in error("quantize", out, tmp_path / "again", "--recipe", "auto")
    assert "'int3' is not one of" in error("quantize", model, out, "--kv-cache", "int3", code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary.txt", "empty.txt", "out"]


def test_a_full_disk_is_one_line(
    tiny_model: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt2edge.graph.weights_file.WeightsFile.attach", full)
    for recipe in ("int8", "auto"):
        line = error("quantize", tiny_model.path, tmp_path / "out", "--recipe", recipe)
        assert "No space left" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("int8_cache")
def test_models_are_called_by_folder_and_recipe(
    tiny_model: ModelDir, tmp_path: Path, text: Path
) -> None:
    a, b = tmp_path / "m4", tmp_path / "m4d"
    int8 = ("--kv-cache", "int8")
    said = invoke("quantize", tiny_model.path, a, "--recipe", "int4", *int8).stderr
    assert f"{a} (int4 with an int8 cache): " in said
    shown = output("quantize", tiny_model.path, b, "--recipe", "int4-decode", "--text", text)
    assert shown.startswith(f"{b} (int4-decode) against {tiny_model.path} (fp32)\n")
    report = output_json("evaluate", a, b, "--text", text, "--no-speed")
    names = [(model["name"], model["recipe"]) for model in report["models"]]
    assert names == [("m4", "int4 with an int8 cache"), ("m4d", "int4-decode")]


def test_one_token_has_no_interval(tiny_model: ModelDir) -> None:
    path = tiny_model.path
    shown = output("evaluate", path, path, "--text", "-", "--no-speed", stdin="a")
    assert "stdin: 1 tokens," in shown
    assert "nan" not in shown
    assert "±" not in shown
    shown = output("perplexity", "-m", path, "--text", "-", stdin="a")
    assert "nan" not in shown
    assert "±" not in shown


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (4.2e-5, 4.13e-8, "0.000042000 ± 0.000000041"),
        (12.3456, 0.5, "12.345600 ± 0.500000"),
        (0.0, 0.0, "0.000000 ± 0"),
        (1.5, float("nan"), "1.500000"),
        (float("inf"), float("nan"), "inf"),
        (1.0, 1e-30, "1.000000000000 ± 0.000000000000"),
    ],
)
def test_an_error_has_two_digits(value: float, error: float, shown: str) -> None:
    assert estimate(value, error, digits=6) == shown


@pytest.mark.usefixtures("int8_cache")
def test_keeps_the_cache_in_int8(tiny_model: ModelDir, tmp_path: Path, text: Path) -> None:
    out = tmp_path / "out"
    args = ("quantize", tiny_model.path, out, "--kv-cache", "int8", "--calibrate", text)
    assert invoke(*args).exit_code == 0
    facts = output_json("inspect", out)
    assert facts["recipe"]["kv_cache"] == "int8"
    cache = [item for item in facts["graph"]["inputs"] if item["name"].startswith("past")]
    assert {item["type"] for item in cache} == {"int8"}


@pytest.mark.slow
def test_auto_says_why(tiny_model: ModelDir, tmp_path: Path) -> None:
    result = invoke("quantize", tiny_model.path, tmp_path / "a", "--recipe", "auto", "--json")
    assert result.exit_code == 0, result.stderr
    choice = json.loads(result.stdout)["auto"]
    names = [item["recipe"] for item in choice["candidates"]]
    assert names == ["int8", "int8-block", "int4"]
    assert f"{choice['recipe']}: {choice['reason']}" in result.stderr
    recipe = ModelDir.open(tmp_path / "a").manifest.recipe
    assert recipe is not None
    assert recipe["name"] == choice["recipe"]


def test_rounding_can_be_chosen(tiny_model: ModelDir, tmp_path: Path) -> None:
    args = ("quantize", tiny_model.path, tmp_path / "a", "--recipe", "int4", "--rounding")
    assert invoke(*args, "nearest").exit_code == 0
    recipe = ModelDir.open(tmp_path / "a").manifest.recipe
    assert recipe is not None
    assert recipe["rounding"] == "nearest"
    assert "'up' is not one of" in error(*args, "up", code=2)


def test_what_people_read_is_what_machines_read(
    tiny_model: ModelDir, tmp_path: Path, text: Path
) -> None:
    args = ("quantize", tiny_model.path, tmp_path / "small", "--recipe", "int4", "--text", text)
    shown, report = output(*args), output_json(*args, "--overwrite")
    errors = report["layer_errors"]
    worst = max(errors, key=errors.__getitem__)
    assert f"{report['bytes_b'] / report['bytes_a']:.0%}" in shown
    assert f"{list(errors.values())[-1]:.4f} after the last layer" in shown
    assert f"at most {errors[worst]:.4f} ({worst})" in shown
    assert f"{report['top1_agreement']['value']:.2%}" in shown
    assert f"{report['kl']['value']:.6f}" in shown
    increase = report["perplexity_increase"]
    assert f"{increase['value']:+.3%} ± {increase['standard_error']:.3%}" in shown
    assert len(set(errors.values())) > 2


def test_a_text_that_is_absent_is_named_before_any_work(
    tiny_model: ModelDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was quantized first")

    monkeypatch.setattr("gpt2edge.quant.by_name.quantize_by_name", never)
    line = error("quantize", tiny_model.path, tmp_path / "out", "--text", tmp_path / "absent.txt")
    assert line == f"Error: {tmp_path / 'absent.txt'}: No such file or directory"
