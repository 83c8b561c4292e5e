"""Workspace: grows what the engine would, recomputes nothing, stops inside its budget."""

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from gpt2edge import Engine, RuntimeOptions, SamplingParams
from gpt2edge.runtime.cache.prefix_tree import PrefixTree
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.search.budget import Budget, Cost
from gpt2edge.runtime.search.search_session import SearchSession
from tests.runtime.models import KEYS, make_engine

WARM = SamplingParams(temperature=0.9, top_k=40, seed=11)
PROMPTS = ["Once upon a time", "he", "hello hello"]


def test_it_grows_what_the_engine_generates(engine: Engine) -> None:
    expected = engine.generate_batch(PROMPTS, n=3, max_new_tokens=20, sampling=WARM)
    work = SearchSession(engine)
    groups = work.sample(PROMPTS, n=3, max_new_tokens=20, sampling=WARM)
    grown = [completion for group in groups for completion in group]
    assert [c.token_ids for c in grown] == [c.token_ids for c in expected]
    assert [c.text for c in grown] == [c.text for c in expected]
    tokens = sum(len(c.token_ids) for c in expected)
    prompts = sum(len(engine.encode(prompt)) for prompt in PROMPTS) - 1  # "he" begins "hello"
    assert (work.cost.generated_tokens, work.cost.prefilled_tokens) == (tokens, prompts)
    assert work.cost.forward_calls == len(PROMPTS) + max(len(c.token_ids) for c in expected) - 1


def test_pauses_and_few_rows_change_no_token(engine: Engine) -> None:
    """Pausing, parking and resuming give the same tokens for nothing but the new ones."""
    tight = Engine(engine.model.path, RuntimeOptions(threads=1, cache_bytes=60_000))
    (expected,) = SearchSession(engine).sample(["he"], n=7, max_new_tokens=25, sampling=WARM)
    for host in (engine, tight):
        work = SearchSession(host)
        group = host.request("he", n=7, max_new_tokens=25, sampling=WARM).generations
        for length in range(3, 30, 4):
            for paused in work.grow(group, lambda g, length=length: len(g.token_ids) >= length):  # type: ignore[misc]
                assert len(paused.token_ids) <= length
        assert [tuple(g.token_ids) for g in group] == [c.token_ids for c in expected]
        if host is engine:
            assert work.cost.prefilled_tokens == len(engine.encode("he"))
    assert tight.affordable_rows(30) < 7


def test_a_fork_goes_on_from_the_same_cache(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.generate("Once upon", max_new_tokens=30, sampling=WARM)
    work = SearchSession(engine)
    (first,) = engine.request("Once upon", max_new_tokens=30, sampling=WARM).generations
    list(work.grow([first], lambda g: len(g.token_ids) == 10))
    same, other = first.fork(), first.fork([0, 1, 1])
    monkeypatch.setattr(Decoder, "prefill", None)  # any prefill would fail
    list(work.grow([same, other, first]))
    assert same.token_ids == first.token_ids
    assert other.token_ids[:10] == first.token_ids[:10]
    assert other.token_ids != first.token_ids
    assert same.completion().text == whole.text
    assert work.cost.prefilled_tokens == len(first.prompt_ids)


@pytest.mark.parametrize("limit", [1, 7, 20])
def test_limits_are_never_exceeded(engine: Engine, limit: int) -> None:
    for budget, field in (
        (Budget(tokens=limit), "generated_tokens"),
        (Budget(forward_calls=limit), "forward_calls"),
    ):
        with SearchSession(engine, budget) as work:
            work.sample(PROMPTS, n=2, max_new_tokens=40, sampling=WARM)
        assert 0 < getattr(work.cost, field) <= limit
        assert work.stopped == ("tokens" if budget.tokens else "forward_calls")


def test_a_deadline_by_the_clock_that_was_given(engine: Engine) -> None:
    ticks = iter(range(1000))
    with SearchSession(engine, Budget(seconds=10, clock=lambda: float(next(ticks)))) as work:
        work.sample(["he"], max_new_tokens=200, sampling=WARM)
    assert work.stopped == "seconds"
    assert 5 <= work.cost.generated_tokens <= 10


def test_ctrl_c_ends_the_block_and_other_errors_do_not(engine: Engine) -> None:
    with SearchSession(engine) as work:
        raise KeyboardInterrupt
    assert work.stopped == "interrupted"
    assert work.cost == Cost(wall_s=work.cost.wall_s) or work.cost.generated_tokens == 0
    with pytest.raises(ZeroDivisionError), SearchSession(engine):
        raise ZeroDivisionError


@pytest.mark.parametrize("field", ["tokens", "forward_calls", "seconds"])
def test_a_budget_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"the budget's {field} is 0"):
        Budget(**cast("dict[str, Any]", {field: 0}))


