"""Continuous batching: sequences come and go, and none of them notices the others."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import pytest

from gpt2edge import GREEDY, Engine, RuntimeOptions, SamplingParams
from gpt2edge.errors import ContextLengthError
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.decoding.request import Request
from gpt2edge.runtime.decoding.scheduler import Scheduler

WARM = SamplingParams(temperature=0.8, top_k=40, seed=5)
BEAMS = SamplingParams(num_beams=3)
PROMPTS = ["he", "Once upon a time", "hello hello hello", "the wolf and the hen", "x y z"]


def queued(engine: Engine, prompt: str, new: int = 30) -> Request:
    return engine.request(prompt, max_new_tokens=new, sampling=WARM)


def scheduler_of(
    engine: Engine, rows: int, *, max_length: int = 200, chunks_per_step: int | None = None
) -> Scheduler:
    decoder = engine.decoder(rows=rows, max_length=max_length)
    return Scheduler(decoder, chunks_per_step=chunks_per_step)


def alone(engine: Engine, prompt: str, new: int = 30, sampling: SamplingParams = WARM) -> list[int]:
    return list(engine.generate(prompt, max_new_tokens=new, sampling=sampling).token_ids)


@pytest.mark.parametrize("chunks_per_step", [None, 1])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_requests_that_arrive_while_others_decode_get_their_own_tokens(
    engine: Engine, rows: int, chunks_per_step: int | None
) -> None:
    scheduler = scheduler_of(engine, rows, chunks_per_step=chunks_per_step)
    requests = [queued(engine, prompt) for prompt in PROMPTS]
    arriving, steps = deque(requests), 0
    while arriving or scheduler.is_busy:
        if arriving and steps % 3 == 0:
            scheduler.add(arriving.popleft())
        deque(scheduler.step(), maxlen=0)
        assert scheduler.running <= rows
        steps += 1
    found = [list(request.completion.token_ids) for request in requests]
    assert found == [alone(engine, prompt) for prompt in PROMPTS]


def test_a_long_prompt_keeps_nobody_waiting(engine: Engine) -> None:
    chunked = Engine(engine.model.path, RuntimeOptions(prefill_chunk=32))
    scheduler = scheduler_of(chunked, 2, max_length=700, chunks_per_step=1)
    requests = [queued(chunked, "he", 40), queued(chunked, "hello hello " * 50, 5)]
    (short,), (long,) = (request.generations for request in requests)
    scheduler.add(requests[0])
    deque(scheduler.step(), maxlen=0)
    scheduler.add(requests[1])
    steps_before_its_first_token = 0
    while not long.token_ids:
        held = len(short.token_ids)
        deque(scheduler.step(), maxlen=0)
        assert len(short.token_ids) == held + 1  # a token at every step, whatever enters
        steps_before_its_first_token += 1
    assert steps_before_its_first_token >= len(long.prompt_ids) // 32
    deque(scheduler.run(), maxlen=0)
    assert short.token_ids == alone(chunked, "he", 40)
    assert long.token_ids == alone(chunked, "hello hello " * 50, 5)


def test_a_prompt_entering_stays_whole_when_rows_before_it_become_free(engine: Engine) -> None:
    chunked = Engine(engine.model.path, RuntimeOptions(prefill_chunk=32))
    scheduler = scheduler_of(chunked, 3, max_length=400, chunks_per_step=1)
    brief = [queued(chunked, text, 4) for text in PROMPTS[:2]]
    for request in brief:
        scheduler.add(request)
    while not all(request.generations[0].token_ids for request in brief):
        deque(scheduler.step(), maxlen=0)
    long = queued(chunked, "hello hello " * 25, 12)
    scheduler.add(long)
    while not all(request.is_finished for request in brief):
        deque(scheduler.step(), maxlen=0)
    assert not long.generations[0].token_ids  # it is still on its way in
    deque(scheduler.run(), maxlen=0)
    assert list(long.completion.token_ids) == alone(chunked, "hello hello " * 25, 12)


@pytest.mark.parametrize("rows", [5, 8])
def test_beams_and_samples_share_the_rows(engine: Engine, rows: int) -> None:
    scheduler = scheduler_of(engine, rows)
    searched = {
        prompt: engine.request(prompt, max_new_tokens=20, sampling=BEAMS) for prompt in PROMPTS
    }
    sampled = [engine.request(prompt, n=2, max_new_tokens=25, sampling=WARM) for prompt in PROMPTS]
    for one, two in zip(searched.values(), sampled, strict=True):
        scheduler.add(two)
        scheduler.add(one)
        for _ in range(4):
            deque(scheduler.step(), maxlen=0)
    deque(scheduler.run(), maxlen=0)
    for prompt, request in searched.items():
        assert list(request.completion.token_ids) == alone(engine, prompt, 20, BEAMS)
    expected = engine.generate_batch(PROMPTS, n=2, max_new_tokens=25, sampling=WARM)
    found = [completion for request in sampled for completion in request.completions]
    assert [each.token_ids for each in found] == [each.token_ids for each in expected]


def test_what_is_removed_or_cancelled_frees_its_row(engine: Engine) -> None:
    scheduler = scheduler_of(engine, 2)
    requests = [queued(engine, prompt, 40) for prompt in PROMPTS]
    for request in requests:
        scheduler.add(request)
    for _ in range(3):
        deque(scheduler.step(), maxlen=0)
    first, second, third, fourth, fifth = (request.generations[0] for request in requests)
    assert (scheduler.running, scheduler.waiting) == (2, 3)
    scheduler.remove(first)  # running
    scheduler.remove(third)  # waiting
    requests[1].cancel()
    requests[3].cancel()
    deque(scheduler.run(), maxlen=0)
    assert not scheduler.is_busy
    assert first.finish_reason is None
    assert len(first.token_ids) == len(second.token_ids) == 4
    assert (second.finish_reason, fourth.finish_reason) == ("cancelled", "cancelled")
    assert third.token_ids == fourth.token_ids == []
    assert fifth.token_ids == alone(engine, PROMPTS[4], 40)


def test_a_removed_sequence_goes_on_where_it_was(engine: Engine) -> None:
    scheduler = scheduler_of(engine, 1)
    (paused,) = queued(engine, "he", 30).generations
    scheduler.add_generations([paused])
    for _ in range(7):
        deque(scheduler.step(), maxlen=0)
    scheduler.remove(paused)
    scheduler.add(queued(engine, "Once upon a time", 5))
    scheduler.add_generations([paused])
    deque(scheduler.run(), maxlen=0)
    assert paused.token_ids == alone(engine, "he", 30)


def test_a_prompt_cancelled_on_its_way_in_is_given_up(engine: Engine) -> None:
    chunked = Engine(engine.model.path, RuntimeOptions(prefill_chunk=32))
    scheduler = scheduler_of(chunked, 1, max_length=700, chunks_per_step=1)
    request = queued(chunked, "hello hello " * 50, 5)
    scheduler.add(request)
    deque(scheduler.step(), maxlen=0)
    request.cancel()
    steps = 0
    while scheduler.is_busy:
        deque(scheduler.step(), maxlen=0)
        steps += 1
    assert steps == 1
    done = request.completion
    assert (done.token_ids, done.finish_reason) == ((), "cancelled")


def test_random_arrivals_and_departures(engine: Engine) -> None:
    random = np.random.default_rng(8)
    scheduler = scheduler_of(engine, 3, chunks_per_step=1)
    texts = [PROMPTS[at] * int(times) for at, times in random.integers((0, 1), (5, 6), (40, 2))]
    requests = [queued(engine, text, int(random.integers(1, 25))) for text in texts]
    arriving, gone = deque(requests), set()
    while arriving or scheduler.is_busy:
        for _ in range(int(random.integers(3))):
            if arriving:
                scheduler.add(arriving.popleft())
        seen: Sequence[Generation] = list(scheduler.step())
        if seen and random.random() < 0.1:
            leaving = seen[int(random.integers(len(seen)))]
            leaving.cancelled = True
            gone.add(leaving)
    survivors = [r.generations[0] for r in requests if r.generations[0] not in gone]
    assert 25 < len(survivors) < 40
    for generation in survivors:
        expected = alone(engine, generation.prompt, generation.max_new_tokens)
        assert generation.token_ids == expected


def test_what_fits_no_row_is_refused(engine: Engine) -> None:
    scheduler = scheduler_of(engine, 2, max_length=20)
    with pytest.raises(ContextLengthError, match="longer rows"):
        scheduler.add(queued(engine, "he", 60))
    with pytest.raises(ValueError, match="more rows"):
        scheduler.add(engine.request("he", max_new_tokens=5, sampling=BEAMS))
    assert not scheduler.is_busy


def test_the_engine_makes_one(engine: Engine) -> None:
    scheduler = engine.scheduler(rows=2, max_length=64)
    request = engine.request("he", max_new_tokens=8, sampling=GREEDY)
    scheduler.add(request)
    assert list(scheduler.run()) == list(request.generations) * 8
    assert request.is_finished
    assert list(request.completion.token_ids) == alone(engine, "he", 8, GREEDY)
