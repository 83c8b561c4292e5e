"""One clear line on stderr, the right exit code, nothing on stdout, never a traceback."""

import os
from pathlib import Path

import pytest

from gpt2edge import ModelDir
from tests.cli.running import error, invoke


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--temperature", -1], "--temperature is -1.0; it must be"),
        (["--temperature", "nan"], "--temperature is nan"),
        (["--temperature", "inf"], "--temperature is inf"),
        (["--top-k", -1], "--top-k is -1"),
        (["--top-k", 10**30], "--top-k is"),
        (["--top-p", 0], "--top-p is 0.0"),
        (["--top-p", 1.5], "--top-p is 1.5"),
        (["--min-p", 2], "--min-p is 2.0"),
        (["--repetition-penalty", 0], "--repetition-penalty is 0.0"),
        (["--seed", -1], "--seed is -1"),
        (["--seed", 2**64], "--seed is"),
        (["-n", 0], "--max-new-tokens is 0"),
        (["-n", -3], "--max-new-tokens is -3"),
        (["-n", 5000], "do not fit the model's context of 128"),
        (["-n", 10**12], "--max-new-tokens is 1000000000000"),
        (["--min-new-tokens", -1], "--min-new-tokens is -1"),
        (["--stop", ""], "a string of --stop is ''"),
        (["--logprobs", -1], "--logprobs is -1"),
        (["--logprobs", 10**9], "--logprobs is"),
        (["--token-ids"], "is not a token id"),
    ],
)
def test_values_out_of_range(tiny_model: ModelDir, flags: list[object], words: str) -> None:
    assert words in error("generate", "-m", tiny_model.path, *flags, "hello")


@pytest.mark.parametrize(
    "flags",
    [
        ["--temperature", "warm"],
        ["--samples", 0],
        ["--samples", 10**9],
        ["--threads", 0],
        ["--threads", 10**9],
        ["--nonsense"],
    ],
)
def test_wrong_usage_is_exit_code_2(tiny_model: ModelDir, flags: list[object]) -> None:
    error("generate", "-m", tiny_model.path, *flags, "hello", code=2)


def test_unknown_command() -> None:
    assert "No such command" in error("generat", code=2)


def test_missing_folder(tmp_path: Path) -> None:
    assert "no model folder at" in error("generate", "-m", tmp_path / "none", "hello")


def test_checkpoint_instead_of_a_model(tiny_checkpoint: Path) -> None:
    line = error("generate", "-m", tiny_checkpoint, "hello")
    assert "holds a checkpoint" in line
    assert "gpt2edge export" in line


def test_empty_prompt_without_a_begin_of_text_token(token_model: ModelDir) -> None:
    line = error("generate", "-m", token_model.path, "--token-ids", "")
    assert "the prompt is empty" in line


def test_text_for_a_model_without_a_tokenizer(token_model: ModelDir) -> None:
    assert "no tokenizer" in error("generate", "-m", token_model.path, "hello")
    assert "no tokenizer" in error("tokenize", "-m", token_model.path, "hello")


@pytest.mark.parametrize("ids", ["97", "-1", "99999999999999999999999", "1.5", "²"])
def test_token_ids_that_are_none(token_model: ModelDir, ids: str) -> None:
    error("generate", "-m", token_model.path, "--token-ids", "--", ids)


def test_prompt_too_long(tiny_model: ModelDir) -> None:
    assert "context of 128" in error("generate", "-m", tiny_model.path, "x" * 2000)
    assert "context of 128" in error("score", "-m", tiny_model.path, "x" * 2000, "y")


def test_stdin_too_large(tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2edge.cli.options.common.LARGEST_PROMPT", 100)
    assert "more than 100 bytes" in error("generate", "-m", tiny_model.path, stdin="x" * 101)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file here")
def test_endless_text(tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2edge.cli.options.common.LARGEST_TEXT", 100)
    line = error("perplexity", "-m", tiny_model.path, "--text", "/dev/zero")
    assert "/dev/zero holds more than 100 bytes" in line


def test_input_that_is_not_utf8(tiny_model: ModelDir, tmp_path: Path) -> None:
    line = error("generate", "-m", tiny_model.path, stdin=b"caf\xe9")
    assert line == "Error: stdin is not UTF-8 text: byte 0xe9 at offset 3"
    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in error("perplexity", "-m", tiny_model.path, "--text", latin)


@pytest.mark.parametrize(
    "args",
    [
        ["generate", "WRONG"],
        ["generate", "hello", "--stop", "WRONG"],
        ["solve", "hello", "--step", "WRONG"],
        ["score", "WRONG", "there"],
        ["score", "hello", "WRONG"],
        ["tokenize", "WRONG"],
    ],
)
def test_arguments_that_are_not_utf8(tiny_model: ModelDir, args: list[str]) -> None:
    given = [os.fsdecode(b"caf\xe9") if arg == "WRONG" else arg for arg in args]
    line = error(given[0], "-m", tiny_model.path, *given[1:])
    assert line == "Error: an argument is not UTF-8 text"


def test_files_that_cannot_be_read(tiny_model: ModelDir, tmp_path: Path) -> None:
    missing = tmp_path / "none.txt"
    line = error("perplexity", "-m", tiny_model.path, "--text", missing)
    assert line == f"Error: {missing}: No such file or directory"
    assert "Is a directory" in error("perplexity", "-m", tiny_model.path, "--text", tmp_path)


def test_perplexity_of_too_little(tiny_model: ModelDir) -> None:
    error("perplexity", "-m", tiny_model.path, "--text", "-", stdin="")
    args = ["perplexity", "-m", tiny_model.path, "--text", "-"]
    error(*args, "--context", 9999, stdin="some text")
    error(*args, "--context", 8, "--stride", 9, stdin="some text")
    error(*args, "--stride", 0, stdin="some text", code=2)


def test_damaged_file_is_named(tiny_model: ModelDir, tmp_path: Path) -> None:
    data = bytearray((tiny_model.path / "tokenizer.json").read_bytes())
    for name in tiny_model.manifest.files:
        (tmp_path / name).write_bytes((tiny_model.path / name).read_bytes())
    (tmp_path / "manifest.json").write_bytes((tiny_model.path / "manifest.json").read_bytes())
    data[-2] ^= 1
    (tmp_path / "tokenizer.json").write_bytes(data)
    result = invoke("inspect", tmp_path)
    assert result.exit_code == 1
    assert "Error: damaged, by its sha256: tokenizer.json" in result.stderr
    assert "DAMAGED" in result.stdout


@pytest.mark.parametrize(
    "args", [["generate", "- item"], ["tokenize", "-x y"], ["score", "a", "-b"]], ids=str
)
def test_a_text_that_begins_with_a_dash_is_told_how(args: list[str]) -> None:
    line = error(*args, code=2)
    assert line.endswith("Write a text that begins with '-' after '--'.")


def test_a_command_without_texts_gives_no_such_hint() -> None:
    assert "after '--'" not in error("doctor", "--nonsense", code=2)
