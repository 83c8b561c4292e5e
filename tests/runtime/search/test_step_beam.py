"""Step search: what the papers define, and no prefix computed twice."""

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from gpt2edge import Engine, RuntimeOptions, SamplingParams
from gpt2edge.runtime.search.budget import Budget, SearchResult
from gpt2edge.runtime.search.steps import split_steps
from gpt2edge.runtime.search.strategies.step_beam import StepBeam
from gpt2edge.runtime.search.strategies.step_path import StepPath

WARM = SamplingParams(temperature=1.0, top_k=60, seed=5)
TOKENS = 26


def noise(text: str) -> float:
    """A number in [0, 1) that looks random and is the same in every run."""
    return zlib.crc32(text.encode()) / 2**32


def grade(_prompt: str, text: str) -> float:
    return noise(text)


class Process:
    """A step verifier that remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def score_steps(self, prompt: str, solutions: Sequence[Sequence[str]]) -> list[list[float]]:  # noqa: ARG002
        self.seen += [list(steps) for steps in solutions]
        return [
            [noise("".join(steps[: end + 1])) for end in range(len(steps))] for steps in solutions
        ]


def every(count: int) -> Any:
    """Steps of ``count`` characters."""
    return lambda text: len(text) >= count


def search(engine: Engine, budget: Budget | None = None, **knobs: Any) -> SearchResult:
    knobs = {"verifier": grade, "step": every(8), **knobs}
    beam = StepBeam(**knobs)
    return beam.run(engine, "hello", sampling=WARM, max_new_tokens=TOKENS, budget=budget)


def tokens(result: SearchResult) -> list[tuple[int, ...]]:
    return [candidate.completion.token_ids for candidate in result.candidates]


@pytest.mark.parametrize("diverse", [False, True])
def test_one_path_is_plain_sampling(engine: Engine, diverse: bool) -> None:
    plain = engine.generate("hello", max_new_tokens=TOKENS, sampling=WARM)
    result = search(engine, n=1, width=1, diverse=diverse)
    assert tokens(result) == [plain.token_ids]
    assert result.best.text == plain.text
    assert len(result.best.step_scores) == len(split_steps(plain.text, every(8)))


def test_dvts_of_width_one_is_independent_samples(engine: Engine) -> None:
    samples = engine.generate_batch(["hello"], n=6, max_new_tokens=TOKENS, sampling=WARM)
    assert tokens(search(engine, n=6, width=1, diverse=True)) == [s.token_ids for s in samples]


def test_dvts_of_full_width_is_one_greedy_subtree(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = []
    original = StepPath.branch

    def counted(self: StepPath, child: int, attempt: int = 0) -> StepPath:
        if self.generation.token_ids:
            parents.append((len(self.marks), tuple(self.generation.token_ids)))
        return original(self, child, attempt)

    monkeypatch.setattr(StepPath, "branch", counted)
    result = search(engine, n=4, width=4, diverse=True)
    assert len(result.candidates) == 4
    by_depth = {depth: {ids for at, ids in parents if at == depth} for depth, _ in parents}
    assert all(len(ids) == 1 for ids in by_depth.values())  # one path goes on at every step
    assert len(by_depth) >= 3
    chain = [next(iter(by_depth[depth])) for depth in sorted(by_depth)]
    assert all(later[: len(sooner)] == sooner for sooner, later in pairwise(chain))
    assert all(ids[: len(chain[-1])] == chain[-1] for ids in tokens(result))
    assert result.best.score == max(c.score or 0 for c in result.candidates)


@pytest.mark.parametrize(("n", "width", "beams"), [(4, 4, 1), (8, 2, 4), (6, 6, 1)])
def test_a_beam_keeps_n_over_m(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, n: int, width: int, beams: int
) -> None:
    rounds: dict[int, set[int]] = {}
    original = StepPath.branch

    def counted(self: StepPath, child: int, attempt: int = 0) -> StepPath:
        if self.generation.token_ids:
            rounds.setdefault(len(self.marks), set()).add(id(self))
        return original(self, child, attempt)

    monkeypatch.setattr(StepPath, "branch", counted)
    result = search(engine, n=n, width=width)
    assert {len(parents) for parents in rounds.values()} == {beams}
    assert len(result.candidates) == n


def test_nothing_is_computed_twice(engine: Engine) -> None:
    cases: list[dict[str, Any]] = [{"width": 2}, {"diverse": True}, {"lookahead": 2}]
    for knobs in cases:
        result = search(engine, **{"n": 8, "width": 4, **knobs})
        assert result.cost.prefilled_tokens == len(engine.encode("hello"))
        assert result.cost.verifier_calls > 0
        least = max(len(ids) for ids in tokens(result))
        assert result.cost.forward_calls >= least
        assert result.cost.generated_tokens <= 8 * result.cost.forward_calls


def test_no_lookahead_is_the_beam(engine: Engine) -> None:
    plain, none = search(engine, n=8, width=4), search(engine, n=8, width=4, lookahead=0)
    assert tokens(plain) == tokens(none)
    ahead = search(engine, n=8, width=4, lookahead=1)
    assert tokens(ahead) != tokens(plain)
    assert ahead.cost.generated_tokens > plain.cost.generated_tokens


def test_lookahead_scores_what_comes_after_greedy_steps(engine: Engine) -> None:
    process = Process()
    result = search(engine, n=2, width=2, lookahead=1, max_steps=1, verifier=process)
    assert engine.tokenizer is not None
    ids = result.candidates[0].completion.token_ids
    after = engine.generate(
        [*engine.encode("hello"), *ids],
        max_new_tokens=20,
        sampling=SamplingParams(temperature=0),
    )
    first, ahead = process.seen[0]
    whole = engine.tokenizer.decode([*ids, *after.token_ids])
    assert whole.startswith((first + ahead).rstrip("\ufffd"))
    assert result.candidates[0].text == first
    assert result.candidates[0].score == noise(first + ahead)
    assert result.candidates[0].step_scores == (noise(first),)


@pytest.mark.parametrize("knobs", [{}, {"diverse": True}, {"lookahead": 1}])
def test_cache_rows_change_nothing(engine: Engine, knobs: dict[str, Any]) -> None:
    tight = Engine(engine.model.path, RuntimeOptions(threads=1, cache_bytes=60_000))
    wide = search(engine, n=8, width=4, **knobs)
    assert tokens(search(tight, n=8, width=4, **knobs)) == tokens(wide)
    assert tokens(search(engine, n=8, width=4, **knobs)) == tokens(wide)


def test_a_step_verifier_sees_the_texts_steps(engine: Engine) -> None:
    process = Process()
    result = search(engine, n=4, width=2, verifier=process, aggregate="min")
    assert result.best.score == min(result.best.step_scores)
    for candidate in result.candidates:
        assert split_steps(candidate.text, every(8)) in process.seen
        assert len(candidate.step_scores) == len(split_steps(candidate.text, every(8)))


def test_a_wrong_step_is_dropped_and_drawn_again(engine: Engine) -> None:
    calls: list[str] = []

    def strict(_prompt: str, text: str) -> float:
        calls.append(text)
        return 0.0 if len(calls) <= 4 else 1.0  # the first steps of all are wrong

    result = search(engine, n=2, width=2, verifier=strict, prune_below=0.5)
    assert len(result.candidates) == 2
    assert all(0.0 not in c.step_scores for c in result.candidates)
    assert not any(c.text.startswith(text) for c in result.candidates for text in calls[:4])
    assert result.cost.prefilled_tokens == len(engine.encode("hello"))


def test_where_every_step_is_wrong_it_ends(engine: Engine) -> None:
    result = search(engine, n=2, width=1, verifier=lambda *_: 0.0, prune_below=0.5, max_steps=5)
    assert result.best.completion.finish_reason == "cancelled"


@pytest.mark.parametrize("limit", [1, 17, 60])
def test_the_best_so_far_within_the_budget(engine: Engine, limit: int) -> None:
    result = search(engine, Budget(tokens=limit), n=4, width=2)
    assert result.stopped == "tokens"
    assert result.cost.generated_tokens <= limit
    assert result.best.completion.token_ids or limit == 1


def test_ctrl_c_in_the_verifier_returns_the_best_so_far(engine: Engine) -> None:
    calls: list[str] = []

    def impatient(_prompt: str, text: str) -> float:
        calls.append(text)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return noise(text)

    result = search(engine, n=4, width=2, verifier=impatient)
    assert result.stopped == "interrupted"
    assert result.best.text
    assert result.best.score in {noise(text) for text in calls}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"n": 4, "width": 3}, "n must be a multiple of width"),
        ({"n": 0, "width": 1}, "n is 0"),
        ({"lookahead": -1}, "lookahead is -1"),
        ({"max_steps": 0}, "max_steps is 0"),
    ],
)
def test_bad_knobs(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepBeam(**{"verifier": grade, **knobs})


@pytest.mark.parametrize(
    ("text", "step", "steps"),
    [
        ("a\n\nb\n\nc", "\n\n", ["a\n\n", "b\n\n", "c"]),
        ("a\n\n", "\n\n", ["a\n\n"]),
        ("\n\na\n\n\n\nb", "\n\n", ["\n\na\n\n", "\n\nb"]),
        ("a\n\n \n", "\n\n", ["a\n\n \n"]),
        ("", "\n\n", [""]),
        ("1. x 2. y", lambda text: text.endswith(" "), ["1. ", "x ", "2. ", "y"]),
    ],
)
def test_steps_join_to_the_text(text: str, step: Any, steps: list[str]) -> None:
    assert split_steps(text, step) == steps
    assert "".join(steps) == text
