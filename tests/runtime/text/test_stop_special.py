"""Stop strings that hold special tokens: found in the spelled text, and never shown."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import AddedToken
from tokenizers import Tokenizer as Library

from gpt2edge import Completion, Engine
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.strategies.step_path import StepPath as Growing
from gpt2edge.runtime.search.strategies.step_path import advance
from gpt2edge.runtime.search.trees import line_beam as likeliest
from gpt2edge.runtime.text.stopping import StopMatcher, StopParams
from tests.checkpoints import write_checkpoint
from tests.runtime.models import EOS, KEYS, write_tokenizer

END = 261
STOP = "\n<|user|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the special tokens <|user|> and <|end|>."""
    hf = tmp_path_factory.mktemp("special") / "hf"
    write_checkpoint(hf, {**KEYS, "vocab_size": 262}, seed=5)
    write_tokenizer(hf / "tokenizer.json")
    library = Library.from_file(str(hf / "tokenizer.json"))
    library.add_special_tokens([AddedToken("<|user|>"), AddedToken("<|end|>")])
    library.save(str(hf / "tokenizer.json"))
    return export_checkpoint(hf, hf.parent / "onnx").path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    return Engine(folder)


class Dictation:
    """Makes the model write a given text after a prompt of one token."""

    def __init__(self, engine: Engine, text: str) -> None:
        self._token_ids = [*engine.encode(text), END]

    def __call__(
        self, token_ids: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        at = min(len(token_ids) - 1, len(self._token_ids) - 1)
        logits[:] = -100
        logits[self._token_ids[at]] = 100
        return logits


def dictated(
    engine: Engine, text: str, stop: str | list[str] | StopParams, *, special: bool = False
) -> Completion:
    return engine.generate(
        "h",
        max_new_tokens=12,
        stop=stop,
        processors=[Dictation(engine, text)],
        skip_special_tokens=not special,
    )


CASES = [
    ("ab\n<|user|>cd", STOP, "ab", 4),
    ("ab\n<|user|>cd", "<|user|>c", "ab\n", 5),
    ("ab\n<|user|><|end|>cd", "<|user|><|end|>", "ab\n", 5),
    ("ab<|end|>\n<|user|>c", STOP, "ab", 5),
    ("a\n<|end|><|user|>b\n<|user|>", STOP, "a\nb", 7),
    ("ab|>\ncd<|user|>\nef", "|>\n", "ab", 5),
    ("ab<|user|>\nef", "|>\n", "ab", 4),
    ("ab<|user|>\nef", "user", "ab", 3),
    ("ab\n<|end|>\n<|user|>c", ["\n\n", "<|end|>\n<"], "ab\n", 6),
    ("é\n<|user|>c", "é\n<|user|>", "", 4),
]


@pytest.mark.parametrize(("text", "stop", "shown", "tokens"), CASES)
def test_it_is_found_where_the_spelled_text_has_it(
    engine: Engine, text: str, stop: str | list[str], shown: str, tokens: int
) -> None:
    found = dictated(engine, text, stop)
    assert (found.text, found.finish_reason, len(found.token_ids)) == (shown, "stop", tokens)
    spelled = dictated(engine, text, stop, special=True)
    strings = [stop] if isinstance(stop, str) else stop
    ends = [at for string in strings if (at := text.find(string)) >= 0]
    assert (spelled.text, spelled.token_ids) == (text[: min(ends)], found.token_ids)


def test_all_ways_to_generate_end_there(engine: Engine) -> None:
    text = "ab\n<|user|>cd"
    arguments: dict[str, Any] = {
        "max_new_tokens": 12,
        "stop": STOP,
        "logprobs": 2,
        "processors": [Dictation(engine, text)],
    }
    expected = engine.generate("h", **arguments)
    assert expected.text == "ab"
    assert [len(expected.logprobs), len(expected.top_logprobs)] == [4, 4]
    assert engine.tokenizer is not None
    likeliest_token = expected.top_logprobs[0][0]
    assert likeliest_token.text == engine.tokenizer.piece(likeliest_token.token_id)
    stream = engine.stream("h", **arguments)
    assert [chunk.text for chunk in stream] == ["a", "b", "", ""]
    assert stream.completion.token_ids == expected.token_ids
    drawn = {**arguments, "sampling": SamplingParams(temperature=1.0, seed=3)}
    batch = engine.generate_batch(["h", "h"], n=2, **drawn)
    assert {(item.text, item.token_ids) for item in batch} == {("ab", expected.token_ids)}

    async def waiting() -> Completion:
        return await engine.stream("h", **arguments)

    awaited = asyncio.run(waiting())
    assert (awaited.text, awaited.token_ids) == ("ab", expected.token_ids)


def test_beams_end_there_too(engine: Engine) -> None:
    beams = SamplingParams(num_beams=2, early_stopping=True)
    found = engine.generate(
        "h",
        max_new_tokens=12,
        stop=STOP,
        sampling=beams,
        processors=[Dictation(engine, "ab\n<|user|>cd")],
    )
    assert (found.text, found.finish_reason, len(found.token_ids)) == ("ab", "stop", 4)


def test_what_only_looked_like_one_is_shown_without_the_special_token(engine: Engine) -> None:
    text = "ab\n<|end|>cd"
    assert dictated(engine, text, "\n<|end|>\n").text.startswith("ab\ncd")
    shown = dictated(engine, text, "\n<|end|>\n", special=True)
    assert shown.text.startswith(text)
    held = engine.generate(
        "h", max_new_tokens=4, stop="\n<|end|>cd", processors=[Dictation(engine, text)]
    )
    assert (held.text, held.finish_reason) == ("ab\n", "length")


def test_the_end_token_may_be_the_end_of_a_stop_string(engine: Engine) -> None:
    text = "ab\n<|endoftext|>"
    for special in (False, True):
        found = dictated(engine, text, "\n<|endoftext|>", special=special)
        assert (found.text, found.finish_reason, found.token_ids[-1]) == ("ab", "eos", EOS)


def test_special_tokens_are_shown_where_they_are_asked_for(engine: Engine, folder: Path) -> None:
    text = "é<|user|>b<|endoftext|>"
    assert dictated(engine, text, []).text == "éb"
    completion = dictated(engine, text, [], special=True)
    library = Library.from_file(str(folder / "tokenizer.json"))
    assert completion.text == library.decode(completion.token_ids, skip_special_tokens=False)
    assert completion.text == text
    stream = engine.stream(
        "h", max_new_tokens=12, processors=[Dictation(engine, text)], skip_special_tokens=False
    )
    assert "".join(chunk.text for chunk in stream) == text
    assert dictated(engine, text, "<|user|>", special=True).text == "é"
    assert engine.tokenizer is not None
    assert engine.tokenizer.decode(engine.encode(text), skip_special_tokens=False) == text
    with pytest.raises(ValueError, match="skip_special_tokens is 1; it must be True or False"):
        engine.generate("h", skip_special_tokens=1)  # type: ignore[arg-type]


def test_a_search_s_lines_may_end_with_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    written = iter(engine.encode("ab" + STOP))

    def dictating(logits: NDArray[np.float32]) -> NDArray[np.float64]:
        logprobs = np.full(logits.shape, -100.0)
        logprobs[:, next(written)] = 0
        return logprobs

    monkeypatch.setattr(likeliest, "log_softmax", dictating)
    (lines,) = likeliest.LineBeam(k=1, end=STOP)(["h"], SearchSession(engine))
    assert [line.text for line in lines] == ["ab" + STOP]


def test_a_step_may_end_with_one(engine: Engine) -> None:
    dictation = Dictation(engine, "ab" + STOP + "cd" + STOP + "ef")
    request = engine.request("h", max_new_tokens=12, processors=[dictation])
    path, work = Growing(request.generations[0], (0,)), SearchSession(engine)
    with work:
        advance(work, [path], STOP, steps=2)
    assert path.marks == [4, 8]
    assert path.steps(work) == ["ab\n", "cd\n"]


def test_a_matcher_shows_what_is_shown() -> None:
    matcher = StopMatcher(["b<|x|>c"])
    pieces = [("a", True), ("b", True), ("<|x|>", False), ("d", True), ("b", True), ("e", True)]
    assert [matcher.push(piece, shown=shown) for piece, shown in pieces] == [
        *("a", "", "", "bd", "", "be")
    ]
    assert matcher.matched is None
    ends = StopMatcher(["b<|x|>c"])
    assert [ends.push("ab"), ends.push("<|x|>", shown=False), ends.finish()] == ["a", "", "b"]
