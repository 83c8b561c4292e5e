"""Beam search against every sequence there is, and against a plain search without a cache."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2edge import Engine, SamplingParams
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.sampling.processors import Processing, Scope
from gpt2edge.runtime.text.stopping import StopParams
from tests.runtime.models import EOS

PROMPTS = ["Once upon a time", "he", "the hell of it", "z"]
SETTINGS: list[tuple[float, dict[str, Any]]] = [
    (6.0, {"num_beams": 2}),
    (8.0, {"num_beams": 3, "length_penalty": 2.0, "early_stopping": "never"}),
    (5.0, {"num_beams": 4, "length_penalty": -0.5, "early_stopping": True}),
    (5.5, {"num_beams": 3, "length_penalty": 0.0, "repetition_penalty": 1.4}),
    (5.5, {"num_beams": 3, "no_repeat_ngram_size": 2}),
]
"""A bias of the end token, or a random model would hardly ever end; and the rest."""


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max()
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


def plain_search(
    engine: Engine, prompt: Sequence[int], params: SamplingParams, limit: int
) -> list[tuple[float, list[int]]]:
    """Beam search after transformers' definition: all scores in one array, no cache, no rows."""
    process = Processing(params, (), Scope(prompt_length=len(prompt), eos_ids={EOS}))
    width, power = params.num_beams, params.length_penalty
    running: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for length in range(1, limit + 1):
        scores = np.empty((len(running), 260))
        for place, (score, tokens) in enumerate(running):
            logprobs = log_softmax(engine.logits([*prompt, *tokens])[-1]).astype(np.float32)
            process(logprobs, [*prompt, *tokens], ())
            scores[place] = score + logprobs
        best = np.argsort(-scores, axis=None, kind="stable")[: 2 * width]
        grown = [
            (float(scores.flat[at]), [*running[at // 260][1], int(at % 260)])
            for at in best.tolist()
        ]
        over = [tokens[-1] == EOS or length == limit for _, tokens in grown]
        kept = [
            (score / length**power, tokens)
            for (score, tokens), stops in zip(grown[:width], over[:width], strict=True)
            if stops
        ]
        ended = sorted(ended + kept, key=lambda item: -item[0])[:width]
        running = [beam for beam, stops in zip(grown, over, strict=True) if not stops][:width]
        if len(ended) == width:
            reach = limit if params.early_stopping == "never" and power > 0 else length
            if params.early_stopping is True or not running:
                break
            if running[0][0] / reach**power <= ended[-1][0]:
                break
    return ended


@pytest.mark.parametrize(("bias", "settings"), SETTINGS)
def test_the_beams_of_a_plain_search(engine: Engine, bias: float, settings: dict[str, Any]) -> None:
    params = SamplingParams(logit_bias={EOS: bias}, **settings)
    n = params.num_beams
    batch = engine.generate_batch(PROMPTS, n=n, max_new_tokens=12, sampling=params)
    ends = set()
    for at, prompt in enumerate(PROMPTS):
        expected = plain_search(engine, engine.encode(prompt), params, 12)
        found = batch[at * n : at * n + n]
        assert [list(completion.token_ids) for completion in found] == [e[1] for e in expected]
        scores = [completion.score for completion in found]
        assert scores == pytest.approx([score for score, _ in expected], abs=1e-4)
        ends |= {completion.finish_reason for completion in found}
    assert "eos" in ends


def test_as_many_beams_as_tokens_find_the_likeliest_of_all_sequences(engine: Engine) -> None:
    prompt = engine.encode("he")
    decoder = engine.decoder(rows=260, max_length=len(prompt) + 1)
    first = log_softmax(decoder.prefill(0, prompt))
    decoder.cache.fork(0, range(260))
    ranked = [(first[EOS], [EOS])]
    for one, logits in enumerate(decoder.decode(range(260))):
        if one != EOS:
            second = log_softmax(logits)
            ranked += [((first[one] + second[two]) / 2, [one, two]) for two in range(260)]
    ranked.sort(key=lambda item: -item[0])
    params = SamplingParams(num_beams=259)
    found = engine.generate_batch([prompt], n=20, max_new_tokens=2, sampling=params)
    assert [list(completion.token_ids) for completion in found] == [r[1] for r in ranked[:20]]


def test_a_batch_holds_the_solo_beams_whatever_the_cache(engine: Engine) -> None:
    params = SamplingParams(num_beams=3, logit_bias={EOS: 5.0}, early_stopping=True)
    tight = Engine(engine.model.path, RuntimeOptions(cache_bytes=1))
    solo = [engine.generate(prompt, max_new_tokens=25, sampling=params) for prompt in PROMPTS]
    for batch in (
        engine.generate_batch(PROMPTS, max_new_tokens=25, sampling=params),
        tight.generate_batch(PROMPTS, max_new_tokens=25, sampling=params),
    ):
        assert [(c.token_ids, c.score) for c in batch] == [(c.token_ids, c.score) for c in solo]


def test_beams_use_the_prompt_cache(engine: Engine) -> None:
    prompt = "hello hell, he said, and hello again"
    params = SamplingParams(num_beams=3)
    expected = engine.generate(prompt, max_new_tokens=9, sampling=params)
    options = RuntimeOptions(prompt_cache_bytes=1 << 20)
    with Engine(engine.model.path, options) as cached:
        first, again = (
            cached.generate(prompt, max_new_tokens=9, sampling=params) for _ in range(2)
        )
    assert expected.token_ids == first.token_ids == again.token_ids
    assert (first.timing.reused_tokens, again.timing.reused_tokens > 8) == (0, True)


def test_two_beams_beat_greedy_somewhere_and_are_never_worse(engine: Engine) -> None:
    gains = []
    for prompt in PROMPTS:
        greedy = engine.generate(
            prompt, max_new_tokens=10, sampling=SamplingParams(temperature=0.0), logprobs=0
        )
        wide = engine.generate(prompt, max_new_tokens=10, sampling=SamplingParams(num_beams=8))
        assert wide.score is not None
        gains.append(wide.score - sum(greedy.logprobs) / len(greedy.token_ids))
    assert max(gains) > 0.01


def test_stop_strings_log_probabilities_and_chunks(engine: Engine) -> None:
    params = SamplingParams(num_beams=3)
    plain = engine.generate("he", max_new_tokens=10, sampling=params, logprobs=2)
    assert plain.score == pytest.approx(sum(plain.logprobs) / 10, abs=1e-5)
    assert len(plain.top_logprobs) == 10
    (again,) = engine.score("he", [plain.token_ids])
    assert plain.logprobs == pytest.approx(again.logprobs, abs=1e-4)
    stop = StopParams(strings=(plain.text[2:4],))
    stopped = engine.generate("he", max_new_tokens=10, sampling=params, stop=stop)
    assert plain.text[2:4] not in stopped.text
    stream = engine.stream_batch(["he", "she"], n=2, max_new_tokens=10, sampling=params)
    texts = [""] * 4
    for chunk in stream:
        texts[chunk.index] += chunk.text
    assert texts == [completion.text for completion in stream.completions]
    assert texts[0] == plain.text
    assert [completion.index for completion in stream.completions] == [0, 1, 0, 1]


def test_a_cancelled_search_keeps_its_best_beams(engine: Engine) -> None:
    calls = itertools.count()

    def cancelling(_: NDArray[np.int64], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        if next(calls) == 12:
            stream.cancel()
        return logits

    params = SamplingParams(num_beams=3)
    stream = engine.stream("he", max_new_tokens=50, sampling=params, processors=[cancelling])
    chunks = list(stream)
    done = stream.completion
    assert done.finish_reason == "cancelled"
    assert 0 < len(done.token_ids) < 10
    assert tuple(chunk.token_id for chunk in chunks) == done.token_ids


def test_what_beams_cannot_do_is_said(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"num_beams is 2 and temperature is 0\.7"):
        engine.generate("he", sampling=SamplingParams(num_beams=2, temperature=0.7))
    with pytest.raises(ValueError, match="n is 3; it must be a whole number from 1 to 2"):
        engine.generate_batch(["he"], n=3, sampling=SamplingParams(num_beams=2))
    beams = engine.request("he", sampling=SamplingParams(num_beams=2)).generations
    with pytest.raises(ValueError, match="num_beams is 2; it must be 1"):
        engine.scheduler(rows=2).add_generations(beams)

    def one_way(_: NDArray[np.int64], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        logits[np.arange(260) != 7] = -np.inf
        return logits

    only = SamplingParams(num_beams=2)
    done = engine.generate("he", max_new_tokens=5, sampling=only, processors=[one_way])
    assert done.token_ids == (7,) * 5
    with pytest.raises(ValueError, match="beam search found 1 completions, not 2"):
        engine.generate_batch(["he"], n=2, max_new_tokens=5, sampling=only, processors=[one_way])
