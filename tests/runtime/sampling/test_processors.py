"""Penalties and bans, each against its definition worked out token by token."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.processors import Processing, Scope, ngram_ends, word_ends

HISTORIES = st.lists(st.integers(0, 4), max_size=14)


def processed(
    history: Sequence[int], banned: Sequence[int] = (), scope: Scope | None = None, **params: Any
) -> list[float]:
    """Five logits, 1 to 5, after processing."""
    logits = np.arange(1, 6, dtype=np.float32)
    Processing(SamplingParams(**params), (), scope)(logits, history, banned)
    return [float(value) for value in logits]


@given(HISTORIES, st.integers(1, 4))
def test_no_ngram_comes_twice(history: list[int], size: int) -> None:
    def ngrams(tokens: list[int]) -> list[tuple[int, ...]]:
        return [tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)]

    there = ngrams(history)
    expected = {token for token in range(5) if set(ngrams([*history, token])[-1:]) & set(there)}
    assert set(ngram_ends(np.array(history, np.int64), size).tolist()) == expected


@example([0, 0], [[0, 0, 0], [0, 0, 0, 0]])  # a word longer than all that was written
@given(HISTORIES, st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1))
def test_no_bad_word_is_completed(history: list[int], words: list[list[int]]) -> None:
    def ends_with(tokens: list[int], word: list[int]) -> bool:
        return len(word) <= len(tokens) and tokens[len(tokens) - len(word) :] == word

    expected = {t for t in range(5) if any(ends_with([*history, t], word) for word in words)}
    found = word_ends(np.array(history, np.int64), [tuple(word) for word in words])
    assert set(found) == expected


def test_a_lone_end_token_is_no_bad_word() -> None:
    scope = Scope(eos_ids={3})
    words = [[3], [2], [1, 3]]
    assert processed([0], scope=scope, bad_words_ids=words) == [1, 2, -np.inf, 4, 5]
    assert processed([1], scope=scope, bad_words_ids=words) == [1, 2, -np.inf, -np.inf, 5]


@given(HISTORIES, st.integers(0, 14), st.floats(-2, 2), st.floats(-2, 2))
def test_presence_and_frequency_count_generated_tokens(
    history: list[int], prompt_length: int, presence: float, frequency: float
) -> None:
    generated = history[prompt_length:]
    expected = [
        1 + token - frequency * generated.count(token) - presence * (token in generated)
        for token in range(5)
    ]
    found = processed(
        history,
        scope=Scope(prompt_length=prompt_length),
        presence_penalty=presence,
        frequency_penalty=frequency,
    )
    assert np.allclose(found, expected, atol=1e-5)


def test_the_order_is_bias_then_penalty_then_bans() -> None:
    params: dict[str, Any] = {"logit_bias": {0: 1.0, 4: 100.0}, "repetition_penalty": 2.0}
    assert processed([0, 4], **params) == [1, 2, 3, 4, 52.5]
    assert processed([0, 4], [4], **params) == [1, 2, 3, 4, -np.inf]
    assert processed([0, 4], no_repeat_ngram_size=1, **params) == [-np.inf, 2, 3, 4, -np.inf]
