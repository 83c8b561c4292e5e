"""Sensitivity: the loss from rounding each weight alone, to find those that need more bits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import onnx

from gpt2edge._checks import check_callable, check_float, check_optional
from gpt2edge._progress import Progress, silent
from gpt2edge.evaluate.divergence import token_divergences
from gpt2edge.evaluate.probe import Probe
from gpt2edge.graph import names
from gpt2edge.graph.products import Product, find_products
from gpt2edge.graph.tensors import TensorReader
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant.calibration.calibration import Calibration
from gpt2edge.quant.quantizer import opened
from gpt2edge.quant.recipes import MIXED, QuantRecipe, recipe_of
from gpt2edge.quant.rounding.blocks import fitting_block_size
from gpt2edge.quant.rounding.gptq import round_with_search
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.sampling.log_probs import log_softmax_float32

_TOKENS: Final = 512


def mixed_recipe(
    model: ModelDir | str | os.PathLike[str],
    base: QuantRecipe | str,
    *,
    mean_bits: float,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> QuantRecipe:
    """Give 8 bits to the weights of ``base`` that need them most, ``mean_bits`` on average.

    Every product's weight is rounded to ``base.bits`` alone, and the divergence of the model's
    predictions is measured. Products are widened by divergence per byte until the budget is spent.
    Raises ValueError if ``mean_bits`` is not between ``base.bits`` and 8.
    """
    model, base = opened("model", model), recipe_of(base)
    check_float("mean_bits", mean_bits, base.bits, 8)
    check_optional("calibration", calibration, Calibration, "a Calibration")
    check_callable("progress", progress)
    model.require_language_model()
    tell = progress or silent
    calibration = calibration or Calibration()
    windows = replace(calibration, tokens=min(calibration.tokens, _TOKENS)).windows(model, tell)
    products = _products(model)
    losses = sensitivities(model, base, windows, tell)
    wide = widened(products, losses, base.bits, mean_bits)
    return replace(base, name=MIXED, wide=wide)


def sensitivities(
    model: ModelDir,
    recipe: QuantRecipe,
    windows: Sequence[Sequence[int]],
    progress: Progress = silent,
) -> dict[str, float]:
    """Measure the mean KL divergence, in nats per token, from rounding each weight alone."""
    products = _products(model)
    probe = Probe(model, [names.LOGITS], overridable=[product.weight for product in products])
    reader = TensorReader(
        onnx.load(model.graph_path, load_external_data=False).graph.initializer, model.path
    )
    expected = [log_softmax_float32(logits) for logits in _logits(probe, windows, {})]
    losses = {}
    for done, product in enumerate(products):
        progress("rounding each weight alone", done, len(products))
        weight = np.asarray(reader.read(product.weight).T, np.float32)  # [n, k]
        size = fitting_block_size(weight.shape[1], recipe.block_size)
        rounded = round_with_search(weight, recipe.bits, size)
        fed = {product.weight: np.ascontiguousarray(rounded.dequantized(product.k).T)}
        found = _logits(probe, windows, fed)
        pairs = zip(expected, found, strict=True)
        kl = [token_divergences(p, log_softmax_float32(logits)) for p, logits in pairs]
        losses[product.weight] = float(np.concatenate(kl).mean())
    return losses


def widened(
    products: Sequence[Product], losses: Mapping[str, float], bits: int, mean_bits: float
) -> tuple[str, ...]:
    """Choose the weights to widen to 8 bits by divergence per byte, within the budget."""
    sizes = {product.weight: product.k * product.n for product in products}
    room = (mean_bits - bits) / (8 - bits) * sum(sizes.values())
    chosen = []
    for name in sorted(sizes, key=lambda name: -losses[name] / sizes[name]):
        if sizes[name] <= room:
            room -= sizes[name]
            chosen.append(name)
    return tuple(sorted(chosen))


def _products(model: ModelDir) -> list[Product]:
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    products = find_products(graph.node, TensorReader(graph.initializer, model.path))
    return [product for product in products.values() if not product.is_head]


def _logits(
    probe: Probe, windows: Sequence[Sequence[int]], fed: Mapping[str, FloatArray]
) -> list[FloatArray]:
    """Return logits [tokens, vocab_size] of every window."""
    return [probe.run(window, [names.LOGITS], fed)[0] for window in windows]
