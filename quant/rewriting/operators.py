"""QuantizedGraph: the operators that replace those of an exported graph."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import NodeProto, TensorProto
from onnx.helper import make_attribute

from gpt2edge.graph.builder import MICROSOFT, Graph
from gpt2edge.graph.products import Embedding, Product
from gpt2edge.graph.tensors import same_bytes, write_tensor
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.quant.recipes import QuantRecipe
from gpt2edge.quant.rounding.blocks import Blocks
from gpt2edge.quant.rounding.int8_columns import Columns
from gpt2edge.runtime.arrays import FloatArray

_SCALE_INPUT: Final = 12  # of GroupQueryAttention: the keys' scale, then the values'
_LAST: Final = "const/last"
_TINY: Final = "const/tiny"
_REACH: Final = "const/gelu_reach"
GELU_REACH: Final = 0.171
"""A bound on the negative values of GELU: exact or by tanh, it is never below -0.1701."""


@dataclass(frozen=True, slots=True)
class CacheScales:
    """The scales of one layer's keys and values, float32 [1, n_kv_head, 1, head_dim]."""

    key: FloatArray
    value: FloatArray


class QuantizedGraph(Graph):
    """A graph under construction: nodes copied from another graph, or quantized replacements."""

    def __init__(self, store: WeightsFile) -> None:
        super().__init__(store)
        self._blocks: dict[str, TensorProto] = {}

    def copy(self, node: NodeProto) -> None:
        """Append ``node`` unchanged."""
        self.nodes.append(node)

    def holds_blocks(self, weight: str, bits: int) -> bool:
        """Return whether blocks of ``weight`` with these bits are in the file already."""
        return _stem(weight, bits) in self._blocks

    def write_blocks(self, weight: str, blocks: Blocks) -> None:
        """Write the blocks of ``weight`` once, for all products and lookups that use them."""
        stem = _stem(weight, blocks.bits)
        self._blocks[stem] = write_tensor(self._store, f"{stem}.blocks", blocks.packed)
        self.tensor(f"{stem}.scales", blocks.scales)

    def block_product(
        self, node: NodeProto, product: Product, *, bits: int, accuracy_level: int
    ) -> None:
        """Append MatMulNBits in place of ``node``, on blocks that are in the file."""
        stem = _stem(product.weight, bits)
        self.initializers.append(self._blocks[stem])
        inputs = [node.input[0], f"{stem}.blocks", f"{stem}.scales", "", "", product.bias]
        self.op(
            "MatMulNBits",
            *inputs[: 6 if product.bias else 3],
            name=node.output[0],
            domain=MICROSOFT,
            K=product.k,
            N=product.n,
            bits=bits,
            block_size=self._block_size(stem, bits),
            accuracy_level=accuracy_level,
        )

    def block_lookup(self, ids: str, embedding: Embedding, *, bits: int, name: str) -> None:
        """Append GatherBlockQuantized of rows ``ids``, on blocks that are in the file.

        If blocks are padded, a Slice after the lookup removes the padding.
        """
        stem = _stem(embedding.weight, bits)
        shape, block_size = self._blocks[stem].dims, self._block_size(stem, bits)
        if all(tensor.name != f"{stem}.rows" for tensor in self.initializers):
            rows = same_bytes(self._blocks[stem], f"{stem}.rows", (shape[0], shape[1] * shape[2]))
            self.initializers.append(rows)
        is_unpadded = embedding.width % block_size == 0
        padded = self.op(
            "GatherBlockQuantized",
            *(f"{stem}.rows", ids, f"{stem}.scales"),
            name=name if is_unpadded else f"{name}/padded",
            domain=MICROSOFT,
            bits=bits,
            block_size=block_size,
            gather_axis=0,
            quantize_axis=1,
        )
        if not is_unpadded:
            ends = {"start": 0, "width": embedding.width, "axis": -1}
            inputs = [self._int64(f"{name}/{part}", value) for part, value in ends.items()]
            self.op("Slice", padded, *inputs, name=name)

    def refined_head(
        self, node: NodeProto, product: Product, recipe: QuantRecipe, embedding: Embedding
    ) -> None:
        """Append the tied head in ``recipe.lm_head`` bits, and recompute its largest logits.

        The ``recipe.refine`` largest are recomputed from the rows of the embedding, which has more
        bits.
        """
        name, x = node.output[0], node.input[0]
        coarse = f"{name}/coarse"
        plain = NodeProto()
        plain.CopyFrom(node)
        plain.output[0] = coarse
        level = recipe.accuracy_level
        self.block_product(plain, product, bits=recipe.lm_head, accuracy_level=level)
        size = self._int64(f"{name}/size", min(recipe.refine, product.n))
        last = self._int64(_LAST, -1)
        indices, rows = f"{name}/at", f"{name}/rows"
        self.op("TopK", coarse, size, name=[f"{name}/top", indices], sorted=0)  # [rows, size]
        self.block_lookup(indices, embedding, bits=recipe.embedding, name=rows)  # [rows, size, k]
        x = self.op("Unsqueeze", x, last, name=f"{name}/x")  # [rows, k, 1]
        exact = self.op("MatMul", rows, x, name=f"{name}/exact")  # [rows, size, 1]
        new = self.op("Squeeze", exact, last, name=f"{name}/new")  # [rows, size]
        self.op("ScatterElements", coarse, indices, new, name=name, axis=-1)

    def dynamic_product(
        self,
        node: NodeProto,
        product: Product,
        columns: Columns,
        *,
        by_row: bool,
        behind_gelu: bool = False,
    ) -> None:
        """Append DynamicQuantizeMatMul in place of ``node``.

        It has one activation scale for all rows. ``by_row`` divides each row by its largest
        magnitude before the product and multiplies it back after, so that activation outliers in
        one row cost the others no precision. ``behind_gelu``: no activation is below
        ``-GELU_REACH``, so the largest value serves as the largest magnitude.
        """
        stem, x, output = f"{product.weight}.int8", node.input[0], node.output[0]
        weight = [self.tensor(stem, columns.values)]
        weight.append(self.tensor(f"{stem}.scales", columns.scales))
        if not by_row:
            self._dynamic_matmul(x, *weight, "", product.bias, name=output)
            return
        scale = self._row_scale(x, f"{output}/row", behind_gelu=behind_gelu)
        divided = self.op("Div", x, scale, name=f"{output}/row/input")
        unscaled = self._dynamic_matmul(divided, *weight, "", "", name=f"{output}/row/product")
        scaled = f"{output}/row/output" if product.bias else output
        self.op("Mul", unscaled, scale, name=scaled)
        if product.bias:
            self.op("Add", scaled, product.bias, name=output)

    def int8_attention(self, node: NodeProto, scales: CacheScales) -> None:
        """Append GroupQueryAttention ``node`` with an int8 cache, scaled per channel."""
        changed = NodeProto()
        changed.CopyFrom(node)
        empty = [""] * (_SCALE_INPUT - len(node.input))
        parts = (("k", scales.key), ("v", scales.value))
        names = [self.tensor(f"{node.name}/{part}_scale", scale) for part, scale in parts]
        changed.input.extend([*empty, *names])
        for part, _ in parts:
            changed.attribute.append(make_attribute(f"{part}_quant_type", "PER_CHANNEL"))
        changed.attribute.append(make_attribute("kv_cache_bit_width", 8))
        self.copy(changed)

    def _row_scale(self, x: str, part: str, *, behind_gelu: bool) -> str:
        """Append the largest magnitude of each row, never 0: [..., k] -> [..., 1]."""
        if behind_gelu:
            magnitude, least = x, self.constant(_REACH, np.array([GELU_REACH], np.float32))
        else:
            least = self.constant(_TINY, np.array([1e-30], np.float32))
            magnitude = self.op("Abs", x, name=f"{part}/abs")
        largest = self.op("ReduceMax", magnitude, name=f"{part}/max", axes=[-1], keepdims=1)
        return self.op("Max", largest, least, name=f"{part}/scale")

    def _dynamic_matmul(self, *inputs: str, name: str) -> str:
        return self.op("DynamicQuantizeMatMul", *inputs, name=name, domain=MICROSOFT)

    def _int64(self, name: str, value: int) -> str:
        return self.constant(name, np.array([value], np.int64))

    def _block_size(self, stem: str, bits: int) -> int:
        return int(self._blocks[stem].dims[2]) * 8 // bits


def _stem(weight: str, bits: int) -> str:
    return f"{weight}.int{bits}"
