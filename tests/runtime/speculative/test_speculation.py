"""Speculation changes no text: greedy or sampled, by lookup or by a model, whatever the widths."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2edge import GREEDY, Engine, SamplingParams
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.runtime.options import DraftModel, PromptLookup, RuntimeOptions
from gpt2edge.runtime.sampling.log_probs import log_softmax
from gpt2edge.runtime.sampling.sampler import Sampler
from gpt2edge.runtime.speculative.cost_model import CallCosts, DraftLength
from gpt2edge.runtime.speculative.drafters import LookupDrafter, ModelDrafter
from tests.checkpoints import SMALL, write_checkpoint
from tests.runtime.models import KEYS, make_engine

PROMPT = "the hen fell in the well. the hen fell in the "
SAMPLED = SamplingParams(temperature=0.7, top_p=0.95, repetition_penalty=1.05, seed=3)


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller model with the same tokenizer, and other weights."""
    return make_engine(tmp_path_factory.mktemp("draft"), {**KEYS, "n_layer": 1}).model.path


@pytest.fixture(params=["lookup", "draft", "itself"])
def guessing(request: pytest.FixtureRequest, engine: Engine, draft: Path) -> Engine:
    kinds: dict[str, PromptLookup | DraftModel] = {
        "lookup": PromptLookup(min_ngram=1),
        "draft": DraftModel(draft),
        "itself": DraftModel(engine.model.path),
    }
    return Engine(engine.model.path, RuntimeOptions(speculation=kinds[request.param]))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many guesses as there is room for, so that the clock decides nothing."""
    monkeypatch.setattr(DraftLength, "best", lambda _self, _kind, most, **_: most)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_text_is_that_of_plain_decoding(
    engine: Engine, guessing: Engine, sampling: SamplingParams
) -> None:
    plain = engine.generate(PROMPT, max_new_tokens=60, sampling=sampling, logprobs=2)
    other = guessing.generate(PROMPT, max_new_tokens=60, sampling=sampling, logprobs=2)
    assert other.token_ids == plain.token_ids
    assert other.text == plain.text
    assert other.finish_reason == plain.finish_reason
    assert np.allclose(other.logprobs, plain.logprobs, atol=1e-4)
    assert other.timing.guessed_tokens >= other.timing.accepted_tokens
    assert other.timing.guessed_tokens > 0
    assert plain.timing.guessed_tokens == 0


@pytest.mark.usefixtures("always")
def test_guesses_are_counted(guessing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every guess beside the text that came of it: how many there were, how many were right."""
    guesses: list[tuple[int, list[int]]] = []
    for kind in (LookupDrafter, ModelDrafter):
        original = kind.guess

        def noted(self: Any, count: int, guess: Any = original) -> list[int]:
            lookup = isinstance(self, LookupDrafter)
            length = len(self._text if lookup else self._generation.history)
            guesses.append((length, guess(self, count)))
            return guesses[-1][1]

        monkeypatch.setattr(kind, "guess", noted)
    done = guessing.generate(PROMPT, max_new_tokens=60, sampling=GREEDY)
    text = [*guessing.encode(PROMPT), *done.token_ids]
    right = 0
    for length, guess in guesses:
        pairs = zip(guess, text[length:], strict=False)
        right += next((at for at, (one, two) in enumerate(pairs) if one != two), len(guess))
    assert done.timing.guessed_tokens == sum(len(guess) for _, guess in guesses) > 0
    assert done.timing.accepted_tokens == right


@pytest.mark.usefixtures("always")
def test_a_model_that_drafts_for_itself_is_always_right(engine: Engine) -> None:
    options = RuntimeOptions(speculation=DraftModel(engine.model.path))
    timing = (
        Engine(engine.model.path, options)
        .generate(PROMPT, max_new_tokens=41, sampling=SAMPLED)
        .timing
    )
    assert timing.accepted_tokens == timing.guessed_tokens == 35  # 1 + 5 calls of 8


@pytest.mark.usefixtures("always")
def test_stop_strings_and_streams(engine: Engine, guessing: Engine) -> None:
    stop = engine.generate(PROMPT, max_new_tokens=60, sampling=SAMPLED).text[20:23]
    arguments: dict[str, Any] = {"max_new_tokens": 60, "sampling": SAMPLED, "stop": stop}
    plain = engine.generate(PROMPT, **arguments)
    stream = guessing.stream(PROMPT, **arguments)
    assert "".join(chunk.text for chunk in stream) == plain.text
    assert stream.completion.token_ids == plain.token_ids
    assert stream.completion.finish_reason == "stop"


@pytest.mark.usefixtures("always")
def test_cancelled_within_a_wide_step(guessing: Engine) -> None:
    stream = guessing.stream(PROMPT, max_new_tokens=60, sampling=GREEDY)
    for at, _ in enumerate(stream):
        if at == 7:
            stream.cancel()
    assert stream.completion.finish_reason == "cancelled"
    assert len(stream.completion.token_ids) == 8


@pytest.mark.usefixtures("always")
def test_rows_one_after_the_other_and_batches(engine: Engine, draft: Path) -> None:
    prompts = [PROMPT, "hell hell hell", "the", PROMPT[:20]]
    row_bytes = (len(engine.encode(PROMPT)) + 30) * engine._session.cache_layout.token_bytes
    expected = engine.generate_batch(prompts, max_new_tokens=20, sampling=GREEDY)
    for cache_bytes in (row_bytes, 1 << 30):
        options = RuntimeOptions(speculation=DraftModel(draft), cache_bytes=cache_bytes)
        found = Engine(engine.model.path, options).generate_batch(
            prompts, max_new_tokens=20, sampling=GREEDY
        )
        assert [item.token_ids for item in found] == [item.token_ids for item in expected]


