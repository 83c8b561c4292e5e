"""The engine's prefix cache in memory and on disk: the same bits, and no file believed unread."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt2edge import Engine
from gpt2edge.errors import FileFormatError, Gpt2EdgeError
from gpt2edge.runtime.cache.prompt_cache import PromptCache
from gpt2edge.runtime.options import RuntimeOptions

SYSTEM = "the hen and the fell hell hid in the well. " * 12
QUESTIONS = ("the hen", "the well", "the")


@pytest.fixture
def caching(engine: Engine) -> Engine:
    return Engine(engine.model.path, RuntimeOptions(prompt_cache_bytes=1 << 24))


def saved(engine: Engine) -> PromptCache:
    assert engine.prompt_cache is not None
    return engine.prompt_cache


def logprobs(engine: Engine, prompt: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    completion = engine.generate(prompt, max_new_tokens=8, logprobs=0)
    return completion.token_ids, completion.logprobs


def test_a_repeated_beginning_changes_no_bit(engine: Engine, caching: Engine) -> None:
    shared = len(engine.encode(SYSTEM)) - 4
    for turn, question in enumerate(QUESTIONS * 2):
        prompt = SYSTEM + question
        assert logprobs(caching, prompt) == logprobs(engine, prompt)
        reused = caching.generate(prompt, max_new_tokens=1).timing.reused_tokens
        assert reused >= shared or not turn
        assert reused >= len(engine.encode(prompt)) - 6
    assert engine.generate(SYSTEM, max_new_tokens=1).timing.reused_tokens == 0


def test_no_bit_depends_on_where_a_prompt_was_cut(engine: Engine) -> None:
    """Nor on chunks: one token left over would be rounded as a decode step rounds it."""
    caching = Engine(engine.model.path, RuntimeOptions(prompt_cache_bytes=1 << 24))
    token_ids = engine.encode(SYSTEM)[:300]
    for length in (1, 2, 3, 4, 5, 31, 32, 33, 257, 258, 259, 300):
        prompt = token_ids[:length]
        assert caching.generate(prompt, max_new_tokens=4, logprobs=0).logprobs == (
            engine.generate(prompt, max_new_tokens=4, logprobs=0).logprobs
        )


def test_a_prompt_over_the_budget_is_not_kept(engine: Engine) -> None:
    small = Engine(engine.model.path, RuntimeOptions(prompt_cache_bytes=1000))
    assert logprobs(small, SYSTEM) == logprobs(engine, SYSTEM)
    assert saved(small).nbytes == 0


def test_saved_and_loaded(engine: Engine, caching: Engine, tmp_path: Path) -> None:
    for question in QUESTIONS:
        caching.generate(SYSTEM + question, max_new_tokens=1)
    path = tmp_path / "prompts"
    saved(caching).save(path)
    saved(caching).save(path)  # replaces its own
    assert path.stat().st_mode & 0o077 == 0
    assert [item.name for item in tmp_path.iterdir()] == ["prompts"]
    other = Engine(engine.model.path, RuntimeOptions(prompt_cache_bytes=1 << 24))
    saved(other).load(path)
    sizes = [[len(edge.token_ids) for _, edge in saved(host).edges()] for host in (other, caching)]
    assert sizes[0] == sizes[1]
    for question in QUESTIONS:
        prompt = SYSTEM + question
        timing = other.generate(prompt, max_new_tokens=1).timing
        assert timing.reused_tokens >= timing.prompt_tokens - 6
        assert logprobs(other, prompt) == logprobs(engine, prompt)


def test_a_smaller_budget_forgets_what_is_longest_unused(caching: Engine, tmp_path: Path) -> None:
    for text in ("the hen", "well well well", "hell hid"):
        caching.generate(text, max_new_tokens=1)
    saved(caching).save(tmp_path / "prompts")
    budget = len(caching.encode("hell hid")) * caching._session.cache_layout.stored_bytes
    small = Engine(caching.model.path, RuntimeOptions(prompt_cache_bytes=budget))
    saved(small).load(tmp_path / "prompts")
    assert saved(small).nbytes <= budget
    assert saved(small).matched(caching.encode("hell hid")) > 0
    assert saved(small).matched(caching.encode("well")) == 0


def test_every_damaged_byte_is_seen(caching: Engine, tmp_path: Path) -> None:
    caching.generate("the hen", max_new_tokens=1)
    path = tmp_path / "prompts"
    saved(caching).save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    places = [*range(40), *random.integers(0, len(whole), 100), len(whole) - 1]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        before = saved(caching).edges()
        with pytest.raises(FileFormatError):
            saved(caching).load(path)
        assert saved(caching).edges() == before
    for size in (0, 3, 20, 60, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError):
            saved(caching).load(path)


HOSTILE = {
    "no tree": [],
    "nobody's child": [[5, [1]]],
    "its own parent": [[0, [1]]],
    "empty": [[-1, []]],
    "outside the vocabulary": [[-1, [260]]],
    "negative": [[-1, [-1]]],
    "no number": [[-1, ["1"]]],
    "a flag": [[-1, [True]]],
    "twins": [[-1, [1]], [-1, [1]]],
    "no pair": [[-1]],
    "far too large": [[-1, [1] * 100_000]],
}


@pytest.mark.parametrize("edges", HOSTILE.values(), ids=HOSTILE)
def test_hostile_trees_are_refused(caching: Engine, tmp_path: Path, edges: object) -> None:
    header = {**saved(caching)._key().header(), "edges": edges or "edges"}
    text = json.dumps(header).encode()
    path = tmp_path / "prompts"
    path.write_bytes(b"gpt2edge prefix\n" + len(text).to_bytes(8, "little") + text + b"0" * 32)
    with pytest.raises(FileFormatError, match="damaged"):
        saved(caching).load(path)


def test_other_models_and_files_are_left_alone(
    caching: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caching.generate("the hen", max_new_tokens=1)
    saved(caching).save(tmp_path / "prompts")
    other = replace(saved(caching)._key(), model=("0" * 64,))
    with monkeypatch.context() as patch:
        patch.setattr(caching.prompt_cache, "_key", lambda: other)
        with pytest.raises(FileFormatError, match="another model"):
            saved(caching).load(tmp_path / "prompts")
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    for action in (saved(caching).save, saved(caching).load):
        with pytest.raises(FileFormatError, match="is not a prompt cache"):
            action(notes)
        with pytest.raises(Gpt2EdgeError):
            action(tmp_path)
    assert notes.read_text() == "mine"
    with pytest.raises(Gpt2EdgeError, match="cannot write"):
        saved(caching).save(tmp_path / "absent" / "prompts")


def test_without_a_budget_there_is_none(engine: Engine) -> None:
    assert engine.prompt_cache is None
