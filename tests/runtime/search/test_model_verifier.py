"""Models as verifiers: the right numbers, and nothing computed twice for a text that grows."""

import math
from pathlib import Path

import pytest

from gpt2edge import Engine, RuntimeOptions, SamplingParams
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.runtime.search import (
    AskedModel,
    BestOfN,
    Likelihood,
    OutcomeModel,
    ProcessModel,
    StepBeam,
)
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
    read = model.prefilled_tokens
    assert model.score("one", [" two", " three"]) == pytest.approx(raw[:2], abs=1e-4)
    assert model.prefilled_tokens == read  # nothing was new


def test_a_process_model_reads_the_last_token_of_each_step(values: Engine) -> None:
    steps = ["first\n\n", "second\n\n", "third"]
    ids = [values.encode("one")] + [values.encode(step) for step in steps]
    logits = values.logits([token_id for part in ids for token_id in part])[:, 0]
    ends = [sum(map(len, ids[: at + 1])) - 1 for at in (1, 2, 3)]
    expected = [sigmoid(float(logits[end])) for end in ends]
    model = ProcessModel(values)
    (scores,) = model.score_steps("one", [steps])
    assert scores == pytest.approx(expected, abs=1e-4)
    assert model.prefilled_tokens == len(logits)


def test_a_text_that_grows_costs_its_new_tokens(values: Engine) -> None:
    model = ProcessModel(values)
    steps = ["first\n\n", "second\n\n", "third\n\n"]
    for count in (1, 2, 3):
        before = model.prefilled_tokens
        model.score_steps("one", [steps[:count]])
        new = len(values.encode(steps[count - 1])) + (count == 1) * len(values.encode("one"))
        assert model.prefilled_tokens - before == new
    before = model.prefilled_tokens
    model.score_steps("one", [[*steps[:1], "fourth"], [*steps[:2], "fifth"]])
    assert model.prefilled_tokens - before == len(values.encode("fourth") + values.encode("fifth"))


def test_a_beam_under_a_process_model_reads_each_token_once(engine: Engine, values: Engine) -> None:
    model = ProcessModel(values)
    beam = StepBeam(n=4, width=2, verifier=model, step=lambda text: len(text) >= 6)
    result = beam.run(engine, "hello", sampling=WARM, max_new_tokens=24)
    assert result.best.score == max(c.score or 0 for c in result.candidates)
    assert 0 < (result.best.score or 0) < 1
    # random bytes become U+FFFD, three tokens instead of one, so there are more of them
    drawn = result.cost.generated_tokens
    assert model.prefilled_tokens <= 3 * drawn + len(values.encode("hello"))


def test_only_a_model_of_one_label_is_a_verifier(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(Gpt2EdgeError, match="this model's is text-generation"):
        OutcomeModel(engine)
    two = {**HEAD, "id2label": {"0": "wrong", "1": "right"}, "label2id": {"wrong": 0, "right": 1}}
    labels = make_engine(tmp_path, {**KEYS, **two}, options=RuntimeOptions(threads=1))
    with pytest.raises(Gpt2EdgeError, match="has 2 labels"):
        OutcomeModel(labels).score("one", [" two"])


def test_a_language_model_that_is_asked(engine: Engine) -> None:
    model = AskedModel(engine, question="?", yes="y", no="n")
    scores = model.score("one", [" two", " three"])
    for text, score in zip((" two", " three"), scores, strict=True):
        yes, no = engine.score(f"one{text}?", ["y", "n"])
        odds = math.exp(yes.logprob) / (math.exp(yes.logprob) + math.exp(no.logprob))
        assert score == pytest.approx(odds, abs=1e-4)
    before = model.prefilled_tokens
    model.score("one", [" two and"])
    assert model.prefilled_tokens - before == len(engine.encode(" and")) + 1
    with pytest.raises(ValueError, match="begin with one token"):
        AskedModel(engine, yes="no", no="now")


def test_likelihood_is_the_mean_token(engine: Engine) -> None:
    (found,) = engine.score("one", [" two"])
    scores = Likelihood(engine).score("one", [" two", ""])
    assert scores == [pytest.approx(math.exp(found.logprob / len(found.logprobs))), 0.0]
    assert Likelihood(engine).score("one", [""]) == [0.0]


def test_best_of_n_under_a_model(engine: Engine, values: Engine) -> None:
    result = BestOfN(n=4, verifier=OutcomeModel(values)).run(
        engine, "hello", sampling=WARM, max_new_tokens=8
    )
    assert result.best.score == max(c.score or 0 for c in result.candidates)
    assert result.cost.verifier_calls == 4
