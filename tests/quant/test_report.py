"""Comparing models: a model agrees with itself, a worse one is told apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import gpt2edge
from gpt2edge import GREEDY
from gpt2edge.errors import QuantizationError
from gpt2edge.evaluate.divergence import kl_divergence
from gpt2edge.evaluate.probe import Probe
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT4, INT8_BLOCK, Calibration, compare, layer_errors, quantize

TOKENS = list(range(1, 100))
COARSE = replace(INT4, name="coarse", rounding="nearest", equalize=False, embedding=4, lm_head=4)
"""Far from float32, and made in no time."""


@pytest.fixture(scope="module")
def odd_text() -> list[int]:
    """Random tokens, whose last window is not a whole one."""
    return list(map(int, np.random.default_rng(8).integers(0, 512, 90)))


def error(values: NDArray[np.float64]) -> float:
    """The standard error of a mean."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def test_a_model_agrees_with_itself(fp32: ModelDir) -> None:
    engine = gpt2edge.load(fp32.path)
    same = compare(engine, engine, TOKENS, context=32)
    assert same.tokens == 95  # the first token of each of four windows follows nothing
    assert same.kl.value == 0
    assert same.perplexity_increase.value == 0
    assert same.top1_agreement.value == 1
    assert same.greedy_agreement.value == same.greedy_length
    assert set(layer_errors(fp32, fp32, TOKENS).values()) == {0.0}


def test_every_figure_against_numpy(fp32: ModelDir, odd_text: list[int], tmp_path: Path) -> None:
    """Windows of 32, in float64 from the logits of two models that are far apart."""
    a = gpt2edge.load(fp32.path)
    b = gpt2edge.load(quantize(fp32, tmp_path / "out", recipe=COARSE).path)
    windows = [odd_text[at : at + 32] for at in range(0, len(odd_text), 32)]
    losses: list[list[NDArray[np.float64]]] = [[], []]
    kl, same = [], []
    for window in windows:
        logprobs = []
        for nll, engine in zip(losses, (a, b), strict=True):
            logits = engine.logits(window[:-1]).astype(np.float64)
            logprobs.append(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
            nll.append(-logprobs[-1][np.arange(len(window) - 1), window[1:]])
        p, q = logprobs
        kl.append((np.exp(p) * (p - q)).sum(axis=1))
        same.append(p.argmax(axis=1) == q.argmax(axis=1))
    nll_a, nll_b = (np.concatenate(part) for part in losses)
    found = compare(a, b, odd_text, context=32)
    assert found.tokens == len(nll_a)
    for estimate, own in ((found.perplexity_a, nll_a), (found.perplexity_b, nll_b)):
        assert estimate.value == pytest.approx(np.exp(own.mean()), rel=1e-4)
        assert estimate.standard_error == pytest.approx(estimate.value * error(own), rel=1e-3)
    ratio = np.exp((nll_b - nll_a).mean())
    assert found.perplexity_increase.value == pytest.approx(ratio - 1, rel=1e-3)
    paired = ratio * error(nll_b - nll_a)
    assert found.perplexity_increase.standard_error == pytest.approx(paired, rel=1e-3)
    every = np.concatenate(kl)
    assert found.kl.value == pytest.approx(every.mean(), rel=2e-4)
    assert found.kl.standard_error == pytest.approx(error(every), rel=1e-3)
    agreeing = np.concatenate(same).astype(float)
    assert 0 < found.top1_agreement.value == agreeing.mean() < 1
    assert found.top1_agreement.standard_error == pytest.approx(error(agreeing))
    reverse = compare(b, a, odd_text, context=32).kl.value
    assert reverse != pytest.approx(found.kl.value, rel=1e-3)  # else the order would go unseen


def test_divergence_of_whole_windows(fp32: ModelDir, odd_text: list[int], tmp_path: Path) -> None:
    """What ``auto`` judges by: after the last token of a window, too."""
    a = gpt2edge.load(fp32.path)
    b = gpt2edge.load(quantize(fp32, tmp_path / "out", recipe=COARSE).path)
    windows = [odd_text[:40], odd_text[40:]]
    sums = []
    for window in windows:
        p, q = (engine.logits(window).astype(np.float64) for engine in (a, b))
        p, q = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in (p, q))
        sums.append((np.exp(p) * (p - q)).sum(axis=1))
    assert kl_divergence(a, b, windows) == pytest.approx(np.concatenate(sums).mean(), rel=2e-4)


def test_written_tokens_are_counted_up_to_the_first_that_differs(
    fp32: ModelDir, odd_text: list[int], tmp_path: Path
) -> None:
    a = gpt2edge.load(fp32.path)
    b = gpt2edge.load(quantize(fp32, tmp_path / "out", recipe=COARSE).path)
    found = compare(a, b, odd_text, context=32)
    assert found.greedy_length == 16
    starts = sorted({round(at) for at in np.linspace(0, len(odd_text) - 16, 8)})
    alike = []
    for start in starts:
        x, y = (
            engine.generate(odd_text[start : start + 16], max_new_tokens=16, sampling=GREEDY)
            for engine in (a, b)
        )
        pairs = list(zip(x.token_ids, y.token_ids, strict=False))
        alike.append(next((at for at, (one, two) in enumerate(pairs) if one != two), 16))
    assert found.greedy_agreement.value == np.mean(alike)
    assert 0 < np.mean(alike) < 16


def test_layer_errors_are_relative(fp32: ModelDir, tmp_path: Path) -> None:
    model = quantize(fp32, tmp_path / "out", recipe=COARSE)
    errors = layer_errors(fp32, model, TOKENS)
    names = ["h.0/attn/residual", "h.1/mlp/residual"]
    x, y = (Probe(each, names).run(TOKENS, names) for each in (fp32, model))
    for name, one, two in zip(names, x, y, strict=True):
        expected = np.linalg.norm(two - one) / np.linalg.norm(one)
        assert errors[name.removesuffix("/residual")] == pytest.approx(expected)


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
