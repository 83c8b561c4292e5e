"""The int8 cache of onnxruntime's operator: what it holds, what it costs, and every way in.

That of our own kernels is in ``tests/native/test_paged_cache.py``.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import gpt2edge
from gpt2edge.errors import ProviderError, QuantizationError
from gpt2edge.graph.names import Block
from gpt2edge.graph.tensors import TensorReader
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import (
    INT8_BLOCK,
    Calibration,
    QuantRecipe,
    compare,
    layer_errors,
    quantize,
)
from gpt2edge.quant.calibration import kv_cache_scales as kv_cache
from gpt2edge.quant.calibration.equalization import EqualizedTensors
from gpt2edge.quant.calibration.kv_cache_scales import expected_range, measure_cache_scales
from gpt2edge.runtime.cache.prefix_tree import PrefixTree
from gpt2edge.runtime.ort import session
from gpt2edge.runtime.ort.library import ort

pytestmark = pytest.mark.usefixtures("int8_cache")
TOKENS = list(range(3, 90))
TEXT = Calibration(token_ids=TOKENS)
RECIPE = replace(INT8_BLOCK, kv_cache="int8")
HEAD_AND_CACHE = QuantRecipe(
    name="cache", bits=8, embedding=32, equalize=False, exclude=("h.",), kv_cache="int8"
)


@pytest.fixture(scope="module", autouse=True)
def _onnxruntime_alone() -> Iterator[None]:
    """Engines opened in this module run on onnxruntime's operators."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "library", lambda: None)
        yield