def test_widths_by_the_clock_change_no_text(engine: Engine, guessing: Engine) -> None:
    for sampling in (GREEDY, SAMPLED):
        plain = engine.generate(PROMPT, max_new_tokens=80, sampling=sampling)
        other = guessing.generate(PROMPT, max_new_tokens=80, sampling=sampling)
        assert other.token_ids == plain.token_ids


@pytest.mark.slow
@pytest.mark.usefixtures("always")
def test_sampled_tokens_have_the_targets_distribution(tmp_path: Path) -> None:
    """Chi-square of pairs of tokens, under guesses that are often wrong; 9 cells, 600 draws."""
    write_checkpoint(tmp_path / "draft", SMALL, seed=9)
    engine = make_engine(tmp_path / "target", SMALL, tokenizer=False)
    other = make_engine(tmp_path / "other", {**SMALL, "n_layer": 1}, tokenizer=False)
    guessing = Engine(engine.model.path, RuntimeOptions(speculation=DraftModel(other.model.path)))
    prompt, top_k = [5, 7, 11], 3
    expected: dict[tuple[int, ...], float] = {}
    for first, p in top(engine.logits(prompt)[-1], top_k):
        for second, q in top(engine.logits([*prompt, first])[-1], top_k):
            expected[first, second] = p * q
    draws, guessed, accepted = 600, 0, 0
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(draws):
        sampling = SamplingParams(top_k=top_k, seed=seed)
        done = guessing.generate(prompt, max_new_tokens=3, sampling=sampling)
        counts[done.token_ids[:2]] += 1
        guessed += done.timing.guessed_tokens
        accepted += done.timing.accepted_tokens
    assert 0 < accepted < guessed
    assert counts.keys() <= expected.keys()
    chi_square = sum(
        (counts[pair] - draws * share) ** 2 / (draws * share) for pair, share in expected.items()
    )
    assert chi_square < 26.1  # 8 degrees of freedom: one seed in a thousand is beyond this


def top(logits: np.ndarray, count: int) -> list[tuple[int, float]]:
    """The likeliest tokens and their shares among themselves."""
    ids = np.argsort(-logits)[:count]
    return list(zip(ids.tolist(), np.exp(log_softmax(logits[ids])).tolist(), strict=True))


def test_lookup_copies_what_followed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that repeats its prompt is guessed right, whole calls at a time."""
    target = engine.encode(PROMPT)[-1]
    monkeypatch.setattr(
        Sampler, "__call__", lambda _self, _logits, text, _banned: text[len(text) % 7]
    )
    monkeypatch.setattr(DraftLength, "best", lambda _self, _kind, most, **_: most)

    options = RuntimeOptions(speculation=PromptLookup())
    prompt = [target, 1, 2, 3, 4, 5, 6] * 3
    done = Engine(engine.model.path, options).generate(prompt, max_new_tokens=49)
    assert done.timing.accepted_tokens == done.timing.guessed_tokens == 45  # 1 + 3 calls of 16


def warm(plain_s: float = 0.004) -> CallCosts:
    """Costs after some plain steps."""
    costs = CallCosts()
    for _ in range(3):
        costs.saw_plain(plain_s)
    return costs


def test_widths_follow_acceptance_and_cost() -> None:
    assert DraftLength(CallCosts()).best(5, 15, free=True) == 0  # nothing is known of the costs yet
    costs = warm()
    widths = DraftLength(costs)
    for _ in range(30):
        widths.saw(4, 15, 15)
    assert widths.best(4, 15, free=True) == 15
    assert widths.best(4, 3, free=True) == 3
    for _ in range(40):
        costs.saw_wide(4, 0.02)  # dearer than four plain steps
    assert widths.best(4, 15, free=True) == 0
    for _ in range(60):
        costs.saw_wide(4, 0.0044)
    assert widths.best(4, 15, free=True) == 15
    for _ in range(60):
        widths.saw(4, 0, 15)
    assert widths.best(4, 15, free=True) == 0  # cheap, but never right


def test_one_interrupted_call_changes_little() -> None:
    costs = warm()
    for _ in range(10):
        costs.saw_wide(4, 0.007)
    slope = costs.slope
    costs.saw_wide(4, 1.0)
    costs.saw_plain(1.0)
    assert costs.slope < 1.25 * slope
    assert costs.plain_s is not None
    assert costs.plain_s < 0.005


def test_draft_costs_count() -> None:
    costs = warm()
    widths = DraftLength(costs, rates={0: 0.8})
    assert widths.best(0, 7, free=False) > 1
    for _ in range(60):
        costs.saw_guess(4, 0.016)
    assert widths.best(0, 7, free=False) == 0


def test_what_does_not_pay_is_tried_ever_less_often() -> None:
    costs = warm()
    costs.draft = 2.0
    widths = DraftLength(costs)
    tried = [step for step in range(500) if widths.best(0, 7, free=False)]
    assert tried == [31, 95, 223, 479]
    costs.draft = 0.1
    assert widths.best(0, 7, free=False) > 1
    assert widths.patience == 32
    assert not any(DraftLength(costs, rates={2: 0.1}).best(2, 7, free=True) for _ in range(99))


def test_a_draft_model_with_another_tokenizer_is_refused(engine: Engine, tmp_path: Path) -> None:
    other = make_engine(tmp_path, {**KEYS, "vocab_size": 300}, tokenizer=False)
    with pytest.raises(Gpt2EdgeError, match="another tokenizer"):
        Engine(engine.model.path, RuntimeOptions(speculation=DraftModel(other.model.path)))


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 0}, {"max_tokens": 16}, {"min_ngram": 0}, {"max_ngram": 1}]
)
def test_bad_options(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        PromptLookup(**wrong)
