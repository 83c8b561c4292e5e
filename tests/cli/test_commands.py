"""Score, perplexity, tokenize, inspect, doctor, export, quantize."""

import json
import math
import sys
from pathlib import Path

import pytest

from gpt2edge import Engine, ModelDir
from gpt2edge.cli.commands.doctor import cpu_facts
from gpt2edge.cli.commands.inspect import transformer_parameters
from gpt2edge.cli.display.output import size
from gpt2edge.config import ModelConfig
from gpt2edge.export import export_checkpoint
from tests.checkpoints import SMALL, write_checkpoint
from tests.cli.running import error, invoke, output, output_json

TEXT = "The quick brown fox jumps over the lazy dog. " * 8


def test_score(tiny_model: ModelDir) -> None:
    report = output_json("score", "-m", tiny_model.path, "hello", " there", " world")
    expected = Engine(tiny_model.path).score("hello", [" there", " world"])
    assert report["prompt"] == "hello"
    assert [score["text"] for score in report["scores"]] == [" there", " world"]
    assert [score["logprob"] for score in report["scores"]] == [s.logprob for s in expected]
    assert set(report["scores"][0]) == {"text", "token_ids", "logprob", "logprobs", "is_greedy"}
    table = output("score", "-m", tiny_model.path, "hello", " there", " world").splitlines()
    assert table[0].split() == ["logprob", "per", "token", "tokens", "greedy", "completion"]
    assert table[1].endswith('" there"')
    for line, score in zip(table[1:], expected, strict=True):
        total, mean, tokens, *_ = line.split()
        assert float(total) == pytest.approx(score.logprob, abs=1e-4)
        assert float(mean) == pytest.approx(score.logprob / len(score.token_ids), abs=1e-4)
        assert int(tokens) == len(score.token_ids) > 1


def test_score_finds_the_greedy_completion(token_model: ModelDir) -> None:
    ids = Engine(token_model.path).generate([1, 2], max_new_tokens=4).token_ids
    greedy, other = " ".join(map(str, ids)), "0 0"
    args = ["score", "-m", token_model.path, "--token-ids", "1 2", greedy, other]
    assert [score["is_greedy"] for score in output_json(*args)["scores"]] == [True, False]
    assert output(*args).splitlines()[1].endswith(greedy)


def test_score_reads_its_prompt_from_stdin(tiny_model: ModelDir) -> None:
    piped = output_json("score", "-m", tiny_model.path, "-", " there", stdin="hello\n")
    assert piped == output_json("score", "-m", tiny_model.path, "hello", " there")


def test_score_needs_a_completion(tiny_model: ModelDir) -> None:
    error("score", "-m", tiny_model.path, "hello", code=2)


