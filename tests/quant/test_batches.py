"""A seed's promise: the same call, the same text; in some recipes the same in any batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge import GREEDY, Completion, Engine, SamplingParams
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT8_BLOCK, RECIPES, Calibration, quantize

TEXT = Calibration(token_ids=list(range(3, 90)))
SAMPLED = SamplingParams(temperature=0.9, top_p=0.95, seed=7)
PROMPTS = [list(range(3, stop)) for stop in (4, 9, 20, 37, 52, 90)]
EXACT = {
    "fp32": None,
    "int8-block": INT8_BLOCK,
    "int8-block+int8-cache": replace(INT8_BLOCK, kv_cache="int8"),
}


def load(fp32: ModelDir, out: Path, name: str) -> Engine:
    """A model of this recipe, quickly rounded: which kernels multiply is what counts here."""
    recipe = EXACT.get(name, RECIPES.get(name))
    if recipe is None:
        return gpt2edge.load(fp32.path)
    recipe = replace(recipe, rounding="nearest")
    return gpt2edge.load(quantize(fp32, out / "model", recipe=recipe, calibration=TEXT).path)


def written(completions: list[Completion]) -> list[tuple[object, ...]]:
    """Tokens and log-probabilities, which show what the tokens may hide.

    In float32, as the logits are: their normalizer's last bit is that of a sum over rows.
    """
    return [
        (done.token_ids, np.asarray(done.logprobs, np.float32).tolist()) for done in completions
    ]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("name", EXACT)
def test_alone_and_in_any_batch(
    fp32: ModelDir,
    tmp_path: Path,
    name: str,
    sampling: SamplingParams,
    request: pytest.FixtureRequest,
) -> None:
    if name.endswith("int8-cache"):
        request.getfixturevalue("int8_cache")
    engine = load(fp32, tmp_path, name)
    alone = [
        engine.generate(prompt, max_new_tokens=24, sampling=sampling, logprobs=0)
        for prompt in PROMPTS
    ]
    for order in (slice(None), slice(None, None, -1), slice(1, 4)):
        together = engine.generate_batch(
            PROMPTS[order], max_new_tokens=24, sampling=sampling, logprobs=0
        )
        assert written(together) == written(alone[order])
    many = engine.generate_batch(PROMPTS[:1], n=5, max_new_tokens=24, sampling=sampling, logprobs=0)
    assert written(many[:1]) == written(alone[:1])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_same_call_twice(fp32: ModelDir, tmp_path: Path, name: str) -> None:
    """Every recipe, by two engines: alone, and in a batch, whose order does not matter."""
    first = load(fp32, tmp_path, name)
    second = gpt2edge.load(first.model.path)
    options: dict[str, Any] = {"max_new_tokens": 16, "sampling": SAMPLED, "logprobs": 0}
    alone, together = (
        [engine.generate(PROMPTS[2], **options) for engine in (first, second)],
        [engine.generate_batch(PROMPTS, **options) for engine in (first, second)],
    )
    assert written(alone[:1]) == written(alone[1:])
    assert written(together[0]) == written(together[1])
    turned = first.generate_batch(PROMPTS[::-1], **options)[::-1]
    assert [done.token_ids for done in turned] == [done.token_ids for done in together[0]]
