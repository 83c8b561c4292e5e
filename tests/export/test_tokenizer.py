"""One tokenizer.json, whatever the checkpoint came with."""

import json
import logging
import re
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from gpt2edge import Engine
from gpt2edge.errors import ExportError
from gpt2edge.export import export_checkpoint
from gpt2edge.export.tokenizers.tokenizer import write_tokenizer

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


def test_added_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write_source(tmp_path / "in")
    (source / "added_tokens.json").write_text(json.dumps({"<b>": 16, "<a>": 15}))
    tokenizer = tokenizer_from(source, tmp_path / "out")
    assert tokenizer.encode("he<a>ll<b>").ids == [10, 15, 11, 16]
    (source / "added_tokens.json").write_text(json.dumps({"<a>": 17}))
    assert tokenizer_from(source, tmp_path / "other").encode("<a>").ids == [15]
    assert "added_tokens.json gives '<a>' the id 17; it is 15" in caplog.text


def write_json(folder: Path, **files: object) -> None:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


def test_added_tokens_are_special_only_where_a_file_says_so(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    write_json(source, added_tokens={"<a>": 15, "<b>": 16}, special_tokens_map={"pad_token": "<b>"})
    tokenizer = tokenizer_from(source, tmp_path / "out")
    ids = tokenizer.encode("he<a>ll<b>").ids
    assert ids == [10, 15, 11, 16]
    assert tokenizer.decode(ids) == "he<a>ll"


def test_added_tokens_of_the_tokenizer_config(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    tokens = {
        "14": {"content": "<|endoftext|>", "special": True, "normalized": True},
        "15": {"content": "<a>", "special": False, "lstrip": True},
        "16": {"content": "<b>", "special": True, "rstrip": True, "single_word": False},
    }
    roles = {"pad_token": {"__type": "AddedToken", "content": "<p>"}, "unk_token": None}
    config = {"added_tokens_decoder": tokens, **roles, "additional_special_tokens": ["<b>", "<c>"]}
    write_json(source, tokenizer_config=config, added_tokens={"<a>": 15})
    tokenizer = tokenizer_from(source, tmp_path / "out")
    ids = tokenizer.encode("he <a>ll<b> he<p><c><|endoftext|>").ids
    assert ids == [10, 15, 11, 16, 10, 17, 18, 14]  # <a> took the blank before it, <b> that after
    assert tokenizer.decode(ids) == "he<a>llhe"


def test_a_blank_before_the_first_word(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    write_json(source, tokenizer_config={"add_prefix_space": True})
    assert tokenizer_from(source, tmp_path / "out").encode("wo").tokens == ["Ġw", "o"]


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config": {"added_tokens_decoder": ["<a>"]}},
        {"tokenizer_config": {"added_tokens_decoder": {"15": {"special": True}}}},
        {"tokenizer_config": {"added_tokens_decoder": {"x": "<a>"}}},
        {"special_tokens_map": {"pad_token": 5}},
        {"special_tokens_map": {"additional_special_tokens": 5}},
        {"added_tokens": {"<a>": None}},
        {"added_tokens": {"": 15}},
    ],
)
def test_added_tokens_of_another_form(files: dict[str, object], tmp_path: Path) -> None:
    source = write_source(tmp_path / "in")
    write_json(source, **files)
    with pytest.raises(ExportError, match="tokenizer's files are not valid"):
        write_tokenizer(source, tmp_path, vocab_size=20)


def test_a_ready_one_is_copied(tmp_path: Path) -> None:
    tokenizer_from(write_source(tmp_path / "in"), tmp_path / "ready")
    (tmp_path / "ready" / "vocab.json").write_text("not looked at")
    tokenizer_from(tmp_path / "ready", tmp_path / "out")
    names = [tmp_path / folder / "tokenizer.json" for folder in ("ready", "out")]
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(("vocab_size", "others"), [(14, ""), (12, r" \(and 2 more are beyond\)")])
def test_ids_that_the_model_does_not_have(
    vocab_size: int, others: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="gpt2edge"):
        tokenizer_from(write_source(tmp_path / "in"), tmp_path / "out", vocab_size)
    assert re.search(rf"the id {vocab_size}{others}; .* vocab_size is {vocab_size}", caplog.text)


def test_a_token_never_given_a_row_is_refused_when_it_is_used(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    shutil.copytree(tiny_checkpoint, source)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.add_special_tokens(["[PAD]"])
    tokenizer.save(str(source / "tokenizer.json"))
    engine = Engine(export_checkpoint(source, tmp_path / "out").path)
    assert engine.generate("hello", max_new_tokens=1).token_ids
    with pytest.raises(ValueError, match="token id 512 is outside the vocabulary of 512"):
        engine.generate("hello[PAD]")


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
