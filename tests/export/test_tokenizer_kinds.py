"""Tokenizers of every kind give the ids of their own library, stored in ``tests/data``."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from gpt2edge.cli.app import cli
from gpt2edge.errors import ExportError
from gpt2edge.export import export_checkpoint
from gpt2edge.export.tokenizers.options import TokenizerOptions
from gpt2edge.export.tokenizers.tokenizer import write_tokenizer
from gpt2edge.graph.protobuf import field, number
from gpt2edge.runtime.text.tokenizer import Tokenizer
from tests.checkpoints import SMALL, write_checkpoint

KINDS: Final = Path(__file__).resolve().parents[1] / "data" / "tokenizers"
NAMES: Final = sorted(path.name for path in KINDS.iterdir())
SIZES: Final = {"tiktoken": 512, "llmc": 512}
GPT2_RULE: Final = TokenizerOptions(pattern="gpt2")


def read(
    place: Path, out: Path, options: TokenizerOptions = GPT2_RULE, size: int = 500
) -> Tokenizer:
    out.mkdir()
    assert write_tokenizer(place, out, vocab_size=size, options=options)
    return Tokenizer(out / "tokenizer.json")


def cases(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((KINDS / name / "expected.json").read_text())
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_ids_and_texts_are_those_of_the_tokenizers_own_library(name: str, tmp_path: Path) -> None:
    if name == "meta-pkl":
        pytest.importorskip("gpt2edge.export.sources.pickled")
    tokenizer = read(KINDS / name, tmp_path / "out", size=SIZES.get(name, 500))
    assert cases(name)
    for case in cases(name):
        ids = tokenizer.encode(case["text"])
        assert ids == case["ids"], case["text"]
        skip = name not in ("tiktoken", "llmc")  # those decode special tokens, too
        decoded = tokenizer.decode(ids, skip_special_tokens=skip)
        if case["decoded"] is not None:
            assert decoded == case["decoded"]
        stream = tokenizer.stream_decoder(skip_special_tokens=skip)
        assert "".join(map(stream.push, ids)) + stream.finish() == decoded


@pytest.mark.parametrize("name", ["unigram/spiece.model", "bert/vocab.txt", "words/vocab.json"])
def test_one_file_of_a_folder_can_be_given(name: str, tmp_path: Path) -> None:
    tokenizer = read(KINDS / name, tmp_path / "out")
    case = cases(name.split("/")[0])[0]
    assert tokenizer.encode(case["text"]) == case["ids"]


def test_words_that_end_in_a_mark_are_not_read_as_bytes(tmp_path: Path) -> None:
    tokenizer = read(KINDS / "words", tmp_path / "out")
    text = "The Wolf said: How many loaves?"
    assert tokenizer.decode(tokenizer.encode(text)) == "the wolf said : how many loaves ?"


def test_lower_case_is_said_by_a_file_or_by_the_caller(tmp_path: Path) -> None:
    loud, quiet = ("ONCE UPON A TIME", "once upon a time")
    plain = read(KINDS / "unigram", tmp_path / "plain")
    lower = read(KINDS / "unigram", tmp_path / "lower", TokenizerOptions(lowercase=True))
    source = shutil.copytree(KINDS / "unigram", tmp_path / "source")
    (source / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    said = read(source, tmp_path / "said")
    kept = read(source, tmp_path / "kept", TokenizerOptions(lowercase=False))
    assert lower.encode(loud) == said.encode(loud) == plain.encode(quiet) != plain.encode(loud)
    assert kept.encode(loud) == plain.encode(loud)
    cased = read(KINDS / "bert", tmp_path / "cased", TokenizerOptions(lowercase=False))
    assert cased.encode("ONCE") != read(KINDS / "bert", tmp_path / "bert").encode("ONCE")


def test_a_file_of_ranks_needs_the_name_of_a_rule(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not write_tokenizer(KINDS / "tiktoken", tmp_path, vocab_size=512)
    assert "tiny.tiktoken does not say how a text is cut into words" in caplog.text
    assert "--tokenizer-pattern gpt2" in caplog.text


def test_ranks_that_no_merge_makes_are_looked_up_as_words(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "x.tiktoken").write_text("YQ== 0\nYg== 1\nYw== 2\nYWJj 3\n")  # a b c abc
    tokenizer = read(source, tmp_path / "out", size=5)
    assert tokenizer.encode("abc") == [3]
    assert tokenizer.encode("abca") == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab.txt": "[PAD]\na\n"}, r"vocab.txt has no '\[UNK\]'"),
        ({"vocab.txt": b"\xff\xfe[UNK]"}, "is not UTF-8"),
        ({"spiece.model": b"<html>not found</html>"}, "not valid: "),
        ({"spiece.model": b""}, "it is not a SentencePiece model"),
        ({"spiece.model": field(1, field(1, b"a"))}, "has 0 pieces for the unknown"),
        ({"spiece.model": field(1, number(1, 5))}, "field 1 has wire type 0"),
        ({"spiece.model": field(1, field(1, b"a" * 2000))}, "a piece has 2000 bytes"),
        ({"gpt2_tokenizer.bin": b"\0" * 1024}, "is not llm.c's tokenizer"),
        ({"gpt2_tokenizer.bin": b"\0"}, "shorter than the header"),
        ({"x.tiktoken": "YQ== 0\n!! 1\n"}, "x.tiktoken, line 2, is not a token and its rank"),
    ],
)
def test_a_file_of_another_form(
    files: dict[str, str | bytes], message: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ExportError, match=message):
        write_tokenizer(tmp_path, tmp_path, vocab_size=20, options=GPT2_RULE)


def test_types_of_sentencepiece_that_are_not_read(tmp_path: Path) -> None:
    unknown = field(1, field(1, b"<unk>"), number(3, 2))
    for settings, message in (
        (field(2, number(3, 4)), "is of model type 4"),
        (field(2, number(24, 1)), "marks blanks behind words"),
        (field(1, field(1, b"a"), number(3, 5)), "marked as unused"),
    ):
        (tmp_path / "spiece.model").write_bytes(unknown + settings)
        with pytest.raises(ExportError, match=message):
            write_tokenizer(tmp_path, tmp_path, vocab_size=20)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"vocab.txt": "[UNK]", "tokenizer_class": "BertJapaneseTokenizer"}, "needs fugashi"),
        ({"vocab.json": '{"a</w>": 0}', "tokenizer_class": "BioGptTokenizer"}, "needs sacremoses"),
        ({"tokenizer.pkl": "x"}, "no reader for tokenizer.pkl"),
        ({"vocab.json": '{"ab": 0}'}, "neither byte-level BPE nor one of characters"),
        ({"vocab.json": '{"a": 1}'}, "neither byte-level BPE nor one of characters"),
    ],
)
def test_why_a_model_works_on_token_ids_only(
    files: dict[str, str], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"tokenizer_class": files.pop("tokenizer_class", None)}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    if "vocab.json" in files:
        (tmp_path / "merges.txt").write_text("") if config["tokenizer_class"] else None
    assert not write_tokenizer(tmp_path, tmp_path, vocab_size=20)
    assert reason in caplog.text


def test_bytes_without_a_token_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with caplog.at_level(logging.WARNING, logger="gpt2edge"):
        assert write_tokenizer(tmp_path, tmp_path, vocab_size=2)
    assert "vocab.json lacks 254 of the 256 bytes" in caplog.text


def test_a_symbol_outside_the_vocabulary_is_one_line(tmp_path: Path) -> None:
    size = len(json.loads((KINDS / "characters" / "vocab.json").read_text()))
    source = tmp_path / "in"
    write_checkpoint(source, {**SMALL, "vocab_size": size})
    shutil.copy(KINDS / "characters" / "vocab.json", source)
    model = export_checkpoint(source, tmp_path / "out").path
    result = CliRunner().invoke(cli, ["tokenize", "-m", str(model), "the §"])
    assert result.exit_code == 1
    assert "the model's vocabulary has no '§'" in result.output
    assert "Traceback" not in result.output
