"""The likeliest lines: the right probabilities, against the engine's own scores and all pairs."""

import math
import re
from itertools import product

import numpy as np
import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.runtime.sampling.log_probs import log_softmax
from gpt2edge.runtime.search import Budget, LineBeam, SearchSession

END = "9"  # a likely token of this model
PROMPTS = ["the", "he saw", "a", "the cat"]


def test_probabilities_are_those_of_the_model(engine: Engine) -> None:
    work = SearchSession(engine)
    (lines,) = LineBeam(k=100, end=END, max_new_tokens=4)(["the"], work)
    assert len(lines) > 3
    probabilities = [line.probability for line in lines]
    assert probabilities == sorted(probabilities, reverse=True)
    for line in lines:
        assert line.text.endswith(END)
        assert line.text.count(END) == 1
    whole = [line for line in lines if re.fullmatch(r"[ -~]+", line.text)]
    whole = [line for line in whole if "ll" not in line.text]  # its tokens are those of its text
    assert len(whole) > 2
    assert len({line.text for line in whole}) == len(whole)
    scores = engine.score("the", [line.text for line in whole])
    expected = [math.exp(score.logprob) for score in scores]
    assert [line.probability for line in whole] == pytest.approx(expected, rel=1e-4)


def test_a_beam_as_wide_as_the_vocabulary_misses_nothing(engine: Engine) -> None:
    """Against every pair of tokens."""
    ids = engine.encode("the")
    first = log_softmax(engine.logits(ids)[-1])
    tokenizer, vocab = engine.tokenizer, range(engine.config.vocab_size)
    assert tokenizer is not None
    ends = {token for token in vocab if END in tokenizer.piece(token)}
    after = {t: log_softmax(engine.logits([*ids, t])[-1]) for t in vocab}
    found: list[tuple[float, tuple[int, ...]]] = [(float(first[t]), (t,)) for t in ends]
    starts = [t for t in vocab if t not in ends and t != 259]
    found += [(float(first[a] + after[a][b]), (a, b)) for a, b in product(starts, ends)]
    (lines,) = LineBeam(k=260, end=END, max_new_tokens=2)(["the"], SearchSession(engine))
    assert len(lines) > 10
    expected = [math.exp(logprob) for logprob, _ in sorted(found, reverse=True)[: len(lines)]]
    assert [line.probability for line in lines] == pytest.approx(expected, rel=1e-4)


def test_prompts_do_not_disturb_one_another(engine: Engine) -> None:
    knobs = LineBeam(k=30, end=END, max_new_tokens=3)
    together = knobs(PROMPTS, SearchSession(engine))
    alone = [knobs([prompt], SearchSession(engine))[0] for prompt in PROMPTS]
    assert together == alone
    again = SearchSession(engine)
    knobs(PROMPTS[::-1], again)
    read = again.cost.prefilled_tokens
    for lines, before in zip(knobs(PROMPTS, again), together, strict=True):  # known prefixes
        assert [line.text for line in lines] == [line.text for line in before]
        probabilities = [line.probability for line in before]
        assert [line.probability for line in lines] == pytest.approx(probabilities, rel=1e-4)
    assert again.cost.prefilled_tokens == read <= sum(map(len, map(engine.encode, PROMPTS)))


def test_one_line_is_the_greedy_one(engine: Engine) -> None:
    greedy = SamplingParams(temperature=0.0)
    text = engine.generate("the", max_new_tokens=40, sampling=greedy).text
    end = text[3]
    (lines,) = LineBeam(k=1, end=end, max_new_tokens=40)(["the"], SearchSession(engine))
    assert [line.text for line in lines] == [text[: text.index(end) + 1]]


def test_what_is_unlikely_or_too_long_is_dropped(engine: Engine) -> None:
    work = SearchSession(engine)
    (lines,) = LineBeam(k=300, end=END, max_new_tokens=3)(["the"], work)
    floor = lines[9].probability
    (likely,) = LineBeam(k=300, end=END, max_new_tokens=3, least=floor)(["the"], work)
    assert [line.text for line in likely] == [line.text for line in lines[:10]]
    (none,) = LineBeam(k=4, end="no such end", max_new_tokens=8)(["the"], work)
    assert none == []
    (none,) = LineBeam(k=4, end=END, max_new_tokens=8)(["the " * 250], work)  # the context is full
    assert none == [] or all(line.text.endswith(END) for line in none)


def test_the_budget_and_the_cost(engine: Engine) -> None:
    work = SearchSession(engine, Budget(tokens=9))
    with work:
        LineBeam(k=4, end="no such end", max_new_tokens=8)(["the"], work)
    assert (work.stopped, work.cost.generated_tokens) == ("tokens", 8)
    assert work.cost.forward_calls == 3


@pytest.mark.parametrize("knobs", [{"k": 0}, {"least": 1.0}, {"end": ""}, {"max_new_tokens": 0}])
def test_settings_out_of_range(knobs: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LineBeam(**knobs)  # type: ignore[arg-type]


def test_the_sum_stays_below_one(engine: Engine) -> None:
    (lines,) = LineBeam(k=100, end=END, max_new_tokens=4)(["he"], SearchSession(engine))
    assert 0 < np.sum([line.probability for line in lines]) < 1


def test_an_end_may_be_more_than_one_token(engine: Engine) -> None:
    """A character of two bytes, each a token: neither holds the end by itself."""
    greedy = SamplingParams(temperature=0.0)
    text = engine.generate("the cat", max_new_tokens=2, sampling=greedy).text
    assert len(text) == 1
    assert len(text.encode()) == 2
    (lines,) = LineBeam(k=1, end=text, max_new_tokens=2)(["the cat"], SearchSession(engine))
    assert [line.text for line in lines] == [text]
