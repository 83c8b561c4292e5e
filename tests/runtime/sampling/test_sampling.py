"""Sampling against distributions worked out by hand, and against a plain sort."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.sampling.log_probs import log_masses, log_softmax
from gpt2edge.runtime.sampling.params import GREEDY, SamplingParams
from gpt2edge.runtime.sampling.processors import apply_repetition_penalty
from gpt2edge.runtime.sampling.random_stream import RandomStream
from gpt2edge.runtime.sampling.sampler import Sampler, choose

FOUR = np.log(np.array([0.1, 0.5, 0.15, 0.25], np.float32))


def draws(params: SamplingParams, logits: Logits = FOUR, count: int = 4000) -> dict[int, float]:
    """Share of each token in ``count`` draws from one stream."""
    sampler = Sampler(params, (), (3, 0))
    counted = Counter(sampler(logits, [], ()) for _ in range(count))
    return {token: times / count for token, times in sorted(counted.items())}


def sorted_reference(logits: Logits, params: SamplingParams) -> NDArray[np.float64]:
    """Probabilities [n] after the cuts, by sorting everything, as transformers defines them."""
    scaled = logits.astype(np.float64) / params.temperature
    order = np.argsort(-scaled, kind="stable")
    alive = np.ones(len(order), bool)
    if params.top_k:
        alive[params.top_k :] = False
    weights = np.where(alive, np.exp(scaled[order] - scaled.max()), 0)
    if params.top_p < 1:
        before = np.concatenate([[0], (weights / weights.sum()).cumsum()[:-1]])
        weights[before >= params.top_p] = 0
    weights[weights < params.min_p * weights.max()] = 0
    if params.typical_p < 1:
        weights *= typical_by_definition(weights / weights.sum(), params.typical_p)
    probabilities = np.zeros(len(order))
    probabilities[order] = weights / weights.sum()
    return probabilities


def typical_by_definition(probabilities: NDArray[np.float64], mass: float) -> NDArray[np.bool_]:
    """Which tokens stay (Meister et al. 2022, section 5), one after the other."""
    entropy = -sum(p * math.log(p) for p in probabilities if p)
    nearest = sorted(
        (abs(-math.log(p) - entropy), at) for at, p in enumerate(probabilities) if p > 0
    )
    kept = np.zeros(len(probabilities), bool)
    for _, at in nearest:
        if probabilities[kept].sum() >= mass:
            break
        kept[at] = True
    return kept


def test_greedy_takes_the_most_likely() -> None:
    assert draws(GREEDY, count=5) == {1: 1.0}
    assert draws(SamplingParams(top_k=1), count=5) == {1: 1.0}


def test_temperature_one_draws_the_distribution_itself() -> None:
    assert draws(SamplingParams()) == pytest.approx({0: 0.1, 1: 0.5, 2: 0.15, 3: 0.25}, abs=0.03)


def test_temperature_half_squares_the_probabilities() -> None:
    squares = np.array([0.1, 0.5, 0.15, 0.25]) ** 2
    expected = dict(enumerate(squares / squares.sum()))
    assert draws(SamplingParams(temperature=0.5)) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        (SamplingParams(top_k=2), {1: 2 / 3, 3: 1 / 3}),
        (SamplingParams(top_p=0.5), {1: 1.0}),
        (SamplingParams(top_p=0.51), {1: 2 / 3, 3: 1 / 3}),
        (SamplingParams(top_k=3, top_p=0.8), {1: 2 / 3, 3: 1 / 3}),
        (SamplingParams(min_p=0.4), {1: 2 / 3, 3: 1 / 3}),
        (SamplingParams(min_p=1.0), {1: 1.0}),
        (SamplingParams(logit_bias={1: -100.0}, top_k=1), {3: 1.0}),
        # entropy 1.21 nats; surprises 2.30, 0.69, 1.90 and 1.39, which is the nearest
        (SamplingParams(typical_p=0.2), {3: 1.0}),
        (SamplingParams(typical_p=0.5), {1: 2 / 3, 3: 1 / 3}),
        (SamplingParams(typical_p=0.8), {1: 5 / 9, 2: 1.5 / 9, 3: 2.5 / 9}),
    ],
)
def test_cuts_by_hand(params: SamplingParams, kept: dict[int, float]) -> None:
    assert draws(params) == pytest.approx(kept, abs=0.03)


@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([5, 130, 3000]),
    top_k=st.sampled_from([0, 1, 3, 40, 5000]),
    top_p=st.sampled_from([1.0, 0.99, 0.7, 0.05]),
    min_p=st.sampled_from([0.0, 0.02, 0.5]),
    typical_p=st.sampled_from([1.0, 0.9, 0.2]),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
)
def test_every_draw_is_one_that_sorting_allows(
    seed: int,
    size: int,
    top_k: int,
    top_p: float,
    min_p: float,
    typical_p: float,
    temperature: float,
) -> None:
    params = SamplingParams(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, typical_p=typical_p
    )
    logits = np.random.default_rng(seed).normal(0, 3, size).astype(np.float32)
    reference = sorted_reference(logits, params)
    sampler = Sampler(params, (), (seed, 0))
    assert all(reference[sampler(logits, [], ())] > 0 for _ in range(20))


@pytest.mark.slow
@pytest.mark.parametrize("top_p", [1.0, 0.9])
@pytest.mark.parametrize("top_k", [0, 50])
def test_frequencies_over_a_large_vocabulary(top_k: int, top_p: float) -> None:
    params = SamplingParams(top_k=top_k, top_p=top_p)
    logits = np.random.default_rng(0).normal(0, 2.5, 20_000).astype(np.float32)
    reference = sorted_reference(logits, params)
    found = draws(params, logits, 3000)
    likely = np.argsort(-reference)[:5]
    assert [found.get(int(token), 0) for token in likely] == pytest.approx(
        reference[likely], abs=0.03
    )


DRAWN: dict[str, tuple[dict[str, float], list[int]]] = {
    "plain": ({}, [49, 61, 261, 256, 71, 8, 83, 187, 275, 196]),
    "temperature": ({"temperature": 0.7}, [49, 75, 261, 256, 71, 8, 115, 256, 275, 196]),
    "top-k, top-p": (
        {"top_k": 40, "top_p": 0.9},
        [103, 116, 106, 134, 192, 33, 193, 31, 171, 261],
    ),
    "top-k": ({"top_k": 7}, [103, 116, 277, 56, 192, 33, 193, 103, 17, 196]),
    "top-p": ({"top_p": 0.8}, [49, 61, 261, 256, 71, 8, 78, 241, 275, 196]),
    "min-p": ({"min_p": 0.1}, [49, 61, 261, 256, 71, 8, 111, 241, 275, 196]),
    "typical": (
        {"typical_p": 0.6, "top_p": 0.95},
        [49, 61, 261, 256, 71, 8, 72, 241, 275, 196],
    ),
    "penalty": (
        {"repetition_penalty": 1.5, "min_p": 0.02},
        [49, 61, 261, 256, 71, 8, 111, 241, 275, 196],
    ),
}
"""What each row's stream (11, row) drew of the logits below when rows were still drawn alone."""


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_draws_for_ever_what_it_drew_first(name: str) -> None:
    kwargs, expected = DRAWN[name]
    params = SamplingParams(**kwargs)  # type: ignore[arg-type]
    logits = np.random.default_rng(7).normal(0, 3, (10, 300)).astype(np.float32)
    samplers = [Sampler(params, (), (11, row)) for row in range(10)]
    assert choose(samplers, logits, [[3, 4]] * 10, [(5,)] * 10) == expected


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"temperature": 0.8, "top_k": 50}, [12341, 8998, 3290, 6300, 13243, 19919]),
        (
            {"temperature": 0.8, "top_k": 50, "top_p": 0.9},
            [12341, 18821, 4321, 10554, 13243, 7557],
        ),
        ({"top_k": 300}, [4028, 13840, 11931, 8614, 11679, 497]),
        ({"min_p": 0.05}, [3830, 11549, 8640, 19550, 11207, 13182]),
    ],
)
def test_rows_of_a_large_vocabulary_draw_what_they_drew_alone(
    kwargs: dict[str, float], expected: list[int]
) -> None:
    params = SamplingParams(**kwargs)  # type: ignore[arg-type]
    logits = np.random.default_rng(8).normal(0, 3, (6, 20_011)).astype(np.float32).round(1)
    samplers = [Sampler(params, (), (12, row)) for row in range(6)]
    likeliest = [(token_id,) for token_id in logits.argmax(axis=1).tolist()]
    assert choose(samplers, logits, [[3, 4]] * 6, likeliest) == expected


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([5, 130, 600, 5000, 20_011]),
    rows=st.integers(1, 9),
    top_k=st.sampled_from([0, 3, 40]),
    top_p=st.sampled_from([1.0, 0.9, 0.05]),
    min_p=st.sampled_from([0.0, 0.1]),
    typical_p=st.sampled_from([1.0, 0.5]),
    ties=st.booleans(),
)
def test_a_row_among_others_draws_what_it_draws_alone(
    seed: int, size: int, rows: int, ties: bool, **cuts: float
) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(0, random.choice([0.1, 3, 10]), (rows, size)).astype(np.float32)
    logits = logits.round(0) if ties else logits
    params = SamplingParams(**cuts)  # type: ignore[arg-type]

    def samplers() -> list[Sampler]:
        return [Sampler(params, (), (seed, row)) for row in range(rows)]

    together, alone = samplers(), samplers()
    for _ in range(3):
        expected = [sampler(row, [], ()) for sampler, row in zip(alone, logits, strict=True)]
        assert choose(together, logits, [()] * rows, [()] * rows) == expected


