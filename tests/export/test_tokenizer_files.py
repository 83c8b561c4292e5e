"""What stands beside tokenizer.json counts: the exported ids are those of AutoTokenizer."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken

from gpt2edge.export.tokenizers.tokenizer import write_tokenizer
from gpt2edge.runtime.text.tokenizer import Tokenizer
from tests.export.tokenizer_folders import (
    END,
    FAST,
    FOLDERS,
    GPT2,
    TEXT,
    WARNED,
    A,
    Beside,
    cases,
    dropping,
    expected,
    library,
    write_folder,
)

RECORDED = json.loads(
    (Path(__file__).parent.parent / "data" / "tokenizer_ids.json").read_text(encoding="utf-8")
)


def exported(source: Path, vocab_size: int = 400) -> Tokenizer:
    out = source.parent / "out"
    out.mkdir()
    assert write_tokenizer(source, out, vocab_size=vocab_size)
    return Tokenizer(out / "tokenizer.json")


def key(name: str, is_whole: bool) -> str:
    return f"{name}, {'tokenizer.json' if is_whole else 'vocab.json'}"


def test_every_case_is_recorded() -> None:
    assert list(RECORDED) == [key(*case) for case in cases()]
    assert len(FOLDERS) >= 38


@pytest.mark.parametrize("case", cases(), ids=lambda case: key(*case))
def test_ids_are_those_of_transformers(case: tuple[str, bool], tmp_path: Path) -> None:
    name, is_whole = case
    tokenizer = exported(write_folder(tmp_path / "in", *FOLDERS[name], is_whole=is_whole))
    recorded = RECORDED[key(name, is_whole)]
    assert tokenizer.encode(TEXT) == recorded["ids"]
    assert sorted(tokenizer.special_ids) == recorded["special"]


@pytest.mark.interop
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("case", cases(), ids=lambda case: key(*case))
def test_transformers_reads_them_so(case: tuple[str, bool], tmp_path: Path) -> None:
    pytest.importorskip("transformers", minversion="5.0", reason="interop: needs transformers 5")
    name, is_whole = case
    folder = write_folder(tmp_path / "in", *FOLDERS[name], is_whole=is_whole)
    assert expected(folder) == RECORDED[key(name, is_whole)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *WARNED.items(),
        ("ids that leave a gap", "tokenizer_config.json gives '<b>' the id 299; it is 260"),
        ("ids that others have", "tokenizer_config.json gives '<a>' the id 7; it is 259"),
        ("a map beside tokens in the config", "special_tokens_map.json names '<d>', which is no"),
        ("prefix in the config, any class", "add_prefix_space True, tokenizer.json has False"),
    ],
)
def test_what_differs_from_a_file_is_said(
    name: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported(write_folder(tmp_path / "in", *FOLDERS[name]))
    assert words in caplog.text


@pytest.mark.parametrize(
    "name",
    ["alone", "a map", "tokens in the config", "other flags", "dropout", "added_tokens.json"],
)
def test_the_rest_is_silent(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exported(write_folder(tmp_path / "in", *FOLDERS[name]))
    # the ids up to the vocabulary of 400 have no tokens, which is told of every folder
    assert [line for line in caplog.messages if "it is never drawn" not in line] == []


def test_dropout_is_off_in_the_exported_file(tmp_path: Path) -> None:
    exported(write_folder(tmp_path / "in", dropping(library()), {}))
    model = json.loads((tmp_path / "out" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    assert model["dropout"] is None


def test_a_token_with_letters_of_the_byte_alphabet(tmp_path: Path) -> None:
    beside: Beside = {"added_tokens": {"jardín": 260}, "tokenizer_config": {"pad_token": "¿?"}}
    tokenizer = exported(write_folder(tmp_path / "in", library(), beside))
    assert tokenizer.encode("jardín¿?") == [260, 261]
    assert tokenizer.decode([260, 261, 260]) == "jardínjardín"


@pytest.mark.parametrize(("vocab_size", "known"), [(260, True), (259, False)])
def test_end_of_text_is_added_where_the_model_has_a_row_for_it(
    vocab_size: int, known: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_folder(tmp_path / "in", library(), {}, is_whole=False)
    ids = exported(source, vocab_size).encode("<|endoftext|>")
    assert (ids == [259]) is known
    assert not caplog.records


def test_a_file_with_a_byte_order_mark_is_written_without(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in", library(), {})
    data = (source / "tokenizer.json").read_bytes()
    (source / "tokenizer.json").write_bytes(b"\xef\xbb\xbf" + data)
    assert exported(source).encode("hell") == [256, 258]


def test_the_class_may_stand_in_config_json(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "in", library(prefix=True), {"config": FAST})
    assert exported(source).encode("he") == [257]


def test_a_decoder_that_the_file_lacks(tmp_path: Path) -> None:
    tokenizer = library(added=(AddedToken("<a>"),))
    tokenizer.decoder = None
    config = {**GPT2, "added_tokens_decoder": {"259": END, "260": A}}
    exported_one = exported(write_folder(tmp_path / "in", tokenizer, {"tokenizer_config": config}))
    assert exported_one.decode(exported_one.encode("hé the <a>")) == "hé the<a>"
