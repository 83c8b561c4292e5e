"""Hundreds of ragged requests on a few rows, and prompts that report how far they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpt2edge import GREEDY, Engine
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.scheduler import Scheduler
from gpt2edge.runtime.options import RuntimeOptions


def test_two_hundred_requests_keep_their_order_and_the_budget(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(4)
    wanted = [
        (random.integers(256, size=length).tolist(), int(new))
        for length, new in random.integers((1, 1), (40, 24), (200, 2))
    ]
    requests = [
        engine.request(prompt, max_new_tokens=new, sampling=GREEDY) for prompt, new in wanted
    ]
    longest = max(request.generations[0].cached_tokens for request in requests)
    budget = 7 * engine._session.cache_layout.row_bytes(longest)
    tight = Engine(engine.model.path, RuntimeOptions(cache_bytes=budget))
    rows = tight.affordable_rows(longest)
    assert rows == 7
    widths: list[int] = []
    decoder = tight.decoder(rows=rows, max_length=longest)
    decode = type(decoder).decode

    def counted(self: Decoder, token_ids: Sequence[int]) -> Any:
        widths.append(len(token_ids))
        return decode(self, token_ids)

    monkeypatch.setattr(type(decoder), "decode", counted)
    scheduler = Scheduler(decoder)
    for request in requests:
        scheduler.add(request)
    for _ in scheduler.run():
        pass
    assert decoder.cache.nbytes <= budget
    full = sum(width == rows for width in widths)
    assert full > 0.95 * len(widths) - rows * 24  # a row that ends is given away at once
    monkeypatch.undo()
    for request, (prompt, new) in list(zip(requests, wanted, strict=True))[::9]:
        done = request.completion
        assert (
            done.token_ids == engine.generate(prompt, max_new_tokens=new, sampling=GREEDY).token_ids
        )


def test_prefill_reports_its_chunks(engine: Engine) -> None:
    chunked = Engine(engine.model.path, RuntimeOptions(prefill_chunk=64))
    seen: list[tuple[int, int]] = []
    stream = chunked.stream([5] * 200, max_new_tokens=2)
    assert stream.on_prefill(lambda done, total: seen.append((done, total))) is stream
    assert len(list(stream)) == 2
    assert seen == [(64, 200), (128, 200), (192, 200), (200, 200)]
