"""Models as verifiers: the right numbers, and nothing computed twice for a text that grows."""

import math
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, RuntimeOptions, SamplingParams
from gpt2edge.errors import VerifierError
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.ort.binding import Binding
from gpt2edge.runtime.search import (
    BestOfN,
    GenerativeVerifier,
    LikelihoodVerifier,
    OutcomeModel,
    ProcessModel,
    StepBeam,
    Weighted,
)
from gpt2edge.runtime.search.verifiers.reward_models import _ModelReader
from tests.runtime.models import KEYS, make_engine

WARM = SamplingParams(temperature=1.0, top_k=60, seed=5)
HEAD = {"architectures": ["GPT2ForTokenClassification"], "id2label": {"0": "value"}}


@pytest.fixture(scope="session")
def values(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A model with one number for every token."""
    folder = tmp_path_factory.mktemp("values")
    return make_engine(folder, {**KEYS, **HEAD}, options=RuntimeOptions(threads=1))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_an_outcome_model_reads_the_last_token(values: Engine) -> None:
    raw = [float(values.logits(f"one{text}")[-1, 0]) for text in (" two", " three", "")]
    model = OutcomeModel(values, activation="none")
    assert model.score("one", [" two", " three", ""]) == pytest.approx(raw, abs=1e-4)
    probabilities = OutcomeModel(values).score("one", [" two", " three", ""])
    assert probabilities == pytest.approx([sigmoid(value) for value in raw], abs=1e-4)
    read = model.reading.tokens
    assert model.score("one", [" two", " three"]) == pytest.approx(raw[:2], abs=1e-4)
    assert model.reading.tokens == read  # nothing was new


def test_a_process_model_reads_the_last_token_of_each_step(values: Engine) -> None:
    steps = ["first\n\n", "second\n\n", "third"]
    ids = [values.encode("one")] + [values.encode(step) for step in steps]
    logits = values.logits([token_id for part in ids for token_id in part])[:, 0]
    ends = [sum(map(len, ids[: at + 1])) - 1 for at in (1, 2, 3)]
    expected = [sigmoid(float(logits[end])) for end in ends]
    model = ProcessModel(values)
    (scores,) = model.score_steps("one", [steps])
    assert scores == pytest.approx(expected, abs=1e-4)
    assert model.reading.tokens == len(logits)


def test_a_text_that_grows_costs_its_new_tokens(values: Engine) -> None:
    model = ProcessModel(values)
    steps = ["first\n\n", "second\n\n", "third\n\n"]
    for count in (1, 2, 3):
        before = model.reading.tokens
        model.score_steps("one", [steps[:count]])
        new = len(values.encode(steps[count - 1])) + (count == 1) * len(values.encode("one"))
        assert model.reading.tokens - before == new
    before = model.reading.tokens
    model.score_steps("one", [[*steps[:1], "fourth"], [*steps[:2], "fifth"]])
    assert model.reading.tokens - before == len(values.encode("fourth") + values.encode("fifth"))


def test_a_beam_under_a_process_model_reads_each_token_once(engine: Engine, values: Engine) -> None:
    model = ProcessModel(values)
    beam = StepBeam(n=4, width=2, verifier=model, step=lambda text: len(text) >= 6)
    result = beam.run(engine, "hello", sampling=WARM, max_new_tokens=24)
    assert result.best.score == max(c.score or 0 for c in result.candidates)
    assert 0 < (result.best.score or 0) < 1
    # random bytes become U+FFFD, three tokens instead of one, so there are more of them
    drawn = result.cost.generated_tokens
    assert model.reading.tokens <= 3 * drawn + len(values.encode("hello"))


def test_only_a_model_of_one_label_is_a_verifier(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match="this model's task is text-generation"):
        OutcomeModel(engine)
    two = {**HEAD, "id2label": {"0": "wrong", "1": "right"}, "label2id": {"wrong": 0, "right": 1}}
    labels = make_engine(tmp_path, {**KEYS, **two}, options=RuntimeOptions(threads=1))
    with pytest.raises(VerifierError, match="has 2 labels"):
        OutcomeModel(labels).score("one", [" two"])


def test_a_language_model_that_is_asked(engine: Engine) -> None:
    model = GenerativeVerifier(engine, question="?", yes="y", no="n")
    scores = model.score("one", [" two", " three"])
    for text, score in zip((" two", " three"), scores, strict=True):
        yes, no = engine.score(f"one{text}?", ["y", "n"])
        odds = math.exp(yes.logprob) / (math.exp(yes.logprob) + math.exp(no.logprob))
        assert score == pytest.approx(odds, abs=1e-4)
    before = model.reading.tokens
    model.score("one", [" two and"])
    assert model.reading.tokens - before == len(engine.encode(" and")) + 1
    with pytest.raises(ValueError, match="begin with the same token"):
        GenerativeVerifier(engine, yes="no", no="now")


def test_likelihood_is_the_mean_token(engine: Engine) -> None:
    (found,) = engine.score("one", [" two"])
    scores = LikelihoodVerifier(engine).score("one", [" two", ""])
    assert scores == [pytest.approx(math.exp(found.logprob / len(found.logprobs))), 0.0]
    assert LikelihoodVerifier(engine).score("one", [""]) == [0.0]


def test_likelihood_of_a_text_that_grows_costs_its_new_tokens(engine: Engine) -> None:
    model = LikelihoodVerifier(engine)
    texts = [" two", " two and three", " two and four"]
    before = len(engine.encode("one")) - 1  # the last token of a text says nothing about it
    known: list[list[int]] = []
    for text in texts:
        own = engine.encode(text)
        shared = max((_common(own, other) for other in known), default=0)
        count = model.reading.tokens
        (found,) = engine.score("one", [text])
        expected = math.exp(found.logprob / len(found.logprobs))
        assert model.score("one", [text]) == pytest.approx([expected], abs=1e-6)
        assert model.reading.tokens - count == before + len(own) - shared
        before = 0
        known.append(own)
    count = model.reading.tokens
    model.score("one", texts)
    assert model.reading.tokens == count


def _common(first: list[int], second: list[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second)))  # noqa: B905


@pytest.mark.parametrize("kind", ["outcome", "process", "weighted", "likelihood", "asked"])
def test_what_a_verifier_reads_is_in_the_cost(
    engine: Engine, values: Engine, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers: dict[str, Callable[[], Any]] = {
        "outcome": lambda: OutcomeModel(values),
        "process": lambda: ProcessModel(values),
        "weighted": lambda: Weighted(
            [(1, OutcomeModel(values)), (1, lambda *_: 1.0), (1, LikelihoodVerifier(engine))]
        ),
        "likelihood": lambda: LikelihoodVerifier(engine),
        "asked": lambda: GenerativeVerifier(engine, question="?", yes="y", no="n"),
    }
    model = makers[kind]()
    parts = [part for _, part in model.parts] if kind == "weighted" else [model]
    decoders = [id(part._row([0])[0]) for part in parts if isinstance(part, _ModelReader)]
    run, calls = Decoder._run, []

    def counted(self: Decoder, binding: Binding, first: int, count: int, tokens: int) -> None:
        calls.append((id(self) in decoders, count * tokens))
        run(self, binding, first, count, tokens)

    monkeypatch.setattr(Decoder, "_run", counted)
    beam = StepBeam(n=4, width=2, verifier=model, step=lambda text: len(text) >= 6)
    best = BestOfN(n=3, verifier=model)
    for strategy in (beam, best):
        calls.clear()
        cost = strategy.run(engine, "hello", sampling=WARM, max_new_tokens=18).cost
        own = [tokens for is_verifier, tokens in calls if is_verifier]
        assert (cost.verifier_tokens, cost.verifier_forward_calls) == (sum(own), len(own))
        assert cost.forward_calls == len(calls) - len(own)
        assert cost.verifier_calls > 0


@pytest.mark.parametrize(
    ("kind", "words"), [(LikelihoodVerifier, {}), (GenerativeVerifier, {"yes": "y", "no": "n"})]
)
def test_a_long_prompt_costs_its_chunks(
    engine: Engine, kind: Any, words: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls of either model are counted as they are made, several for one prompt."""
    chunked = Engine(engine.model.path, RuntimeOptions(prefill_chunk=32))
    run, calls = Decoder._run, []

    def counted(self: Decoder, binding: Binding, first: int, count: int, tokens: int) -> None:
        calls.append(count * tokens)
        run(self, binding, first, count, tokens)

    monkeypatch.setattr(Decoder, "_run", counted)
    strategy = BestOfN(n=2, verifier=kind(chunked, **words))
    cost = strategy.run(chunked, "hello hello " * 12, sampling=WARM, max_new_tokens=4).cost
    assert cost.forward_calls + cost.verifier_forward_calls == len(calls)
    generated = cost.generated_tokens - 2  # a sample's first token comes with the prompt
    assert cost.prefilled_tokens + generated + cost.verifier_tokens == sum(calls)
    assert calls.count(32) > 1


def test_a_function_reads_nothing(engine: Engine) -> None:
    strategy = BestOfN(n=3, verifier=lambda _prompt, text: float(len(text)))
    cost = strategy.run(engine, "hello", sampling=WARM, max_new_tokens=6).cost
    assert (cost.verifier_calls, cost.verifier_tokens, cost.verifier_forward_calls) == (3, 0, 0)


def test_best_of_n_under_a_model(engine: Engine, values: Engine) -> None:
    result = BestOfN(n=4, verifier=OutcomeModel(values)).run(
        engine, "hello", sampling=WARM, max_new_tokens=8
    )
    assert result.best.score == max(c.score or 0 for c in result.candidates)
    assert result.cost.verifier_calls == 4