def test_a_search_needs_a_tokenizer(tmp_path: Path) -> None:
    engine = make_engine(tmp_path, {**KEYS, "bos_token_id": None}, tokenizer=False)
    with pytest.raises(ValueError, match="has no tokenizer"):
        SearchSession(engine)


def test_prefixes_come_back_to_the_bit_and_each_token_is_kept_once(engine: Engine) -> None:
    rng = np.random.default_rng(3)
    decoder = engine.decoder(rows=2, max_length=64)
    prefixes = PrefixTree(1 << 30)
    stem = rng.integers(0, 250, 20).tolist()
    texts = [[*stem, 252 + at, *rng.integers(0, 250, 14)] for at in range(4)] + [
        stem[:12],
        stem[:5],
    ]
    rows = []
    for text in texts:
        decoder.cache.truncate(0, 0)
        decoder.prefill(0, text)
        prefixes.store(decoder.cache, 0, text)
        rows.append(decoder.cache.read(0, 0, len(text)))
    assert sum(len(edge.token_ids) for _, edge in prefixes.edges()) == 20 + 4 * 15
    for text, row in zip(texts, rows, strict=True):
        assert prefixes.restore(decoder.cache, 1, [*text, 251]) == len(text)
        assert np.allclose(decoder.cache.read(1, 0, len(text)), row, atol=1e-5)
    assert prefixes.matched([251, *stem]) == 0
    assert prefixes.matched(stem[:9]) == 9
    budget = decoder.cache.layout.row_bytes(64)
    small = PrefixTree(budget)
    for text in texts[:4]:
        decoder.cache.truncate(0, 0)
        decoder.prefill(0, text)
        small.store(decoder.cache, 0, text)
        assert small.nbytes <= budget
        assert small.matched(text) == len(text)
    assert small.matched(texts[0]) == 20


def test_a_stream_decoder_copies_half_a_character(engine: Engine) -> None:
    assert engine.tokenizer is not None
    token_ids = engine.tokenizer.encode("😀")
    decoder = engine.tokenizer.stream_decoder()
    decoder.push(token_ids[0])
    twin = copy.copy(decoder)
    assert "".join(twin.push(token_id) for token_id in token_ids[1:]) == "😀"
    assert "".join(decoder.push(token_id) for token_id in token_ids[1:]) == "😀"


def test_an_edge_is_split_where_its_child_begins_with_the_new_token(engine: Engine) -> None:
    decoder = engine.decoder(rows=2, max_length=16)
    prefixes = PrefixTree(1 << 30)
    texts = [[1, 2, 3, 4], [1, 2, 3, 4, 9, 5], [1, 2, 3, 4, 8], [1, 2, 9, 5, 6], [1, 2]]
    rows = []
    for text in texts:
        decoder.cache.truncate(0, 0)
        decoder.prefill(0, text)
        prefixes.store(decoder.cache, 0, text)
        rows.append(decoder.cache.read(0, 0, len(text)))
    for text, row in zip(texts, rows, strict=True):
        assert prefixes.restore(decoder.cache, 1, text) == len(text)
        assert np.allclose(decoder.cache.read(1, 0, len(text)), row, atol=1e-5)
    assert sum(len(edge.token_ids) for _, edge in prefixes.edges()) == 10


def test_seconds_are_those_since_it_began(engine: Engine) -> None:
    times = iter([50.0, 52.5])
    work = SearchSession(engine, Budget(clock=lambda: next(times)))
    assert work.cost.wall_s == 2.5
