"""Equalization: move activation outliers into the next weight, exactly.

A channel with large activations and small weights makes both scales too coarse. Where the graph is
linear between a producer and the product that consumes it, the channel can be divided by a factor
at the producer and multiplied by it in the consumer's rows (the idea of SmoothQuant):

    ln_1 gain and bias            -> rows of attn.c_attn
    ln_2 gain and bias            -> rows of mlp.c_fc
    value columns of attn.c_attn  -> rows of attn.c_proj       (attention is linear in its values)
    columns of mlp.c_fc           -> rows of mlp.c_proj        (relu, leaky_relu, linear only)
    ln_f gain and bias            -> columns of an untied head

Where it is not exact, a link is left out: a norm that follows its sum, as in GPT-1, feeds the next
sum too, and one head of values for all heads of queries feeds several rows of ``attn.c_proj``.

The factors are powers of two, so that float32 products and sums keep every bit: the model computes
the same function.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.config import ModelConfig
from gpt2edge.graph import names
from gpt2edge.graph.names import Block
from gpt2edge.graph.tensors import TensorReader
from gpt2edge.quant.calibration.calibration import InputStatistics
from gpt2edge.runtime.arrays import FloatArray

_HOMOGENEOUS: Final = ("relu", "leaky_relu", "linear")
_LARGEST: Final = 10  # powers of two
_LAYER_NORM_RANGE: Final = 4.0  # a normalized channel rarely exceeds 4 standard deviations


class EqualizedTensors:
    """A model's tensors; the factors are applied when a tensor is read."""

    def __init__(self, reader: TensorReader) -> None:
        self._reader = reader
        self._factors: dict[str, list[tuple[int, FloatArray]]] = {}
        self.input_factors: dict[str, FloatArray] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._reader

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, without reading it."""
        return self._reader.shape(name)

    def is_float(self, name: str) -> bool:
        """Return whether a tensor of this name exists and is float32."""
        return self._reader.is_float(name)

    def read(self, name: str) -> NDArray[Any]:
        """Read the tensor and apply its factors."""
        tensor = self._reader.read(name)
        for axis, factors in self._factors.get(name, ()):
            tensor = tensor * (factors if axis == tensor.ndim - 1 else factors[:, None])
        return tensor

    def multiply(self, name: str, axis: int, factors: FloatArray) -> None:
        """Multiply a tensor by ``factors`` along ``axis`` in all later reads."""
        self._factors.setdefault(name, []).append((axis, factors))


@dataclass(frozen=True, slots=True)
class _Link:
    """The producers, as (name, first channel), of the channels along ``axis`` of ``consumer``."""

    consumer: str
    axis: int
    producers: tuple[tuple[str, int], ...]


def equalize(
    tensors: EqualizedTensors,
    config: ModelConfig,
    statistics: Mapping[str, InputStatistics] | None = None,
) -> None:
    """Equalize every link where that is exact, by ``statistics`` or else by the weights alone."""
    for link in _links(tensors, config):
        observed = statistics.get(link.consumer) if statistics else None
        k = tensors.shape(link.consumer)[link.axis]
        activations = observed.absmax if observed else _expected(tensors, link, k)
        weights = np.abs(tensors.read(link.consumer)).max(axis=1 - link.axis)  # [k]
        factors = balancing_factors(activations, weights)
        tensors.multiply(link.consumer, link.axis, factors)
        tensors.input_factors[link.consumer] = factors
        for name, first in link.producers:
            inverse = np.ones(tensors.shape(name)[-1], np.float32)  # [outputs of the producer]
            inverse[first : first + k] = 1 / factors
            tensors.multiply(name, len(tensors.shape(name)) - 1, inverse)


def balancing_factors(activations: FloatArray, weights: FloatArray) -> FloatArray:
    """Return powers of two [k] that balance the ranges of activations [k] and weights [k]."""
    used = (activations > 0) & (weights > 0)
    if not used.any():
        return np.ones_like(weights)
    ratio = np.log2(activations, where=used, out=np.zeros_like(activations))
    ratio -= np.log2(weights, where=used, out=np.zeros_like(weights))
    ratio -= np.median(ratio[used])
    powers = np.rint(ratio / 2).clip(-_LARGEST, _LARGEST)
    factors: FloatArray = np.where(used, np.exp2(powers), 1).astype(np.float32)
    return factors


def _links(tensors: EqualizedTensors, config: ModelConfig) -> list[_Link]:
    links = []
    for block in map(Block, range(config.n_layer)):
        c_attn, c_fc = block.part(names.C_ATTN), block.part(names.C_FC)
        if not config.norms_after:
            links.append(_link(c_attn, 0, block.part(names.LN_1)))
            links.append(_link(c_fc, 0, block.part(names.LN_2)))
        if config.n_kv_head == config.n_head:
            value_column = tensors.shape(names.weight(c_attn))[1] // 3 * 2
            links.append(_link(block.part(names.ATTN_C_PROJ), 0, c_attn, value_column))
        if config.activation_function in _HOMOGENEOUS:
            links.append(_link(block.part(names.MLP_C_PROJ), 0, c_fc))
    if names.weight(names.LM_HEAD) in tensors and not config.norms_after:
        links.append(_link(names.LM_HEAD, 1, names.LN_F))
    return links


def _link(consumer: str, axis: int, producer: str, first: int = 0) -> _Link:
    producers = (names.weight(producer), first), (names.bias(producer), first)
    return _Link(names.weight(consumer), axis, producers)


def _expected(tensors: EqualizedTensors, link: _Link, k: int) -> FloatArray:
    """Estimate each channel's largest magnitude [k] from the producer's weights."""
    (weight, first), (bias, _) = link.producers
    gain = tensors.read(weight)[..., first : first + k]  # LayerNorm: [k]; a product: [in, k]
    if gain.ndim == 2:  # its inputs are taken as independent, of standard deviation 1
        gain = np.sqrt(np.square(gain).sum(axis=0))  # [in, k] -> [k]
    offset = np.abs(tensors.read(bias)[first : first + k])
    estimate: FloatArray = _LAYER_NORM_RANGE * np.abs(gain) + offset
    return estimate
