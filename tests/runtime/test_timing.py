"""Times of a completion: figures by hand, and an engine under a clock that only its calls move."""

from typing import Any

import pytest

from gpt2edge import GREEDY, Engine
from gpt2edge.runtime.decoding import generation
from gpt2edge.runtime.results import Timing
from gpt2edge.runtime.text.stopping import StopParams

PREFILL_S, STEP_S = 4.0, 0.25


def test_tokens_after_the_first_share_the_decode_time() -> None:
    timing = Timing(load_s=9, prompt_tokens=3, completion_tokens=5, ttft_s=0.5, decode_s=2.0)
    assert timing.tpot_ms == 500
    assert timing.decode_tps == 2


def test_one_token_has_no_time_per_token() -> None:
    timing = Timing(load_s=9, prompt_tokens=3, completion_tokens=1, ttft_s=0.5, decode_s=0.0)
    assert (timing.tpot_ms, timing.decode_tps) == (0, 0)


@pytest.mark.parametrize("rows", [1, 3])
def test_an_engines_clock(engine: Engine, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """A prefill takes 4 s, a step 0.25: the first token waits for all prompts before it."""
    now = 100.0
    kind: Any = type(engine.decoder(rows=1, max_length=8))

    def takes(seconds: float, call: Any) -> Any:
        def slow(*args: Any, **keywords: Any) -> Any:
            nonlocal now
            now += seconds
            return call(*args, **keywords)

        return slow

    monkeypatch.setattr(kind, "_forward", takes(PREFILL_S, kind._forward))
    monkeypatch.setattr(kind, "decode", takes(STEP_S, kind.decode))
    monkeypatch.setattr(generation, "perf_counter", lambda: now)
    done = engine.generate_batch(
        [[5, 6, 7]] * rows,
        max_new_tokens=9,
        sampling=GREEDY,
        stop=StopParams(ignore_eos=True),
    )
    timing = done[0].timing
    assert (timing.prompt_tokens, timing.completion_tokens) == (3, 9)
    assert timing.ttft_s == PREFILL_S
    assert done[-1].timing.ttft_s == rows * PREFILL_S
    assert done[-1].timing.decode_s == 8 * STEP_S
    assert done[-1].timing.tpot_ms == 1e3 * STEP_S
    assert done[-1].timing.decode_tps == 1 / STEP_S


def test_samples_of_one_prompt_read_it_once(engine: Engine) -> None:
    done = engine.generate_batch([[5, 6, 7]], n=3, max_new_tokens=2)
    assert [each.timing.reused_tokens for each in done] == [0, 3, 3]
