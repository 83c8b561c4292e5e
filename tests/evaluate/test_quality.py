"""Quality of several models on one text: every figure against numpy, and against the engine's."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir
from gpt2edge.evaluate import measure_quality
from gpt2edge.evaluate.divergence import in_step
from gpt2edge.export import export_checkpoint
from gpt2edge.quant import INT4, quantize
from tests.checkpoints import SMALL, write_checkpoint
from tests.evaluate.texts import TEXT


@pytest.fixture(scope="module")
def engines(
    tiny_model: ModelDir, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Engine]]:
    """A float32 model and a coarse one."""
    small = quantize(tiny_model, tmp_path_factory.mktemp("q") / "int4", recipe=INT4)
    with gpt2edge.load(tiny_model.path) as a, gpt2edge.load(small.path) as b:
        yield [a, b]


def naive_losses(engine: Engine, context: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses [tokens] and log-probabilities [tokens, vocab], a full pass a window, in float64.

    A quantized model rounds its activations by chunk, so that its logits differ a little.
    """
    bos = engine.config.bos_token_id
    assert bos is not None
    ids = [bos, *engine.encode(TEXT, add_special_tokens=False)]
    losses, rows, scored = [], [], 1
    for start in range(0, len(ids), stride):
        window = ids[start : start + context]
        logits = engine.logits(window).astype(np.float64)
        logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        for place in range(max(1, scored - start), len(window)):
            losses.append(-logprobs[place - 1, window[place]])
            rows.append(logprobs[place - 1])
        scored = max(scored, start + len(window))
        if start + context >= len(ids):
            break
    return np.array(losses), np.array(rows)


@pytest.mark.parametrize(("context", "stride"), [(32, 16), (24, 24), (16, 5), (128, 64)])
def test_every_figure_against_numpy(engines: list[Engine], context: int, stride: int) -> None:
    first, second = measure_quality(engines, TEXT, context=context, stride=stride)
    (a, p), (b, q) = (naive_losses(engine, context, stride) for engine in engines)

    def error(values: np.ndarray) -> float:
        return float(values.std(ddof=1) / math.sqrt(len(values)))

    for found, own in ((first, a), (second, b)):
        assert found.tokens == len(own)
        assert found.perplexity.value == pytest.approx(math.exp(own.mean()), rel=1e-5)
        expected = math.exp(own.mean()) * error(own)
        assert found.perplexity.standard_error == pytest.approx(expected, rel=1e-4)
    assert first.increase is first.kl is first.top1 is None
    assert second.increase is not None
    assert second.kl is not None
    assert second.top1 is not None
    ratio = math.exp((b - a).mean())
    assert second.increase.value == pytest.approx(ratio - 1, rel=1e-3)
    assert second.increase.standard_error == pytest.approx(ratio * error(b - a), rel=1e-3)
    kl = (np.exp(p) * (p - q)).sum(axis=1)
    assert second.kl.value == pytest.approx(kl.mean(), rel=1e-3)
    assert second.kl.standard_error == pytest.approx(error(kl), rel=1e-2)
    assert second.top1.value == (p.argmax(axis=1) == q.argmax(axis=1)).mean() < 1


@pytest.mark.parametrize(("context", "stride"), [(32, None), (24, 24), (16, 5)])
def test_it_is_the_perplexity_of_the_engine(
    engines: list[Engine], context: int, stride: int | None
) -> None:
    for found, engine in zip(
        measure_quality(engines, TEXT, context=context, stride=stride), engines, strict=True
    ):
        alone = engine.perplexity(TEXT, context=context, stride=stride)
        assert found.tokens == alone.tokens
        assert found.perplexity.value == pytest.approx(alone.perplexity, rel=1e-6)
        assert found.perplexity.standard_error == pytest.approx(alone.standard_error, rel=1e-5)
        bits = None if found.bits_per_byte is None else found.bits_per_byte.value
        assert bits == (alone.bits_per_byte and pytest.approx(alone.bits_per_byte, rel=1e-6))


def test_another_vocabulary_has_no_distance(tiny_model: ModelDir, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf", {**SMALL, "vocab_size": 600, "n_positions": 64})
    tokenizer = (tiny_model.path / "tokenizer.json").read_bytes()
    (tmp_path / "hf" / "tokenizer.json").write_bytes(tokenizer)
    other = export_checkpoint(tmp_path / "hf", tmp_path / "other")
    with gpt2edge.load(tiny_model.path) as a, gpt2edge.load(other.path) as b:
        first, second, third = measure_quality([a, b, a], TEXT, context=32)
        assert second.increase is second.kl is second.top1 is None
        assert second.perplexity.value == pytest.approx(b.perplexity(TEXT, context=32).perplexity)
        assert third.kl is not None
        assert third.kl.value == 0
        assert third.perplexity == first.perplexity
        with pytest.raises(ValueError, match=r"context is 65"):
            measure_quality([a, b], TEXT, context=65)


def test_refuses_what_it_cannot_measure(engines: list[Engine]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure_quality([], TEXT, context=32)
    with pytest.raises(ValueError, match="the text is empty"):
        measure_quality(engines, "", context=32)


def test_streams_are_cut_alike() -> None:
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    cuts = ([4, 4, 2], [1, 8, 1], [10])
    streams = [iter(np.split(rows, np.cumsum(sizes)[:-1])) for sizes in cuts]
    found = list(in_step(streams))
    assert [len(each[0]) for each in found] == [1, 3, 4, 1, 1]
    for place in range(3):
        np.testing.assert_array_equal(np.concatenate([each[place] for each in found]), rows)
    with pytest.raises(AssertionError, match="different numbers"):
        list(in_step([iter([rows]), iter([rows[:9]])]))