def test_rows_of_unlike_parameters_are_drawn_together() -> None:
    samplers = [
        Sampler(GREEDY),
        Sampler(SamplingParams(top_k=1)),
        Sampler(SamplingParams(), (), (1,)),
    ]
    logits = np.tile(FOUR, (3, 1))
    alone = Sampler(SamplingParams(), (), (1,))(FOUR, [], ())
    assert choose(samplers, logits, [()] * 3, [(), (1,), ()]) == [1, 3, alone]


def test_a_random_stream_is_numpy_s_from_any_place_on() -> None:
    expected = np.random.Generator(np.random.PCG64([5, 7])).random(100).tolist()
    stream = RandomStream((5, 7))
    found = []
    for at in range(70):
        twin = stream.fork()
        found.append(stream.next())
        assert [twin.next() for _ in range(30)] == expected[at : at + 30]
    assert found == expected[:70]


def test_log_masses_are_what_log_softmax_takes_away() -> None:
    logits = np.random.default_rng(2).normal(0, 5, (40, 3000)).astype(np.float32)
    assert logits - log_masses(logits)[:, None] == pytest.approx(log_softmax(logits), abs=1e-12)


def test_repetition_penalty_counts_a_token_once() -> None:
    logits = np.array([2.0, -1.0, 3.0], np.float32)
    apply_repetition_penalty(logits, np.array([0, 0, 1]), 2.0)
    assert logits.tolist() == [1.0, -2.0, 3.0]