@pytest.fixture(scope="module")
def engine(fp32: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> gpt2edge.Engine:
    out = tmp_path_factory.mktemp("cache") / "out"
    return gpt2edge.load(quantize(fp32, out, recipe=RECIPE, calibration=TEXT).path)


def _tensors(model: ModelDir) -> EqualizedTensors:
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    return EqualizedTensors(TensorReader(graph.initializer, model.path))


def _row(engine: gpt2edge.Engine, row: int = 0, rows: int = 1) -> NDArray[np.generic]:
    """The first layer's keys and values of ``TOKENS`` [2, n_head, tokens, head_dim]."""
    decoder = engine.decoder(rows=rows, max_length=100)
    decoder.prefill(row, TOKENS)
    return np.asarray(decoder.cache.read(row, 0, len(TOKENS))[0])


@pytest.mark.parametrize("name", ["fp32", "odd"])
def test_it_holds_the_rounded_keys_and_values(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Against numpy: the float32 cache over the scales; the odd model has padded heads."""
    source: ModelDir = request.getfixturevalue(name)
    tokens = TOKENS[:60]
    text = Calibration(token_ids=tokens)
    model = quantize(source, tmp_path / "out", recipe=HEAD_AND_CACHE, calibration=text)
    found, exact = (
        gpt2edge.load(path).decoder(rows=1, max_length=60) for path in (model.path, source.path)
    )
    for decoder in (found, exact):
        decoder.prefill(0, tokens)
    scales = measure_cache_scales(source, [tokens], _tensors(source))["h.0/attn"]
    held, keys_and_values = found.cache.read(0, 0, 60)[0], exact.cache.read(0, 0, 60)[0]
    assert held.dtype == np.int8
    for part, scale in enumerate((scales.key, scales.value)):
        expected = np.rint(keys_and_values[part] / scale[0]).clip(-128, 127)
        assert np.abs(expected).max() >= 50  # the range is used
        assert np.abs(held[part] - expected).max() <= 1  # a tie may fall either way
        assert np.mean(held[part] == expected) > 0.99


def test_scales_leave_a_tenth_above_the_largest_value(
    fp32: ModelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the float32 cache of a whole context, where the weights ask for nothing more."""
    tokens = (TOKENS * 2)[: fp32.config.n_positions]
    assert len(tokens) == fp32.config.n_positions
    decoder = gpt2edge.load(fp32.path).decoder(rows=1, max_length=len(tokens))
    decoder.prefill(0, tokens)
    monkeypatch.setattr(kv_cache, "expected_range", lambda *_: np.float32(0))
    scales = measure_cache_scales(fp32, [tokens], _tensors(fp32))
    for layer in range(fp32.config.n_layer):
        held = decoder.cache.read(0, 0, len(tokens))[layer]  # [2, n_head, tokens, head_dim]
        largest = np.abs(np.asarray(held)).max(axis=2)
        own = scales[f"h.{layer}/attn"]
        for part, scale in enumerate((own.key, own.value)):
            assert np.allclose(127 * scale[0, :, 0], 1.1 * largest[part], rtol=1e-3)


def test_it_costs_little(fp32: ModelDir, engine: gpt2edge.Engine, tmp_path: Path) -> None:
    exact = gpt2edge.load(fp32.path)
    plain = gpt2edge.load(quantize(fp32, tmp_path / "plain", recipe=INT8_BLOCK).path)
    loss, before = (compare(exact, model, TOKENS, context=64).kl.value for model in (engine, plain))
    assert loss < before + 1e-3
    assert max(layer_errors(fp32, engine.model, TOKENS).values()) < 0.02


def test_a_poor_text_cuts_little_off(fp32: ModelDir, tmp_path: Path) -> None:
    """One token, again and again: what the weights can make of any input counts as well."""
    poor = Calibration(token_ids=[7] * 40)
    model = quantize(fp32, tmp_path / "out", recipe=RECIPE, calibration=poor)
    held = np.abs(_row(gpt2edge.load(model.path)).astype(np.int32))
    assert np.mean(held >= 127) < 1e-4
    assert held.max() > 30  # and the range is used


def test_expected_ranges_hold_what_any_text_is_like(fp32: ModelDir) -> None:
    """Normal inputs, 20,000 of them, through LayerNorm and product in numpy."""
    tensors = _tensors(fp32)
    gain, offset, weight, bias = (
        tensors.read(f"h.0.{name}")
        for name in ("ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias")
    )
    x = np.random.default_rng(0).normal(size=(20_000, len(gain))).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    x /= x.std(axis=1, keepdims=True)
    largest = np.abs((x * gain + offset) @ weight + bias).max(axis=0)
    found = expected_range(tensors, Block(0), "h.0.ln_1")
    assert np.all(largest < found)
    assert np.all(found < 2 * largest)


def test_equalized_values_have_their_own_scales(twin: ModelDir, tmp_path: Path) -> None:
    model = quantize(twin, tmp_path / "out", recipe=RECIPE, calibration=TEXT)
    held = _row(gpt2edge.load(model.path))
    largest = np.abs(held.astype(np.int32)).max(axis=(1, 2))  # [2, head_dim]
    assert largest.min() > 40
    assert largest.max() <= 127


def test_a_quarter_of_the_bytes(fp32: ModelDir, engine: gpt2edge.Engine) -> None:
    nbytes = []
    for each in (gpt2edge.load(fp32.path), engine):
        decoder = each.decoder(rows=1, max_length=100)
        decoder.prefill(0, TOKENS)
        nbytes.append(decoder.cache.nbytes)
    assert nbytes[0] == 4 * nbytes[1]


def test_rows_of_a_batch_are_what_they_are_alone(engine: gpt2edge.Engine) -> None:
    prompts = [TOKENS[:5], TOKENS[7:40], TOKENS[40:41], TOKENS]
    together = engine.generate_batch(prompts, max_new_tokens=16, logprobs=3)
    alone = [engine.generate(prompt, max_new_tokens=16, logprobs=3) for prompt in prompts]
    assert [done.token_ids for done in together] == [done.token_ids for done in alone]
    assert [done.logprobs for done in together] == [done.logprobs for done in alone]


def test_every_way_into_the_cache_gives_the_same_logits(engine: gpt2edge.Engine) -> None:
    """Chunks, forks, selection, truncation, and copies parked elsewhere: to the bit."""
    decoder = engine.decoder(rows=4, max_length=100)
    decoder.prefill(0, TOKENS[:-1])
    expected = decoder.decode(TOKENS[-1:]).copy()
    decoder.cache.truncate(0, 40)
    decoder.prefill(0, TOKENS[40:-1])
    decoder.cache.fork(0, [1, 2])
    parked = PrefixTree(1 << 20)
    parked.store(decoder.cache, 2, TOKENS[:-1])
    decoder.cache.select([0, 1, 2, 1])
    assert parked.restore(decoder.cache, 2, TOKENS) == len(TOKENS) - 1
    assert decoder.cache.layout.dtype == np.int8
    logits = decoder.decode([TOKENS[-1]] * 4)
    assert np.array_equal(logits, np.repeat(expected, 4, axis=0))


@pytest.mark.slow
def test_a_model_writes_the_text_it_is_calibrated_on(fp32: ModelDir, tmp_path: Path) -> None:
    first, second = (quantize(fp32, tmp_path / name, recipe=RECIPE) for name in "ab")
    assert first.manifest == second.manifest
    assert first.manifest.recipe is not None
    assert first.manifest.recipe["kv_cache"] == "int8"


def test_an_old_onnxruntime_is_told_to_go(
    fp32: ModelDir, engine: gpt2edge.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "__version__", "1.27.0")
    with pytest.raises(ProviderError, match=r"needs onnxruntime 1.28 or newer, and this is 1.27.0"):
        gpt2edge.load(engine.model.path)
    with pytest.raises(ProviderError, match="int8 KV cache"):
        quantize(fp32, tmp_path / "out", recipe=RECIPE)
    assert not (tmp_path / "out").exists()


def test_a_classifier_needs_a_text(fp32: ModelDir, tmp_path: Path) -> None:
    manifest = replace(fp32.manifest, task="sequence-classification")
    classifier = replace(fp32, manifest=manifest)
    with pytest.raises(QuantizationError, match="give a calibration text"):
        quantize(classifier, tmp_path / "out", recipe=RECIPE)
