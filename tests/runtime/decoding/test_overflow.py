"""Past the context: each policy against what it says, token by token."""

import numpy as np
import pytest

from gpt2edge import GREEDY, Engine, SamplingParams
from gpt2edge.errors import ContextLengthError
from gpt2edge.runtime.context_window import Overflow
from gpt2edge.runtime.text.stopping import StopParams
from tests.runtime.models import KEYS, make_engine

CONTEXT = 48
ON = StopParams(ignore_eos=True)
LONG = np.random.default_rng(3).integers(0, 259, 70).tolist()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A context of 48."""
    return make_engine(tmp_path_factory.mktemp("narrow"), {**KEYS, "n_positions": CONTEXT})


def slid_by_hand(engine: Engine, prompt: list[int], keep: int, limit: int) -> list[int]:
    """Greedy tokens by a full forward over what the cache holds, which is halved when full."""

    def newer_half(text: list[int]) -> list[int]:
        half = (CONTEXT - keep) // 2
        return text[:keep] + text[-half:]

    text = newer_half(prompt) if len(prompt) > CONTEXT else list(prompt)
    held, start = list(text), len(text)
    while True:
        logits = engine.logits(held)[-1]
        logits[259] = -np.inf
        text.append(int(logits.argmax()))
        if len(text) - start == limit:
            return text[start:]
        held = [*newer_half(text)[:-1]] if len(held) == CONTEXT else held
        held.append(text[-1])


@pytest.mark.parametrize("keep", [0, 5])
@pytest.mark.parametrize("size", [3, 47, 48, 49, 70])
def test_sliding_is_entering_the_newer_half_anew(narrow: Engine, keep: int, size: int) -> None:
    done = narrow.generate(
        LONG[:size],
        max_new_tokens=100,
        sampling=GREEDY,
        stop=ON,
        overflow=Overflow(policy="slide", keep=keep),
    )
    assert list(done.token_ids) == slid_by_hand(narrow, LONG[:size], keep, 100)
    assert done.truncated
    assert done.finish_reason == "length"


def test_a_batch_that_slides_holds_the_solo_texts(narrow: Engine) -> None:
    warm = SamplingParams(temperature=0.9, seed=4)
    prompts = [LONG[:2], LONG[:40], LONG, LONG[:47]]
    solo = [
        narrow.generate(p, max_new_tokens=90, sampling=warm, stop=ON, overflow="slide")
        for p in prompts
    ]
    batch = narrow.generate_batch(
        prompts, n=3, max_new_tokens=90, sampling=warm, stop=ON, overflow="slide"
    )
    assert [completion.token_ids for completion in batch[::3]] == [c.token_ids for c in solo]
    stream = narrow.stream(prompts[0], max_new_tokens=90, sampling=warm, stop=ON, overflow="slide")
    assert [chunk.token_id for chunk in stream] == list(solo[0].token_ids)


def test_truncating_is_dropping_the_oldest_tokens(narrow: Engine) -> None:
    done = narrow.generate(LONG, max_new_tokens=9, sampling=GREEDY, overflow="truncate-left")
    same = narrow.generate(LONG[30:], max_new_tokens=9, sampling=GREEDY)
    assert done.token_ids == same.token_ids
    assert (done.truncated, same.truncated) == (True, False)
    assert done.timing.prompt_tokens == 40
    kept = Overflow(policy="truncate-left", keep=4)
    done = narrow.generate(LONG, max_new_tokens=9, sampling=GREEDY, overflow=kept)
    same = narrow.generate(LONG[:4] + LONG[34:], max_new_tokens=9, sampling=GREEDY)
    assert done.token_ids == same.token_ids
    beams = SamplingParams(num_beams=3)
    done = narrow.generate(LONG, max_new_tokens=9, sampling=beams, overflow="truncate-left")
    assert done.token_ids == narrow.generate(LONG[30:], max_new_tokens=9, sampling=beams).token_ids
    assert done.truncated


def test_without_a_limit_half_of_the_context_is_for_the_completion(narrow: Engine) -> None:
    done = narrow.generate(LONG, sampling=GREEDY, stop=ON, overflow="truncate-left")
    assert (done.timing.prompt_tokens, len(done.token_ids)) == (25, 24)
    done = narrow.generate(LONG[:3], sampling=GREEDY, stop=ON, overflow="truncate-left")
    assert (len(done.token_ids), done.truncated) == (46, False)


def test_what_fits_is_left_alone(narrow: Engine) -> None:
    expected = narrow.generate(LONG[:20], max_new_tokens=29, sampling=GREEDY)
    for policy in ("truncate-left", "slide"):
        overflow = Overflow(policy=policy, keep=2000)
        done = narrow.generate(LONG[:20], max_new_tokens=29, sampling=GREEDY, overflow=overflow)
        assert (done.token_ids, done.truncated) == (expected.token_ids, False)


def test_what_cannot_fit_is_said_before_any_work(narrow: Engine) -> None:
    with pytest.raises(ContextLengthError, match="choose the overflow policy truncate-left or"):
        narrow.generate(LONG)
    with pytest.raises(ContextLengthError, match="leaves 0 tokens for the prompt, and keep is 0"):
        narrow.generate(LONG, max_new_tokens=49, overflow="truncate-left")
    for policy, limit in (("truncate-left", 9), ("slide", 99)):
        overflow = Overflow(policy=policy, keep=47)  # type: ignore[arg-type]
        with pytest.raises(ContextLengthError, match="and keep is 47: keep fewer"):
            narrow.stream(LONG, max_new_tokens=limit, overflow=overflow)
    with pytest.raises(ValueError, match="overflow is 'drop'; it must be one of error, trunc"):
        narrow.generate(LONG, overflow="drop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep is -1"):
        Overflow(keep=-1)
    with pytest.raises(ValueError, match="beam search cannot slide"):
        narrow.generate(LONG, sampling=SamplingParams(num_beams=2), overflow="slide")