def test_perplexity(tiny_model: ModelDir, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    args = ["perplexity", "-m", tiny_model.path, "--context", 64, "--stride", 16]
    report = output_json(*args, "--text", path)
    expected = Engine(tiny_model.path).perplexity(TEXT, context=64, stride=16)
    assert report["perplexity"] == expected.perplexity
    assert report["standard_error"] == expected.standard_error
    assert report["bits_per_byte"] == expected.bits_per_byte
    assert (report["context"], report["stride"]) == (64, 16)
    assert output_json(*args, "--text", "-", stdin=TEXT) == report
    result = invoke(*args, "--text", path)
    assert f"{expected.perplexity:.4f} ± {expected.standard_error:.4f}" in result.stdout
    assert f"{expected.mean_nll:.4f} nats a token" in result.stdout
    (bits,) = [line for line in result.stdout.splitlines() if "bits per byte" in line]
    assert bits.endswith(f" {expected.bits_per_byte:.4f}")
    assert result.stderr == ""


def test_numbers_that_json_cannot_hold_become_null(tiny_model: ModelDir) -> None:
    report = output_json("perplexity", "-m", tiny_model.path, "--text", "-", stdin="x")
    assert report["standard_error"] is None
    assert math.isfinite(report["perplexity"])


def test_tokenize(tiny_model: ModelDir) -> None:
    tokenizer = Engine(tiny_model.path).tokenizer
    assert tokenizer is not None
    report = output_json("tokenize", "-m", tiny_model.path, "hell é\n")
    assert report["token_ids"] == tokenizer.encode("hell é\n")
    assert "".join(report["pieces"][:1]) == tokenizer.piece(report["token_ids"][0])
    result = invoke("tokenize", "-m", tiny_model.path, "-", stdin="hell é\n")
    assert len(result.stdout.splitlines()) == 1 + len(report["token_ids"])
    assert result.stdout.splitlines()[-1].endswith('"\\n"')
    assert result.stderr == f"{len(report['token_ids'])} tokens\n"


def test_inspect(tiny_model: ModelDir) -> None:
    report = output_json("inspect", tiny_model.path)
    assert report["variant"] == "fp32"
    assert report["bytes"] == tiny_model.nbytes
    assert all(file["intact"] for file in report["files"])
    graph = report["graph"]
    assert graph["operators"]["GroupQueryAttention"] == 2
    assert [tensor["name"] for tensor in graph["inputs"]][:2] == ["input_ids", "attention_mask"]
    assert graph["outputs"][0]["shape"][-1] == 512
    assert {weight["precision"] for weight in graph["weights"]} == {"fp32"}
    head = next(weight for weight in graph["weights"] if weight["node"] == "lm_head")
    assert head["bytes"] == 0  # the tied embedding is stored once
    text = output("inspect", tiny_model.path)
    (layers,) = [line for line in text.splitlines() if line.startswith("h.0 to h.1  4 x ")]
    held = [item["bytes"] for item in graph["weights"] if item["node"].startswith("h.")]
    assert layers.endswith(size(sum(held)))
    assert "intact" in text
    assert "DAMAGED" not in text


@pytest.mark.parametrize("architecture", ["LMHeadModel", "ForSequence", "ForToken"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_as_upstream_does(
    architecture: str, tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "GPT2" + architecture + "Classification" * architecture.startswith("For")
    labels = {str(label): f"label {label}" for label in range(3)}
    keys = {**SMALL, "n_inner": 50, "tie_word_embeddings": tied, "architectures": [name]}
    tensors = write_checkpoint(tmp_path / "hf", {**keys, "id2label": labels})
    model = export_checkpoint(tmp_path / "hf", tmp_path / "out")
    expected = sum(tensor.size for tensor in tensors.values())
    assert output_json("inspect", model.path)["parameters"] == expected
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert output_json("inspect", model.path)["parameters"] == expected


def test_parameters_of_gpt2() -> None:
    assert transformer_parameters(ModelConfig()) == 124_439_808


def test_export_then_generate(tiny_checkpoint: Path, tiny_model: ModelDir, tmp_path: Path) -> None:
    out = tmp_path / "made" / "model"
    result = invoke("export", tiny_checkpoint, out)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert str(out) in result.stderr
    assert output("generate", "-m", out, "-n", 5, "hello") == output(
        "generate", "-m", tiny_model.path, "-n", 5, "hello"
    )
    assert "pass --overwrite" in error("export", tiny_checkpoint, out)
    assert invoke("export", tiny_checkpoint, out, "--overwrite").exit_code == 0


def test_export_of_something_else(tmp_path: Path) -> None:
    error("export", tmp_path / "none", tmp_path / "out")
    error("export", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_quantize_then_inspect(tiny_model: ModelDir, tmp_path: Path) -> None:
    result = invoke("quantize", tiny_model.path, tmp_path / "int8", "--recipe", "int8")
    assert result.exit_code == 0, result.stderr
    report = output_json("inspect", tmp_path / "int8")
    assert report["variant"] == "int8"
    assert report["bytes"] < tiny_model.nbytes
    error("quantize", tiny_model.path, tmp_path / "none", "--recipe", "nonsense", code=_usage())


def test_doctor(tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2edge.runtime.bundled.BUNDLED_MODEL", tiny_model.path)
    report = output_json("doctor")
    places = ["cpu", "kernels", "threads", "memory", "onnxruntime", "packages", "extras"]
    assert list(report) == [*places, "telemetry", "bundled_model"]
    assert report["threads"]["used"] >= 1
    assert report["memory"]["huge_pages"] in ("always", "madvise", "never", "unknown")
    assert "CPUExecutionProvider" in report["onnxruntime"]["providers"]
    assert report["packages"]["gpt2edge"]
    assert report["extras"]["export"] == "installed"
    assert report["bundled_model"]["intact"] is True
    assert "CPUExecutionProvider" in output("doctor")


def test_doctor_reports_a_missing_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2edge.runtime.bundled.BUNDLED_MODEL", tmp_path / "none")
    result = invoke("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["bundled_model"]["intact"] is False
    assert result.stderr.startswith("Error: the bundled model: ")


def test_cpu_facts_of_other_machines(tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 fma\n\nmodel name\t: Other\n")
    assert cpu_facts(listing)["model"] == "Some CPU"
    assert cpu_facts(listing)["features"] == ["avx2", "fma"]
    listing.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert cpu_facts(listing)["features"] == ["asimd", "asimddp"]
    assert cpu_facts(tmp_path / "none")["features"] == []


def _usage() -> int:
    """Whether the recipe is a click.Choice is the command's own affair."""
    from gpt2edge.cli.app import cli

    command = cli.get_command(None, "quantize")  # type: ignore[arg-type]
    assert command is not None
    recipe = next(param for param in command.params if param.name == "recipe")
    return 2 if type(recipe.type).__name__ == "Choice" else 1


def test_sizes_are_decimal() -> None:
    sizes = [size(nbytes) for nbytes in (999, 99_900, 100_000, 1_300_000, 2_500_000_000)]
    assert sizes == ["1.0 kB", "99.9 kB", "0.1 MB", "1.3 MB", "2,500.0 MB"]
