"""``choose``, ``probe``, ``glitch``, ``lens``, ``neurons`` and ``generate --steer``."""

import json
from pathlib import Path

import pytest

import gpt2edge
from gpt2edge.inside import steering_vector
from tests.cli.running import error, invoke, output, output_json

TEXT = "Once upon a time there was a king who had three sons, and the king was very old. " * 80


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def write_rows(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_choose(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "q.jsonl",
        {"prompt": "Once upon a", "choices": [" time", " fish"], "answer": 0},
        {"prompt": "The king had three", "choices": [" tables", " sons"], "answer": " sons"},
    )
    found = output_json("choose", path, "--unconditional", "So")
    assert found["figures"]["acc"]["value"] == 1
    assert found["figures"]["acc_mutual_info"]["uniform"] == 0.5
    assert found["rows"][1]["answer"] == 1
    lines = output("choose", path).splitlines()
    assert lines[0].split() == ["metric", "model", "alike", "commonest"]
    assert "2 questions, calibration error" in lines[-1]
    path.write_text("{}\n[1]\n", encoding="utf-8")
    assert "line 2 is no JSON object" in error("choose", path)
    path.write_text("{}\n", encoding="utf-8")
    assert "row 1 has no 'prompt'" in error("choose", path)
    path.write_text("{\n", encoding="utf-8")
    assert "line 1: " in error("choose", path)


def test_probe(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "c.jsonl",
        {"kind": "tales", "prompt": "Once upon a", "expected": [" time"], "alternatives": [" b"]},
        {"kind": "verbs", "sentence": "He ___ it.", "expected": ["saw"], "alternatives": ["blue"]},
    )
    lines = output("probe", path).splitlines()
    assert lines[1].split() == ["tales", "1", "1.00", "1.00", "1.00", "1.00"]
    assert lines[2].split()[:4] == ["verbs", "1", "-", "-"]
    assert output_json("probe", path)["figures"]["precision_1"] == 1


def test_our_own_prompts_are_of_six_kinds() -> None:
    from tests.conftest import ROOT

    found = output_json("probe", ROOT / "examples" / "probe.jsonl")
    assert len(found["kinds"]) == 6
    assert found["figures"]["rows"] >= 30


def test_glitch() -> None:
    lines = output("glitch", "--no-repeat", "--share", 0.002).splitlines()
    assert lines[0].split() == ["id", "distance", "repeated", "token"]
    assert '"ght"' in lines[1]
    assert "bytes that never occur" in lines[-1]


@pytest.mark.slow
def test_glitch_asks() -> None:
    text = output("glitch", "--share", 0.0005)
    assert "not verifiable: this model does not repeat" in text


def test_lens(text: Path, tmp_path: Path) -> None:
    result = invoke("lens", text, "--out", tmp_path / "l.npz", "--tokens", 600)
    assert result.exit_code == 0
    assert "fitted on 600 tokens" in result.stderr
    found = output_json("look", "Once upon a", "--affine", tmp_path / "l.npz")
    plain = output_json("look", "Once upon a")
    assert found["layers"][0]["kl_to_final"] < plain["layers"][0]["kl_to_final"]
    assert "needs 512 or more" in error("lens", "-", "--out", tmp_path / "n.npz", stdin="Once")
    assert not (tmp_path / "n.npz").exists()


def test_patch() -> None:
    words = ("look", "The king had a little", "--patch", "The girl had a little")
    text = output(*words, "--answer", " girl", "--wrong", " boy")
    (row,) = [line for line in text.splitlines() if line.startswith('" king"')]
    assert row.split()[2] == "1.00"
    assert "--patch needs --answer" in error(*words, code=2)


def test_neurons(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index.npz"
    result = invoke("neurons", "build", text, "--out", folder, "--window", 64, "-k", 4)
    assert result.exit_code == 0, result.stderr
    shown = output("neurons", "show", folder, "2.300", "--count", 2)
    assert shown.startswith("L2N300\nmean ")
    assert "positive outputs" in shown
    record = output_json("neurons", "show", folder, "2.300")
    assert len(record["most_positive_activation_records"]) == 4
    assert output_json("neurons", "find", folder, " king")["neurons"]
    assert "L" in output("neurons", "find", folder, " king")
    again = invoke(
        "neurons", "build", text, text, "--out", folder, "--window", 64, "-k", 4, "--resume"
    )
    assert again.exit_code == 0, again.stderr
    assert "write LAYER.NEURON" in error("neurons", "show", folder, "2", code=2)
    assert "exists" in error("neurons", "build", text, "--out", folder)


def test_generate_steers(tmp_path: Path) -> None:
    scope = gpt2edge.load().inside()
    vector = steering_vector(
        scope, ["The ship saw the sea."], ["The king saw the wood."], ("resid_post", 2)
    )
    path = tmp_path / "sea.npz"
    vector.save(path)
    words = ("generate", "Once upon a time", "-n", 12, "--temperature", 0)
    plain = output(*words)
    assert output(*words, "--steer", f"{path}:0") == plain
    assert output(*words, "--steer", f"{path}:6") != plain
    assert output(*words, "--steer", path) == output(*words, "--steer", f"{path}:1")
    assert "no.npz" in error(*words, "--steer", tmp_path / "no.npz")
