"""Rewriter: copy a float32 graph node by node, with the recipe's operators in place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from onnx import ModelProto, NodeProto

from gpt2edge._progress import Progress, silent
from gpt2edge.graph.products import Embedding, Product, find_embeddings, find_products
from gpt2edge.quant.calibration.calibration import InputMoments, Observer
from gpt2edge.quant.calibration.equalization import EqualizedTensors
from gpt2edge.quant.calibration.kv_cache_scales import declare_int8_cache
from gpt2edge.quant.recipes import FLOAT_BITS, QuantRecipe, names_any
from gpt2edge.quant.rewriting.operators import CacheScales, QuantizedGraph
from gpt2edge.quant.rewriting.remove_reshapes import remove_reshapes
from gpt2edge.quant.rounding.blocks import Blocks, fitting_block_size, round_to_blocks
from gpt2edge.quant.rounding.gptq import (
    columns_with_compensation,
    round_with_compensation,
    round_with_search,
)
from gpt2edge.quant.rounding.int8_columns import Columns, round_to_columns
from gpt2edge.runtime.arrays import FloatArray

_MOMENT_BYTES: Final = 600 << 20
_UNEVEN: Final = 2.5
"""A product whose input has at least this spread is scaled per row, whatever the recipe names."""


class Moments:
    """The moments of products' inputs, measured for as many products at a time as fit in memory."""

    def __init__(self, observer: Observer, tensors: EqualizedTensors, progress: Progress) -> None:
        self._observer = observer
        self._factors = tensors.input_factors
        self._progress = progress
        self._names = list(observer.products)
        self._held: dict[str, InputMoments] = {}

    def take(self, weight: str) -> InputMoments:
        """Return the moments of a product's input after equalization, and free them."""
        if weight not in self._held:
            names = self._group(weight)
            self._held = self._observer.moments(names, self._factors, self._progress)
        return self._held.pop(weight)

    def _group(self, first: str) -> Sequence[str]:
        names: list[str] = []
        room = _MOMENT_BYTES
        for name in self._names[self._names.index(first) :]:
            room -= 4 * self._observer.products[name].k ** 2
            if names and room < 0:
                break
            names.append(name)
        return names


@dataclass(slots=True)
class Rewriter:
    """Rewrites one graph; ``quantized`` names the weights that were replaced.

    ``cache_scales``, by the name of the attention node, make that node's cache int8.
    """

    tensors: EqualizedTensors
    graph: QuantizedGraph
    recipe: QuantRecipe
    moments: Moments | None = None
    cache_scales: Mapping[str, CacheScales] = field(default_factory=dict)
    quantized: set[str] = field(default_factory=set)
    embedded: dict[str, Embedding] = field(default_factory=dict)
    gelus: set[str] = field(default_factory=set)
    progress: Progress = silent

    def rewrite(self, model: ModelProto) -> ModelProto:
        """Return the quantized model; tensors go to the graph's file in the order of their use."""
        nodes = model.graph.node
        self.gelus = {node.output[0] for node in nodes if node.op_type in ("FastGelu", "Gelu")}
        products = find_products(nodes, self.tensors)
        embeddings = find_embeddings(nodes, self.tensors)
        still_used: set[str] = set()
        weights = sum(node.name in products or node.name in embeddings for node in nodes)
        done = 0
        for node in nodes:
            if node.name in products or node.name in embeddings:
                self.progress("rounding weights", done, weights)
                done += 1
            if node.name in products and self._replace_product(node, products[node.name]):
                continue
            if node.name in embeddings and self._replace_lookup(node, embeddings[node.name]):
                continue
            if node.name in self.cache_scales:
                self.graph.int8_attention(node, self.cache_scales[node.name])
                continue
            still_used.update(node.input)
            self.graph.copy(node)
        self.progress("writing the other tensors", 0, 0)
        for tensor in model.graph.initializer:
            if tensor.name not in self.quantized or tensor.name in still_used:
                self.graph.tensor(tensor.name, self.tensors.read(tensor.name))
        return self._assemble(model)

    def _replace_product(self, node: NodeProto, product: Product) -> bool:
        recipe, weight = self.recipe, product.weight
        wide = names_any(recipe.wide, weight)
        bits = recipe.lm_head if product.is_head else 8 if wide else recipe.bits
        if bits == FLOAT_BITS or names_any(recipe.exclude, weight):
            return False
        self.quantized.add(weight)
        if recipe.scheme == "dynamic" and not product.is_head and not wide:
            columns, by_row = self._round_columns(product)
            behind_gelu = node.input[0] in self.gelus
            self.graph.dynamic_product(
                node, product, columns, by_row=by_row, behind_gelu=behind_gelu
            )
            return True
        if not self.graph.holds_blocks(weight, bits):
            self.graph.write_blocks(weight, self._round(product, bits))
        if (
            product.is_head
            and bits < recipe.embedding
            and recipe.refine
            and weight in self.embedded
        ):
            self.graph.refined_head(node, product, recipe, self.embedded[weight])
        else:
            level = recipe.accuracy_level
            self.graph.block_product(node, product, bits=bits, accuracy_level=level)
        return True

    def _replace_lookup(self, node: NodeProto, embedding: Embedding) -> bool:
        recipe, weight = self.recipe, embedding.weight
        if recipe.embedding == FLOAT_BITS or names_any(recipe.exclude, weight):
            return False
        self.quantized.add(weight)
        rounded = self._round_plainly(weight, self.tensors.read(weight), recipe.embedding)
        self.graph.write_blocks(weight, rounded)
        self.graph.block_lookup(
            node.input[1], embedding, bits=recipe.embedding, name=node.output[0]
        )
        self.embedded[weight] = embedding
        return True

    def _round(self, product: Product, bits: int) -> Blocks:
        name, weight = product.weight, self._read(product)
        if self.moments is None or product.is_head:
            return self._round_plainly(name, weight, bits)
        moments = self.moments.take(name).second
        return round_with_compensation(weight, bits, self._block_size(name, weight), moments)

    def _round_columns(self, product: Product) -> tuple[Columns, bool]:
        """Return the columns, and whether their activations are scaled per row."""
        weight, recipe = self._read(product).T, self.recipe
        by_row = names_any(recipe.by_row, product.weight)
        if self.moments is None:
            return round_to_columns(weight, portable=recipe.portable), by_row
        moments = self.moments.take(product.weight)
        columns = columns_with_compensation(weight, moments.second, portable=recipe.portable)
        return columns, by_row or moments.spread > _UNEVEN

    def _round_plainly(self, name: str, weight: FloatArray, bits: int) -> Blocks:
        """Round to nearest, or with searched scales for fewer than 8 bits, where they pay off."""
        searched = self.recipe.rounding != "nearest" and bits < 8
        round_weight = round_with_search if searched else round_to_blocks
        return round_weight(weight, bits, self._block_size(name, weight))

    def _block_size(self, name: str, weight: FloatArray) -> int:
        return fitting_block_size(weight.shape[1], self.recipe.block_size_of(name))

    def _read(self, product: Product) -> FloatArray:
        """Read the weight as [n, k]."""
        weight: FloatArray = self.tensors.read(product.weight)
        return weight if product.transposed else weight.T

    def _assemble(self, original: ModelProto) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(original)
        del model.graph.node[:], model.graph.initializer[:]
        outputs = [value.name for value in original.graph.output]
        model.graph.node.extend(remove_reshapes(self.graph.nodes, outputs))
        model.graph.initializer.extend(self.graph.initializers)
        if self.cache_scales:
            declare_int8_cache(model)
        return model
