"""``look`` and ``detect``: what is shown, written and refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpt2edge import ModelDir
from tests.cli.running import error, invoke, output, output_json

STORY = "Once upon a time there was a little girl who lived with her mother in the wood. " * 5


@pytest.fixture(autouse=True)
def _a_terminal_of_100_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is cut to the terminal's width."""
    monkeypatch.setenv("COLUMNS", "100")


def test_the_lens_is_a_table_with_the_last_layer_on_top() -> None:
    lines = output("look", "Once upon a time there was a little").splitlines()
    assert lines[0].split()[0] == "last"
    assert lines[0].split()[-1] == "\u00b7girl"
    assert [line.split()[0] for line in lines[1:8]] == ["4", "3", "2", "1", "0", "embed", "token"]
    assert lines[7].split()[1:3] == ["On", "ce"]
    assert any(line.startswith('next: " girl" 0.0') for line in lines)


def test_long_prompts_go_on_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = output("look", "Once upon a time there was a little").splitlines()
    assert sum(line.startswith(" last") for line in lines) == 3
    assert all(len(line) <= 40 for line in lines if line[:5].strip() in ("last", "0", "token"))


def test_json_has_everything() -> None:
    found = output_json(
        "look",
        "Once upon a",
        "--top",
        3,
        "--target",
        " time",
        "--attention",
        "0.1",
        "--attribution",
        "--importance",
        "--heads",
    )
    assert found["tokens"][-1] == " a"
    assert found["target_ranks"][-1] == 0
    layer = found["layers"][-1]
    assert layer["label"] == "last"
    assert layer["kl_to_final"] == pytest.approx(0, abs=1e-6)
    assert layer["predictions"][-1][0]["token"] == " time"
    assert len(layer["predictions"][-1]) == 3
    assert found["attention"][1][0][0] == "On"
    added = found["attribution"]
    assert sum(added["attribution"]) + added["bias"] == pytest.approx(added["logit"], abs=0.05)
    assert len(found["importance"]["nats"]) == len(found["tokens"])
    assert len(found["heads"]["induction"]) == 6


def test_views_are_printed() -> None:
    text = output(
        "look",
        "Once upon a",
        "--target",
        " time",
        "--attention",
        "0.1",
        "--attribution",
        "--importance",
        "--heads",
    )
    assert 'rank of " time", from 0: embed' in text
    assert "layer 0 head 1  looks at" in text
    assert 'logit of " time"' in text
    assert 'nats that " time" loses' in text
    assert "L5H3" in text


def test_files_are_written(tmp_path: Path) -> None:
    svg, npz = tmp_path / "lens.svg", tmp_path / "values.npz"
    result = invoke(
        "look", "Once upon", "--svg", svg, "--npz", npz, "--names", "resid_post", "--json"
    )
    assert result.exit_code == 0
    assert svg.read_text(encoding="utf-8").startswith("<svg ")
    with np.load(npz) as file:
        assert file["blocks.5.hook_resid_post"].shape == (3, 256)
        assert len(file.files) == 7
    assert f"wrote {svg}" in result.stderr
    json.loads(result.stdout)


def test_what_is_wrong_is_one_line(token_model: ModelDir) -> None:
    assert "write LAYER.HEAD" in error("look", "a", "--attention", "3", code=2)
    assert "head is 9" in error("look", "a", "--attention", "0.9")
    assert "which is 2 tokens" in error("look", "a", "--target", " girl boy")
    assert "near it: resid_post" in error("look", "a", "--npz", "x.npz", "--names", "resid_pots")
    assert "no tokenizer" in error("look", "-m", token_model.path, "a")
    assert "tokens do not fit" in error("look", "--token-ids", " ".join(["5"] * 600))


def test_token_ids_without_a_tokenizer(token_model: ModelDir) -> None:
    text = output("look", "-m", token_model.path, "--token-ids", "1 2 3")
    assert text.splitlines()[0].startswith(" last ")


def test_detect_prints_text_and_scores(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(STORY, encoding="utf-8")
    text = output("detect", path)
    assert STORY.strip() in text
    assert "rank 1 to 10:" in text
    assert "Fast-DetectGPT" in text
    assert "without --reference, none of these says who wrote the text" in text
    assert output("detect", "-", stdin=STORY) == text
    plain = output("detect", path, "--plain")
    assert plain.splitlines()[0].split() == ["rank", "prob", "token"]


def test_detect_json_reference_and_page(tmp_path: Path) -> None:
    path, people, page = tmp_path / "t.txt", tmp_path / "people.txt", tmp_path / "page.html"
    path.write_text(STORY, encoding="utf-8")
    people.write_text(STORY * 11, encoding="utf-8")
    found = output_json("detect", path, "--reference", people, "--html", page)
    assert found["percentiles"]["windows"] >= 10
    assert found["scores"]["tokens"] == len(found["tokens"]["ranks"])
    assert "default-src 'none'" in page.read_text(encoding="utf-8")
    text = output("detect", path, "--reference", people)
    assert "among people's" in text


def test_detect_refuses(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("Once upon a time", encoding="utf-8")
    assert "at least 50" in error("detect", path)
    assert "Give FILE" in error("detect", code=2)
    assert "Give FILE" in error("detect", path, "--quiz", path, code=2)


def test_the_quiz_counts(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n\n".join([STORY] * 3), encoding="utf-8")
    result = invoke("detect", "--quiz", path, "--questions", 2, stdin="A\nb\n")
    assert result.exit_code == 0
    assert " of 2 right, " in result.stdout
    assert "that may be guessing" in result.stdout
    assert result.stderr.count("a person wrote") == 2
    result = invoke("detect", "--quiz", path, "--questions", 2, "--json", stdin="A\nb\n")
    found = json.loads(result.stdout)
    assert found["total"] == 2
    assert found["right"] == sum(each["right"] for each in found["questions"])
