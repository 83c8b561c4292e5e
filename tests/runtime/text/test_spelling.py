"""Text that a tokenizer drops is never lost in silence."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from gpt2edge import Engine
from gpt2edge.cli.options.settings import _word
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.text.spelling import first_unread, spells
from gpt2edge.runtime.text.tokenizer import Tokenizer
from tests.checkpoints import write_checkpoint
from tests.runtime.models import KEYS, write_tokenizer

Make = Callable[[Path], None]


def without(*letters: str) -> Make:
    """The tests' byte-level tokenizer with no tokens for these bytes."""

    def make(path: Path) -> None:
        write_tokenizer(path)
        keys = json.loads(path.read_text(encoding="utf-8"))
        model = keys["model"]
        kept = [piece for piece in model["vocab"] if not set(piece) & set(letters)]
        model["vocab"] = {piece: at for at, piece in enumerate(kept)}
        model["merges"] = [
            pair for pair in model["merges"] if not set("".join(pair)) & set(letters)
        ]
        keys["added_tokens"][0]["id"] = len(kept)
        path.write_text(json.dumps(keys), encoding="utf-8")

    return make


def unknown_words(path: Path) -> None:
    library = tokenizers.Tokenizer(
        models.WordLevel({"[UNK]": 0, "once": 1, "upon": 2}, unk_token="[UNK]")
    )
    library.normalizer = normalizers.Lowercase()
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.save(str(path))


def plain_metaspace(path: Path) -> None:
    library = tokenizers.Tokenizer(models.BPE(vocab={"▁": 0, "a": 1, "b": 2}, merges=[]))
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    library.save(str(path))


def made(make: Make, folder: Path) -> Tokenizer:
    make(folder / "tokenizer.json")
    return Tokenizer(folder / "tokenizer.json")


@pytest.mark.parametrize(
    ("make", "text", "lost"),
    [
        (without("é"), "caf\u9000", "'\u9000' (U+9000)"),
        (without("Ã"), "café", "'é' (U+00E9)"),
        (without("a"), "banana", "'a' (U+0061)"),
        (without("a"), "bbba", "'a' (U+0061)"),
        (without("Ċ"), "one\ntwo", "'\\n' (U+000A)"),
        (without("Ġ"), "one two", "' ' (U+0020)"),
        (unknown_words, "Once upon a time", "'a' (U+0061)"),
        (plain_metaspace, "a c", "'c' (U+0063)"),
    ],
)
def test_lost_text_is_said_once(
    make: Make, text: str, lost: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = made(make, tmp_path)
    with caplog.at_level(logging.WARNING, logger="gpt2edge"):
        tokenizer.encode("")
        tokenizer.encode(text)
        tokenizer.encode(text)
    (record,) = caplog.records
    assert f"the tokenizer has no token for {lost}: the model does not read" in record.getMessage()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (without("é"), "café\n one\r\n\ttwo<|endoftext|>😀 " + "".join(map(chr, range(1, 0x250)))),
        (unknown_words, "ONCE  upon\nonce"),
        (plain_metaspace, " a  b\u2581ab"),
    ],
)
def test_text_that_is_read_is_not_warned_of(
    make: Make, text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made(make, tmp_path).encode(text)
    assert not caplog.records


def test_what_counts_as_the_same_text() -> None:
    assert spells("a b", "a b")
    assert spells(" a b", "a b")
    assert spells(" a<x> b", "a<x>b")
    assert not spells("a b", "a b ")
    assert not spells("a b", "a\nb")
    assert not spells("once", "Once")
    assert first_unread("once", "Once", "once") is None
    assert first_unread("ab", "abc", "abc") == "c"
    assert first_unread("abX", "ab", "ab") == "b"


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A model without tokens for Cyrillic letters."""
    folder = tmp_path_factory.mktemp("lossy")
    write_checkpoint(folder / "hf", KEYS, seed=5)
    without("Ð", "¯")(folder / "hf" / "tokenizer.json")
    return Engine(export_checkpoint(folder / "hf", folder / "onnx").path)


def test_bits_per_byte_are_those_of_the_whole_text(
    lossy: Engine, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert lossy.perplexity("hello there").bits_per_byte is not None
    assert not caplog.records
    assert engine.perplexity("hello ЫЫ there").bits_per_byte is not None
    assert lossy.perplexity("hello ЫЫ there").bits_per_byte is None
    assert ["no token for 'Ы'" in r.getMessage() for r in caplog.records] == [True, False]
    assert "bits per byte" in caplog.records[1].getMessage()
    assert lossy.perplexity(lossy.encode("hello")).bits_per_byte is None
    assert len(caplog.records) == 2


def test_a_text_without_tokens_is_not_scored(
    lossy: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    for call in (lambda: lossy.score("he", ["ЯЯ"]), lambda: lossy.perplexity("ЯЯ")):
        with pytest.raises(ValueError, match="no token for any character of 'ЯЯ'"):
            call()
    assert lossy.generate("ЯЯ", max_new_tokens=1).timing.prompt_tokens == 1
    assert len(caplog.records) == 1
    with pytest.raises(ValueError, match="--bad-word is 'Я'; the tokenizer has no token for it"):
        _word("Я", lossy)
