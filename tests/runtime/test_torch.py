"""The engine against transformers' generate on one checkpoint: the same tokens, the same scores."""

from typing import Any

import numpy as np
import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.runtime.sampling.sampler import Sampler
from gpt2edge.runtime.text.stopping import StopParams
from tests.runtime.models import EOS, KEYS, make_engine

torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

PROMPT = [10, 200, 31, 7, 7, 42]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Any]:
    folder = tmp_path_factory.mktemp("torch")
    engine = make_engine(folder, KEYS)
    model = transformers.GPT2LMHeadModel.from_pretrained(folder / "hf", dtype=torch.float32)
    return engine, model.eval()


@pytest.mark.parametrize(
    ("sampling", "stop", "theirs"),
    [
        ({}, {}, {}),
        ({"repetition_penalty": 1.3}, {}, {"repetition_penalty": 1.3}),
        ({"repetition_penalty": 0.7}, {}, {"repetition_penalty": 0.7}),
        (
            {"logit_bias": {5: 4.0, 9: -2.5}},
            {},
            {"sequence_bias": [[[5], 4.0], [[9], -2.5]]},
        ),
        ({}, {"min_new_tokens": 30}, {"min_new_tokens": 30}),
        ({"logit_bias": {EOS: 6.0}}, {}, {"sequence_bias": [[[EOS], 6.0]]}),
        (
            {"logit_bias": {7: 4.0}, "repetition_penalty": 1.5, "no_repeat_ngram_size": 3},
            {},
            {
                "sequence_bias": [[[7], 4.0]],
                "repetition_penalty": 1.5,
                "no_repeat_ngram_size": 3,
            },
        ),
    ],
)
def test_greedy_with_processors(
    both: tuple[Engine, Any], sampling: dict[str, Any], stop: dict[str, Any], theirs: dict[str, Any]
) -> None:
    engine, model = both
    expected = model.generate(
        torch.tensor([PROMPT]),
        max_new_tokens=200,
        do_sample=False,
        eos_token_id=EOS,
        pad_token_id=EOS,
        **theirs,
    )[0, len(PROMPT) :].tolist()
    done = engine.generate(
        PROMPT,
        max_new_tokens=200,
        sampling=SamplingParams(temperature=0.0, **sampling),
        stop=StopParams(**stop),
    )
    assert list(done.token_ids) == expected


@pytest.mark.parametrize(
    "cuts",
    [
        {"temperature": 0.7},
        {"top_k": 7},
        {"top_p": 0.6},
        {"top_k": 30, "top_p": 0.8, "temperature": 1.7},
        {"min_p": 0.1},
        {"min_p": 0.05, "top_k": 20, "temperature": 0.5},
        {"typical_p": 0.4},
        {"typical_p": 0.8, "top_k": 50, "temperature": 0.8},
    ],
)
def test_the_cuts_leave_transformers_distribution(
    both: tuple[Engine, Any], cuts: dict[str, Any]
) -> None:
    engine, model = both
    logits = engine.logits(PROMPT)[-1]
    filtered = model.generate(
        torch.tensor([PROMPT]),
        max_new_tokens=1,
        do_sample=True,
        output_scores=True,
        return_dict_in_generate=True,
        pad_token_id=EOS,
        **{"top_k": 0, **cuts},
    ).scores[0][0]
    expected = torch.softmax(filtered.double(), -1).numpy()
    sampler = Sampler(SamplingParams(**cuts), (), (1, 0))
    drawn = np.bincount([sampler(logits, PROMPT, ()) for _ in range(20_000)], minlength=260)
    assert np.flatnonzero(expected[drawn > 0] == 0).size == 0
    assert np.abs(drawn / 20_000 - expected).max() < 0.015


def test_scores_and_perplexity(both: tuple[Engine, Any]) -> None:
    engine, model = both
    token_ids = np.random.default_rng(2).integers(0, 259, 400).tolist()
    with torch.inference_mode():
        logits = model(torch.tensor([[EOS, *token_ids]])).logits[0, :-1].double()
    logprobs = torch.log_softmax(logits, -1)[range(400), token_ids].numpy()
    (score,) = engine.score([EOS, *token_ids[:100]], [token_ids[100:]])
    assert score.logprobs == pytest.approx(logprobs[100:], abs=1e-4)
    result = engine.perplexity(token_ids, context=1024)
    assert result.perplexity == pytest.approx(np.exp(-logprobs.mean()), rel=1e-5)
