"""One tokenizer.json, whatever the checkpoint came with."""

import json
import logging
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from gpt2edge.errors import ExportError
from gpt2edge.export.tokenizer import write_tokenizer

MERGES = "#version: 0.2\nh e\nl l\nhe ll\nĠ w\n"
TOKENS = [*"hewlordĠ!#", "he", "ll", "hell", "Ġw", "<|endoftext|>"]
VOCAB = {token: token_id for token_id, token in enumerate(TOKENS)}


def write_source(
    folder: Path, vocab: str = "vocab.json", merges: str | None = "merges.txt"
) -> Path:
    folder.mkdir()
    (folder / vocab).write_text(json.dumps(VOCAB))
    if merges:
        (folder / merges).write_text(MERGES)
    return folder


def tokenizer_from(source: Path, out: Path, vocab_size: int = 20) -> Tokenizer:
    out.mkdir()
    assert write_tokenizer(source, out, vocab_size=vocab_size)
    return Tokenizer.from_file(str(out / "tokenizer.json"))


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
def test_built_from_vocabulary_and_merges(names: tuple[str, str], tmp_path: Path) -> None:
    tokenizer = tokenizer_from(write_source(tmp_path / "in", *names), tmp_path / "out")
    encoding = tokenizer.encode("hello world<|endoftext|>!")
    assert encoding.tokens == ["hell", "o", "Ġw", "o", "r", "l", "d", "<|endoftext|>", "!"]
    assert tokenizer.decode(encoding.ids, skip_special_tokens=False) == "hello world<|endoftext|>!"
    assert tokenizer.decode(encoding.ids) == "hello world!"


def test_a_merge_that_looks_like_a_comment(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    (source / "vocab.json").write_text(json.dumps({**VOCAB, "##": len(VOCAB)}))
    (source / "merges.txt").write_text(MERGES + "# #\n")
    assert tokenizer_from(source, tmp_path / "out").encode("##").tokens == ["##"]


def test_added_tokens(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    (source / "added_tokens.json").write_text(json.dumps({"<b>": 16, "<a>": 15}))
    tokenizer = tokenizer_from(source, tmp_path / "out")
    assert tokenizer.encode("he<a>ll<b>").ids == [10, 15, 11, 16]
    (source / "added_tokens.json").write_text(json.dumps({"<a>": 17}))
    with pytest.raises(ExportError, match="'<a>' the id 17"):
        write_tokenizer(source, tmp_path, vocab_size=20)


def test_a_ready_one_is_copied(tmp_path: Path) -> None:
    tokenizer_from(write_source(tmp_path / "in"), tmp_path / "ready")
    (tmp_path / "ready" / "vocab.json").write_text("not looked at")
    tokenizer_from(tmp_path / "ready", tmp_path / "out")
    names = [tmp_path / folder / "tokenizer.json" for folder in ("ready", "out")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_ids_that_the_model_does_not_have(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    with pytest.raises(ExportError, match=r"'<\|endoftext\|>' the id 14.* vocab_size is 14"):
        write_tokenizer(source, tmp_path, vocab_size=14)


@pytest.mark.parametrize(
    ("vocab", "reason"),
    [("vocab.json", "without merges.txt"), ("notes.json", "no tokenizer files")],
)
def test_none_is_fine_and_said(
    vocab: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_source(tmp_path / "in", vocab, None)
    with caplog.at_level(logging.WARNING, logger="gpt2edge"):
        assert not write_tokenizer(source, tmp_path, vocab_size=20)
    assert reason in caplog.text
    assert not (tmp_path / "tokenizer.json").exists()


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_unreadable_files(file: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    (source / file).write_text('{"broken"\nx\n')
    with pytest.raises(ExportError, match="tokenizer's files are not valid"):
        write_tokenizer(source, tmp_path, vocab_size=20)
