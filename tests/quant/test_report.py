"""Comparing models: a model agrees with itself, a worse one is told apart."""

from pathlib import Path

import pytest

import gpt2edge
from gpt2edge.errors import QuantizationError
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT4, INT8_BLOCK, Calibration, compare, layer_errors, quantize

TOKENS = list(range(1, 100))


def test_a_model_agrees_with_itself(fp32: ModelDir) -> None:
    engine = gpt2edge.load(fp32.path)
    same = compare(engine, engine, TOKENS, context=32)
    assert same.tokens == 95  # the first token of each of four windows follows nothing
    assert same.kl.value == 0
    assert same.perplexity_increase.value == 0
    assert same.top1_agreement.value == 1
    assert same.greedy_agreement.value == same.greedy_length
    assert set(layer_errors(fp32, fp32, TOKENS).values()) == {0.0}


def test_fewer_bits_lose_more(fp32: ModelDir, tmp_path: Path) -> None:
    engine = gpt2edge.load(fp32.path)
    losses, errors = [], []
    for recipe in (INT8_BLOCK, INT4):
        text = Calibration(token_ids=TOKENS)
        model = quantize(fp32, tmp_path / recipe.name, recipe=recipe, calibration=text)
        losses.append(compare(engine, gpt2edge.load(model.path), TOKENS, context=64).kl.value)
        errors.append(layer_errors(fp32, model, TOKENS)["h.1/mlp"])
    assert 0 < 5 * losses[0] < losses[1]
    assert 0 < 3 * errors[0] < errors[1]


@pytest.mark.parametrize(("tokens", "context"), [([1], 32), (TOKENS, 1), (TOKENS, 1000)])
def test_refuses_what_it_cannot_measure(fp32: ModelDir, tokens: list[int], context: int) -> None:
    engine = gpt2edge.load(fp32.path)
    with pytest.raises(ValueError, match=r"fewer than two tokens|context is"):
        compare(engine, engine, tokens, context=context)


def test_refuses_another_vocabulary(fp32: ModelDir, odd: ModelDir) -> None:
    with pytest.raises(ValueError, match="512 and 97 tokens"):
        compare(gpt2edge.load(fp32.path), gpt2edge.load(odd.path), TOKENS, context=32)


def test_refuses_a_short_calibration_text(fp32: ModelDir, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="has 3 tokens; at least 32"):
        quantize(
            fp32,
            tmp_path / "out",
            recipe=INT4,
            calibration=Calibration(token_ids=[1, 2, 3]),
        )
    assert not (tmp_path / "out").exists()
