"""Text to tokens and back; streaming never shows half a character."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from gpt2edge import Engine
from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.text.tokenizer import StreamDecoder, Tokenizer
from tests.runtime.models import write_tokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer(path)


def streamed(tokenizer: Tokenizer, token_ids: list[int]) -> list[str]:
    decoder = tokenizer.stream_decoder()
    return [*(decoder.push(token_id) for token_id in token_ids), decoder.finish()]


def test_round_trip(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(" hello")
    assert [tokenizer.piece(token_id) for token_id in ids] == [" he", "ll", "o"]
    assert tokenizer.decode(ids) == " hello"
    assert tokenizer.encode("") == []


def test_special_tokens_are_read_but_not_written(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("he<|endoftext|>he")
    assert len(ids) == 3
    assert ids[1] in tokenizer.special_ids
    assert tokenizer.decode(ids) == "hehe"
    assert tokenizer.piece(ids[1]) == "<|endoftext|>"


def test_an_id_that_stands_for_nothing_is_empty(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([tokenizer.vocab_size + 5]) == ""


def test_every_unicode_plane_streams_whole(tokenizer: Tokenizer) -> None:
    step = 97  # a prime, so that all values of the low byte come up in every plane
    points = [point for point in range(0x20, 0x110000, step) if not 0xD800 <= point < 0xE000]
    assert {point >> 16 for point in points} == set(range(17))
    text = "".join(map(chr, points))
    pieces = streamed(tokenizer, tokenizer.encode(text))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces if chr(0xFFFD) not in text)


def test_the_four_bytes_of_one_character_come_as_one_piece(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.encode(chr(0x1F600))[at] for at in range(4)]
    assert streamed(tokenizer, ids) == ["", "", "", "😀", ""]
    assert streamed(tokenizer, ids[:2]) == ["", "", "\ufffd"]


@given(data=st.data())
def test_any_tokens_stream_to_what_the_library_decodes(path: Path, data: st.DataObject) -> None:
    tokenizer = Tokenizer(path)
    library = tokenizers.Tokenizer.from_file(str(path))
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    assert "".join(streamed(tokenizer, ids)) == library.decode(ids, skip_special_tokens=True)


def test_a_tokenizer_without_bytes_streams_too(tmp_path: Path) -> None:
    vocab = {"[UNK]": 0, "story": 1, "##teller": 2, "old": 3}
    library = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.decoder = decoders.WordPiece()
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")
    ids = tokenizer.encode("old storyteller")
    assert streamed(tokenizer, ids) == ["old", " story", "teller", ""]
    assert tokenizer.decode(ids) == "old storyteller"


@pytest.fixture(scope="module")
def metaspace(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Words as SentencePiece marks them, and the bytes of what it does not know."""
    pieces = ["<unk>", "▁Once", "▁upon", "▁a", "▁time", "ly", "▁", "s"]
    pieces += [f"<0x{byte:02X}>" for byte in range(256)]
    vocab = {piece: at for at, piece in enumerate(pieces)}
    library = tokenizers.Tokenizer(
        models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True)
    )
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    library.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    path = tmp_path_factory.mktemp("metaspace") / "tokenizer.json"
    library.save(str(path))
    return Tokenizer(path)


def test_a_completion_keeps_the_blank_that_a_text_of_its_own_would_lose(
    metaspace: Tokenizer,
) -> None:
    def completed(prompt: list[int], token_ids: list[int]) -> list[str]:
        decoder = metaspace.stream_decoder(prompt)
        return [*(decoder.push(token_id) for token_id in token_ids), decoder.finish()]

    assert metaspace.decode([1, 2, 3, 4]) == "Once upon a time"
    assert completed([1, 2, 3], [4]) == [" time", ""]
    assert completed([1, 2] * 50, [3, 4, 5]) == [" a", " time", "ly", ""]
    assert completed([4], [5]) == ["ly", ""]
    assert completed([], [1, 2]) == ["Once", " upon", ""]
    euro = [8 + byte for byte in "€".encode()]
    assert completed([1], [*euro, 7]) == ["", "", "€", "s", ""]
    # a prompt of token ids may end within a character
    assert "".join(completed([1, *euro[:2]], [euro[2], 4])) == "€ time"


