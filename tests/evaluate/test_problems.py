"""LAMBADA and BLiMP: what is asked, against full passes; and files that are neither."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir
from gpt2edge.evaluate import read_blimp, read_lambada
from gpt2edge.evaluate.problems import accuracy, last_words, minimal_pairs


@pytest.fixture(scope="module")
def engine(tiny_model: ModelDir) -> Engine:
    return gpt2edge.load(tiny_model.path)


def written(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def archive(path: Path, files: dict[str, list[tuple[str, str]]]) -> Path:
    """BLiMP as it is published, with the folder of a workshop's tool in it."""
    with zipfile.ZipFile(path, "w") as file:
        for name, pairs in files.items():
            rows = [{"sentence_good": good, "sentence_bad": bad} for good, bad in pairs]
            text = "\n".join(json.dumps(row) for row in rows)
            file.writestr(f"blimp/data/{name}.jsonl", text)
            file.writestr(f"__MACOSX/blimp/data/._{name}.jsonl", b"\x00\x05")
    return path


def test_last_words_are_the_greedy_completion(engine: Engine) -> None:
    """One passage ends as the model would end it, one does not."""
    start = "the king and the"
    done = engine.generate(start, max_new_tokens=30, sampling=gpt2edge.GREEDY).text
    liked = next(start + done[:end] for end in range(1, 30) if _splits(engine, start, done[:end]))
    assert list(last_words(engine, [liked, f"{start} qqqqq"])) == [True, False]


def _splits(engine: Engine, start: str, done: str) -> bool:
    """Tell whether ``start + done`` ends in a new word whose tokens all are the likeliest."""
    before, _, word = (start + done).rpartition(" ")
    if not word or before == start.rpartition(" ")[0]:
        return False
    ids, tail = engine.encode(before), engine.encode(" " + word, add_special_tokens=False)
    logits = engine.logits([*ids, *tail])
    return bool((logits[len(ids) - 1 : -1].argmax(axis=1) == tail).all())


def test_a_long_passage_loses_its_beginning(engine: Engine) -> None:
    long = "the king " * 200 + "slept"
    room = engine.config.n_positions + 1 - len(engine.encode(" slept", add_special_tokens=False))
    ids = engine.encode("the king " * 200)[:-1][-room:]
    (score,) = engine.score(ids, [" slept"])
    assert list(last_words(engine, [long])) == [score.is_greedy]


def test_pairs_are_won_by_the_more_probable_sentence(engine: Engine) -> None:
    pairs = [("the king slept", "king the slept"), ("king the slept", "the king slept")]

    def logprob(text: str) -> float:
        bos = engine.config.bos_token_id
        assert bos is not None
        ids = [bos, *engine.encode(text, add_special_tokens=False)]
        logits = engine.logits(ids).astype(np.float64)
        logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(logprobs[np.arange(len(ids) - 1), ids[1:]].sum())

    expected = [logprob(good) > logprob(bad) for good, bad in pairs]
    assert list(minimal_pairs(engine, pairs)) == expected
    assert sum(expected) == 1


def test_files_are_read_as_published(tmp_path: Path) -> None:
    passages = written(tmp_path / "lambada.jsonl", ["a b", "c d\u2019s e", "f g"])
    assert read_lambada(passages) == ["a b", "c d\u2019s e", "f g"]
    assert read_lambada(passages, 2) == ["a b", "c d\u2019s e"]
    pairs = {"b": [("g", "h"), ("i", "j")], "a": [("c", "d"), ("e", "f")]}
    path = archive(tmp_path / "blimp.zip", pairs)
    assert read_blimp(path) == [("c", "d"), ("e", "f"), ("g", "h"), ("i", "j")]
    assert read_blimp(path, 1) == [("c", "d"), ("g", "h")]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for text, words in (
        ("no JSON", "line 1: this is not a JSON object"),
        ('{"text": "a b"}\n[]', "line 2: this is not a JSON object"),
        ('{"words": "a"}', "has no text 'text'"),
        ('{"text": "single"}', "a single word"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_lambada(path)
    with pytest.raises(ValueError, match="not a zip archive"):
        read_blimp(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("README", "")
    with pytest.raises(ValueError, match=r"no \.jsonl file"):
        read_blimp(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.jsonl", '{"sentence_good": "a"}')
    with pytest.raises(ValueError, match="no text 'sentence_bad'"):
        read_blimp(path)


def test_accuracy_has_the_error_of_a_share() -> None:
    found = accuracy([True] * 3 + [False])
    assert found.value == 0.75
    assert found.standard_error == pytest.approx((0.75 * 0.25 / 3) ** 0.5)
