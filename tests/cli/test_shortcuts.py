"""--prompt-cache, --prompt-lookup, --draft-model: the same text, less work."""

from pathlib import Path

from gpt2edge import ModelDir
from tests.cli.running import error, output, output_json

PROMPT = "hello hello hello hello hello hello hello hello hello"


def test_prompt_cache_is_made_and_used(tiny_model: ModelDir, tmp_path: Path) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 6]
    plain = output(*args, PROMPT)
    cached = [*args, "--prompt-cache", tmp_path / "prompts"]
    assert output_json(*cached, PROMPT)["timing"]["reused_tokens"] == 0
    assert (tmp_path / "prompts").is_file()
    known = output_json(*cached, PROMPT)["timing"]
    assert known["reused_tokens"] >= known["prompt_tokens"] - 6
    assert output(*cached, PROMPT) == plain


def test_prompt_cache_that_is_none(tiny_model: ModelDir, tmp_path: Path) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 6]
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    assert "is not a prompt cache" in error(*args, "--prompt-cache", notes, PROMPT)
    assert notes.read_text() == "mine"
    absent = tmp_path / "absent" / "prompts"
    assert "choose another --prompt-cache" in error(*args, "--prompt-cache", absent, PROMPT)


def test_guesses_are_counted(tiny_model: ModelDir) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 30, PROMPT]
    plain = output(*args)
    assert output(*args, "--prompt-lookup") == plain
    assert output(*args, "--draft-model", tiny_model.path) == plain
    timing = output_json(*args, "--draft-model", tiny_model.path)["timing"]
    assert timing["accepted_tokens"] <= timing["guessed_tokens"]
    both = ["--prompt-lookup", "--draft-model", tiny_model.path]
    assert "exclude each other" in error(*args, *both, code=2)
    assert "no model folder" in error(*args, "--draft-model", "absent")