def test_a_processor_sees_the_tokens_so_far_and_its_answer_counts() -> None:
    seen = []

    def forbid_last(token_ids: NDArray[np.int64], logits: Logits) -> Logits:
        seen.append(token_ids.tolist())
        logits[token_ids[-1]] = -np.inf
        return logits

    sampler = Sampler(GREEDY, [forbid_last])
    assert sampler(FOUR, [2, 1], ()) == 3
    assert seen == [[2, 1]]
    assert FOUR[1] == FOUR.max()  # the model's own logits are left alone


def test_a_processor_of_the_wrong_shape_is_refused() -> None:
    sampler = Sampler(GREEDY, [lambda _ids, logits: logits[:2]])
    with pytest.raises(ValueError, match=r"returned \(2,\); it must return \(4,\)"):
        sampler(FOUR, [], ())


def test_a_processor_s_own_array_is_left_alone() -> None:
    mask = np.array([0.0, 1.0, 2.0, 3.0])  # float64, and read again at every call
    mask.flags.writeable = False
    sampler = Sampler(GREEDY, [lambda *_: mask])
    assert [sampler(FOUR, [], [3]) for _ in range(3)] == [2, 2, 2]


def test_a_temperature_that_float32_rounds_to_zero_is_greedy() -> None:
    assert draws(SamplingParams(temperature=1e-50), count=5) == {1: 1.0}
    assert draws(SamplingParams(temperature=1e-37), count=5) == {1: 1.0}


