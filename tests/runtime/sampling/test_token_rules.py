"""Rules that force, forbid or favour tokens, worked by hand on a vocabulary of six."""

from typing import Any

import numpy as np
import pytest

from gpt2edge import SamplingParams
from gpt2edge.runtime.sampling.processors import Processing, Scope

INF = -np.inf
PLAIN = [1.0, -2.0, 3.0, 0.5, -1.0, 2.0]
END = 4


def processed(
    history: list[int], *, prompt: int = 2, limit: int | None = 9, banned: Any = (), **params: Any
) -> list[float]:
    """The logits after the parameters, where ``prompt`` tokens of ``history`` are the prompt."""
    scope = Scope(prompt_length=prompt, eos_ids=(END,), max_new_tokens=limit)
    processing = Processing(SamplingParams(**params), (), scope)
    assert processing.is_needed
    logits = np.array(PLAIN, np.float32)
    processing(logits, history, banned)
    return [float(value) for value in logits]


def changed(**logits: float) -> list[float]:
    """The plain logits but for these: ``t3=1.5`` is token 3's."""
    return [logits.get(f"t{at}", logit) for at, logit in enumerate(PLAIN)]


def only(*token_ids: int) -> list[float]:
    return [0.0 if at in token_ids else INF for at in range(len(PLAIN))]


SEQUENCES = [([3], 1.0), ([5, 0], 10.0), ([1, 5, 2], -4.0), ([0, 1, 5, 3], 7.0)]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([1, 1], changed(t3=1.5)),
        ([1, 5], changed(t3=1.5, t0=11.0, t2=-1.0)),
        ([5], changed(t3=1.5, t0=11.0)),
        ([0, 1, 5], changed(t3=8.5, t0=11.0, t2=-1.0)),
    ],
)
def test_bias_of_sequences_that_were_begun(history: list[int], expected: list[float]) -> None:
    assert processed(history, sequence_bias=SEQUENCES) == expected


def test_suppressed_tokens_never_come() -> None:
    for history in ([1, 1], [1, 1, 2, 3]):
        assert processed(history, suppress_tokens=[2, END]) == changed(t2=INF, t4=INF)


@pytest.mark.parametrize(
    ("history", "forced", "suppressed"),
    [([1, 1], None, True), ([1, 1, 3], None, False), ([1, 1], 5, True), ([1, 1, 3], 5, False)],
)
def test_suppressed_first(history: list[int], forced: int | None, suppressed: bool) -> None:
    expected = changed(t2=INF) if suppressed else PLAIN
    found = processed(history, begin_suppress_tokens=[2], forced_bos_token_id=forced)
    assert found == expected


def test_a_forced_token_after_a_prompt_of_one() -> None:
    rules: dict[str, Any] = {"forced_bos_token_id": 5, "begin_suppress_tokens": [2]}
    assert processed([1], prompt=1, **rules) == only(5)
    assert processed([1, 5], prompt=1, **rules) == changed(t2=INF)
    assert processed([1, 5, 3], prompt=1, **rules) == PLAIN


@pytest.mark.parametrize(("forced", "expected"), [(3, only(3)), ([3, END], only(3, END))])
def test_a_forced_end_is_the_last_within_the_limit(forced: Any, expected: list[float]) -> None:
    assert processed([1, 1, 2], limit=3, forced_eos_token_id=forced) == PLAIN
    assert processed([1, 1, 2, 2], limit=3, forced_eos_token_id=forced) == expected
    assert processed([1, 1, 2, 2], limit=None, forced_eos_token_id=forced) == PLAIN


def test_a_forced_end_holds_against_a_ban() -> None:
    assert processed([1, 1], limit=1, forced_eos_token_id=END, banned=[END]) == only(END)
    suppressed = processed([1, 1], limit=1, forced_eos_token_id=[3, END], suppress_tokens=[3])
    assert suppressed == only(END)


def test_an_end_grows_likelier_by_what_its_logit_is() -> None:
    decay = (1, 1.5)
    assert processed([1, 1, 2], exponential_decay_length_penalty=decay) == PLAIN
    assert processed([1, 1, 2, 2], exponential_decay_length_penalty=decay) == changed(t4=-0.5)
    third = processed([1, 1, 2, 2, 2], exponential_decay_length_penalty=decay)
    assert third == changed(t4=-1 + 1.25)
    banned = processed([1, 1, 2, 2], exponential_decay_length_penalty=decay, banned=[END])
    assert banned == changed(t4=INF)
    endless = processed([1, 1] + [2] * 5000, exponential_decay_length_penalty=(0, 100))
    assert np.isfinite(endless).all()


def test_the_prompts_own_tokens() -> None:
    found = processed([1, 2, 0], encoder_repetition_penalty=2.0)
    assert found == changed(t1=-1.0, t2=6.0)
    assert processed([1, 2, 1], encoder_no_repeat_ngram_size=2) == changed(t2=INF)
    assert processed([1, 2, 0, 3, 0], encoder_no_repeat_ngram_size=2) == PLAIN
    assert processed([1, 2, 0], encoder_no_repeat_ngram_size=3) == PLAIN


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("suppress_tokens", 5, "suppress_tokens is 5; it must be a list of token ids"),
        ("suppress_tokens", "ab", "suppress_tokens is 'ab'"),
        ("suppress_tokens", [1.5], "a token id in suppress_tokens is 1.5"),
        ("begin_suppress_tokens", [-1], "a token id in begin_suppress_tokens is -1"),
        ("sequence_bias", {1: 2.0}, "sequence_bias is {1: 2.0}; it must be a list of pairs"),
        ("sequence_bias", [[1, 2.0]], "sequence_bias is 1; it must be a list of pairs"),
        (
            "sequence_bias",
            [[[], 2.0]],
            r"sequence_bias is \[\[\[\], 2.0\]\]; it must",
        ),
        ("sequence_bias", [[[1]]], r"sequence_bias is \[\[\[1\]\]\]; it must be a list of pairs"),
        ("sequence_bias", [[[1], "x"]], "a number in sequence_bias is 'x'"),
        ("forced_bos_token_id", "a", "forced_bos_token_id is 'a'"),
        ("forced_eos_token_id", [1, None], "forced_eos_token_id is None"),
        ("exponential_decay_length_penalty", 1.5, "exponential_decay_length_penalty is 1.5"),
        ("exponential_decay_length_penalty", [1], "it must be a start and a factor"),
        ("exponential_decay_length_penalty", [1.5, 2], "the start of exponential_decay"),
        ("exponential_decay_length_penalty", [1, 0], "the factor of exponential_decay"),
        ("encoder_repetition_penalty", 0, "encoder_repetition_penalty is 0"),
        ("encoder_no_repeat_ngram_size", -1, "encoder_no_repeat_ngram_size is -1"),
    ],
)
def test_what_is_no_rule(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingParams(**{name: value})