def test_a_window_shows_special_tokens_where_asked(metaspace: Tokenizer, tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_str(metaspace._tokenizer.to_str())
    library.add_special_tokens(["</s>"])
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")
    end = tokenizer.vocab_size - 1
    for skip, expected in ((True, [" a", "", " time"]), (False, [" a", "</s>", " time"])):
        decoder = tokenizer.stream_decoder([1, 2], skip_special_tokens=skip)
        assert [decoder.push(token_id) for token_id in (3, end, 4)] == expected
        whole = library.decode([1, 2, 3, end, 4], skip_special_tokens=skip)
        assert tokenizer.decode([1, 2, 3, end, 4], skip_special_tokens=skip) == whole


def test_a_piece_keeps_its_blank(metaspace: Tokenizer) -> None:
    assert [metaspace.piece(token_id) for token_id in (1, 5, 6, 8 + 10)] == [
        " Once",
        "ly",
        " ",
        "\n",
    ]
    assert metaspace.piece(8 + 0xE2) == "\ufffd"


def test_a_generation_decodes_after_its_prompt(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = Tokenizer.stream_decoder

    def noted(self: Tokenizer, prompt_ids: Sequence[int] = (), **arguments: bool) -> StreamDecoder:
        seen.append(list(prompt_ids))
        return original(self, prompt_ids, **arguments)

    monkeypatch.setattr(Tokenizer, "stream_decoder", noted)
    engine.generate("hello", max_new_tokens=1)
    assert engine.encode("hello") in seen


def test_truncation_and_padding_in_the_file_do_not_apply(path: Path, tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(path))
    library.enable_truncation(4)
    library.enable_padding(length=6)
    library.save(str(tmp_path / "tokenizer.json"))
    text = "Once upon a time"
    assert Tokenizer(tmp_path / "tokenizer.json").encode(text) == Tokenizer(path).encode(text)


WORDS = ["jardín", "ÿes", "Ğar", "Ġx", "año ", "¡"]
"""Added tokens with letters of the byte alphabet, U+00A1 to U+00FF and U+0100 to U+0143."""


@pytest.fixture(scope="module", params=["alone", "in a sequence"])
def spanish(
    request: pytest.FixtureRequest, path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    library = tokenizers.Tokenizer.from_file(str(path))
    # "¡" is the token of the byte 0xA1, too
    library.add_tokens(WORDS[:3])
    library.add_special_tokens(WORDS[3:])
    if request.param == "in a sequence":
        library.decoder = decoders.Sequence([decoders.ByteLevel()])
    changed = tmp_path_factory.mktemp("spanish") / "tokenizer.json"
    library.save(str(changed))
    return Tokenizer(changed)


def test_an_added_token_is_its_content(spanish: Tokenizer) -> None:
    ids = spanish.encode("hejardínÿesĞar ¡Ġxaño ")
    assert [spanish.piece(at) for at in ids] == ["he", *WORDS[:3], " ", "¡", "Ġx", "año "]
    assert streamed(spanish, ids) == ["he", *WORDS[:3], " ", "", "", "", ""]
    assert spanish.decode(ids) == "hejardínÿesĞar "
    assert spanish.decode(spanish.encode("naïve ño")) == "naïve ño"
    assert "".join(streamed(spanish, spanish.encode("pájaro"))) == "pájaro"  # á ends in that byte
    assert spanish.decode(spanish.encode("¡pájaro")) == "pájaro"


def test_dropout_in_the_file_does_not_apply(path: Path, tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(path))
    library.model.dropout = 0.5
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer, text = Tokenizer(tmp_path / "tokenizer.json"), "hell the he"
    assert [tokenizer.encode(text) for _ in range(8)] == [Tokenizer(path).encode(text)] * 8


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelDirError, match=r"tokenizer\.json is not a tokenizer file"):
        Tokenizer(tmp_path / "tokenizer.json")