def test_banned_tokens_are_never_drawn() -> None:
    assert Sampler(GREEDY)(FOUR, [], [1]) == 3
    with pytest.raises(ValueError, match="no token is left"):
        Sampler(GREEDY)(FOUR, [], [0, 1, 2, 3])


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(), SamplingParams(top_k=2)])
def test_banned_logits_are_what_they_were(params: SamplingParams) -> None:
    logits = np.tile(FOUR, (2, 1))
    samplers = [Sampler(params), Sampler(params)]
    tokens = choose(samplers, logits, [()] * 2, [(1, 3, 1), (0, 1)])
    assert tokens[0] in (0, 2)
    assert tokens[1] in (2, 3)
    with pytest.raises(ValueError, match="no token is left"):
        choose(samplers, logits, [()] * 2, [(1,), (3, 1, 0, 2, 1)])
    assert logits.tolist() == [FOUR.tolist()] * 2


def test_a_row_that_stands_for_many_is_only_read() -> None:
    logits = np.broadcast_to(FOUR, (3, 4))
    samplers = [Sampler(SamplingParams(top_k=1)) for _ in range(3)]
    assert choose(samplers, logits, [()] * 3, [(1,)] * 3) == [3, 3, 3]
    assert FOUR.argmax() == 1


@pytest.mark.parametrize("top_k", [0, 2, 50])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_an_error(value: float, top_k: int) -> None:
    logits = np.zeros((3, 30_000), np.float32)
    logits[1] = value
    samplers = [Sampler(SamplingParams(top_k=top_k)) for _ in range(3)]
    with pytest.raises(ValueError, match="largest processed logit is not finite"):
        choose(samplers, logits, [()] * 3, [()] * 3)
    logits[1, 1:] = 0
    if value == -np.inf:
        assert len(choose(samplers, logits, [()] * 3, [()] * 3)) == 3


def test_streams_differ_by_index_and_repeat_by_key() -> None:
    flat = np.zeros(1000, np.float32)

    def tokens(key: tuple[int, int]) -> list[int]:
        sampler = Sampler(SamplingParams(), (), key)
        return [sampler(flat, [], ()) for _ in range(8)]

    assert tokens((7, 0)) == tokens((7, 0))
    assert len({tuple(tokens((7, index))) for index in range(4)}) == 4


def test_log_softmax_sums_to_one() -> None:
    assert np.exp(log_softmax(FOUR)).sum() == pytest.approx(1.0, abs=1e-12)
    assert log_softmax(FOUR * 1 + 500) == pytest.approx(log_softmax(FOUR), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", True),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("min_p", -1),
        ("repetition_penalty", 0),
        ("typical_p", 0),
        ("presence_penalty", float("inf")),
        ("frequency_penalty", "1"),
        ("no_repeat_ngram_size", -1),
        ("bad_words_ids", "ab"),
        ("bad_words_ids", [3]),
        ("bad_words_ids", [[]]),
        ("bad_words_ids", [[-1]]),
        ("num_beams", 0),
        ("length_penalty", float("nan")),
        ("early_stopping", "always"),
        ("top_k", -1),
        ("top_k", 2.5),
        ("seed", -1),
        ("seed", 2**64),
        ("logit_bias", {3: float("nan")}),
        ("logit_bias", {3: float("inf")}),
        ("logit_bias", None),
    ],
)
def test_values_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} "):
        SamplingParams(**{name: value})  # type: ignore[arg-type]
