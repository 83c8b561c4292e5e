"""Log-probabilities and perplexity against plain computations."""

import numpy as np
import pytest

from gpt2edge import GREEDY, Engine, SamplingParams
from tests.runtime.models import EOS


def test_logprobs_are_the_models_own(engine: Engine) -> None:
    hot = SamplingParams(temperature=2.0, top_k=5, seed=2)
    done = engine.generate("he", max_new_tokens=6, sampling=hot, logprobs=3)
    logits = engine.logits([*engine.encode("he"), *done.token_ids]).astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    start = len(engine.encode("he")) - 1
    for step, token_id in enumerate(done.token_ids):
        row = expected[start + step]
        assert done.logprobs[step] == pytest.approx(row[token_id], abs=1e-4)
        top = done.top_logprobs[step]
        assert [entry.token_id for entry in top] == np.argsort(-row)[:3].tolist()
        assert [entry.logprob for entry in top] == pytest.approx(np.sort(row)[::-1][:3], abs=1e-4)
    assert engine.generate("he", max_new_tokens=2).logprobs == ()


def test_score_is_what_generation_says(engine: Engine) -> None:
    done = engine.generate("Once upon", max_new_tokens=12, sampling=GREEDY, logprobs=0)
    greedy, other, one = engine.score("Once upon", [done.token_ids, " a time", [5]])
    assert greedy.is_greedy
    assert greedy.logprobs == pytest.approx(done.logprobs, abs=1e-4)
    assert greedy.logprob == pytest.approx(sum(done.logprobs), abs=1e-3)
    assert not other.is_greedy
    assert (len(other.logprobs), other.text) == (len(engine.encode(" a time")), " a time")
    assert one.logprob == engine.score("Once upon", [[5]])[0].logprob


@pytest.mark.parametrize(("context", "stride"), [(32, 16), (32, 31), (40, 7), (1024, 512)])
def test_perplexity_equals_a_plain_computation(engine: Engine, context: int, stride: int) -> None:
    token_ids = np.random.default_rng(4).integers(0, 256, 150).tolist()
    ids = [EOS, *token_ids]
    losses: dict[int, float] = {}
    for start in range(0, len(ids), stride):
        window = ids[start : start + context]
        logits = engine.logits(window).astype(np.float64)
        for at in range(1, len(window)):
            row = logits[at - 1]
            loss = np.log(np.exp(row - row.max()).sum()) + row.max() - row[window[at]]
            losses.setdefault(start + at, loss)
        if start + context >= len(ids):
            break
    steps: list[tuple[int, int]] = []
    result = engine.perplexity(
        token_ids,
        context=context,
        stride=stride,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[-1] == (150, 150)
    assert steps == sorted(steps)
    values = np.array(list(losses.values()))
    assert result.tokens == len(values) == 150
    assert result.mean_nll == pytest.approx(values.mean(), rel=1e-5)
    assert result.perplexity == pytest.approx(np.exp(values.mean()), rel=1e-4)
    error = values.std(ddof=1) / np.sqrt(150)
    assert result.standard_error == pytest.approx(result.perplexity * error, rel=1e-4)
    assert result.bits_per_byte is None


def test_bits_per_byte_counts_the_text(engine: Engine) -> None:
    text = "A short text with ünïcödé."
    result = engine.perplexity(text)
    expected = result.mean_nll * result.tokens / np.log(2) / len(text.encode())
    assert result.bits_per_byte == pytest.approx(expected)


def test_windows_side_by_side_leave_out_their_first_tokens(engine: Engine) -> None:
    token_ids = np.random.default_rng(6).integers(0, 256, 99).tolist()
    result = engine.perplexity(token_ids, context=25, stride=25)
    assert result.tokens == 4 * 24
    assert engine.perplexity("hello " * 30, context=25, stride=25).bits_per_byte is None


def test_a_completion_is_greedy_where_every_token_is(engine: Engine) -> None:
    """The first token alone, the later ones alone, and both."""
    done = engine.generate("Once upon", max_new_tokens=3, sampling=GREEDY).token_ids
    other = [(token + 1) % 256 for token in done]
    greedy = [[*done], [other[0], *done[1:]], [done[0], other[1]], [*done[:2], other[2]]]
    assert [score.is_greedy for score in engine.score("Once upon", greedy)] == [
        *(True, False, False, False)
    ]
