"""The products and embeddings of an exported graph, and the operators that take their place."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto
from onnx.helper import get_attribute_value, make_attribute, make_node
from onnx.numpy_helper import from_array

from gpt2edge.graph.tensors import same_bytes, write_tensor
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.quant.blocks import Blocks
from gpt2edge.quant.columns import Columns
from gpt2edge.quant.recipes import QuantRecipe

MICROSOFT: Final = "com.microsoft"
_SCALE_INPUT: Final = 12  # of GroupQueryAttention: the keys' scale, then the values'
_TINY: Final = "const/tiny"
_REACH: Final = "const/gelu_reach"
GELU_REACH: Final = 0.171
"""GELU, exact or by tanh, is nowhere below -0.1701."""
_FEWEST_OUTPUTS: Final = 16  # a classification head of a few labels gains nothing


class Tensors(Protocol):
    """What a search of the graph asks of its initializers."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it."""

    def is_float(self, name: str) -> bool:
        """Whether a tensor of this name exists and is float32."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product with a constant weight: ``node`` is its operator, ``k`` inputs, ``n`` outputs.

    ``transposed`` says that the weight is stored [n, k] as the head is, not [k, n].
    """

    node: str
    weight: str
    bias: str
    k: int
    n: int
    transposed: bool

    @property
    def is_head(self) -> bool:
        """Whether this is the product that gives the logits."""
        return not self.weight.startswith("h.")


@dataclass(frozen=True, slots=True)
class Embedding:
    """A lookup of rows of ``weight`` [rows, width]."""

    node: str
    weight: str
    rows: int
    width: int


@dataclass(frozen=True, slots=True)
class CacheScales:
    """Scales of one layer's keys and values, float32 [1, n_head, 1, head_dim]."""

    key: NDArray[np.float32]
    value: NDArray[np.float32]


def find_products(nodes: Iterable[NodeProto], tensors: Tensors) -> dict[str, Product]:
    """The products worth quantizing, by node name: Gemm and MatMul with a float32 2-D weight."""
    products = {}
    for node in nodes:
        if node.op_type not in ("Gemm", "MatMul") or not tensors.is_float(node.input[1]):
            continue
        attributes = {item.name: get_attribute_value(item) for item in node.attribute}
        transposed = bool(attributes.pop("transB", 0))
        shape = tensors.shape(node.input[1])
        plain = all(value == (name in ("alpha", "beta")) for name, value in attributes.items())
        if len(shape) != 2 or not plain:
            continue
        n, k = shape if transposed else shape[::-1]
        if n >= _FEWEST_OUTPUTS:
            bias = node.input[2] if len(node.input) > 2 else ""
            products[node.name] = Product(node.name, node.input[1], bias, k, n, transposed)
    return products


def find_embeddings(nodes: Iterable[NodeProto], tensors: Tensors) -> dict[str, Embedding]:
    """The lookups of float32 rows, by node name: tokens and positions."""
    return {
        node.name: Embedding(node.name, node.input[0], *tensors.shape(node.input[0]))
        for node in nodes
        if node.op_type == "Gather"
        and tensors.is_float(node.input[0])
        and len(tensors.shape(node.input[0])) == 2
    }


class GraphWriter:
    """Appends quantized operators to a list of nodes, and their tensors to the weights file."""

    def __init__(self, store: WeightsFile) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._store = store
        self._stored: dict[str, TensorProto] = {}

    def add_tensor(self, name: str, array: NDArray[Any]) -> str:
        """An initializer; returns its name."""
        self.initializers.append(write_tensor(self._store, name, array))
        return name

    def holds_blocks(self, weight: str, bits: int) -> bool:
        """Whether blocks of ``weight`` with these bits are in the file already."""
        return _stem(weight, bits) in self._stored

    def add_blocks(self, weight: str, blocks: Blocks) -> None:
        """Write the blocks of ``weight`` once, for the products and the lookups that follow."""
        stem = _stem(weight, blocks.bits)
        self._stored[stem] = write_tensor(self._store, f"{stem}.blocks", blocks.packed)
        self.add_tensor(f"{stem}.scales", blocks.scales)

    def add_block_product(
        self, node: NodeProto, product: Product, *, bits: int, accuracy_level: int
    ) -> None:
        """MatMulNBits in the place of ``node``, on blocks that ``add_blocks`` has written."""
        stem = _stem(product.weight, bits)
        self.initializers.append(self._stored[stem])
        inputs = [node.input[0], f"{stem}.blocks", f"{stem}.scales", "", "", product.bias]
        self._add(
            "MatMulNBits",
            inputs[: 6 if product.bias else 3],
            node.output[0],
            K=product.k,
            N=product.n,
            bits=bits,
            block_size=self._block_size(stem, bits),
            accuracy_level=accuracy_level,
        )

    def add_block_lookup(self, node: NodeProto, embedding: Embedding, *, bits: int) -> None:
        """GatherBlockQuantized in the place of ``node``, on blocks written by ``add_blocks``.

        Where blocks are padded, the padding is cut off behind the lookup.
        """
        stem, output = _stem(embedding.weight, bits), node.output[0]
        shape, block_size = self._stored[stem].dims, self._block_size(stem, bits)
        if all(tensor.name != f"{stem}.rows" for tensor in self.initializers):
            rows = same_bytes(self._stored[stem], f"{stem}.rows", (shape[0], shape[1] * shape[2]))
            self.initializers.append(rows)
        whole = embedding.width % block_size == 0
        self._add(
            "GatherBlockQuantized",
            [f"{stem}.rows", node.input[1], f"{stem}.scales"],
            output if whole else f"{output}/padded",
            bits=bits,
            block_size=block_size,
            gather_axis=0,
            quantize_axis=1,
        )
        if not whole:
            names = [f"{output}/{part}" for part in ("start", "width", "axis")]
            for name, value in zip(names, (0, embedding.width, -1), strict=True):
                self._constant(name, np.array([value], np.int64))
            self.nodes.append(make_node("Slice", [f"{output}/padded", *names], [output], output))

    def add_refined_head(
        self, node: NodeProto, product: Product, recipe: QuantRecipe, embedding: Embedding
    ) -> None:
        """The tied head in ``recipe.lm_head`` bits, its ``recipe.refine`` largest logits anew.

        Those are computed from the rows of the embedding, whose bits are more, and put in place.
        """
        name, coarse = node.output[0], f"{node.output[0]}/coarse"
        part = {key: f"{name}/{key}" for key in ("size", "top", "at", "rows", "x", "exact", "new")}
        plain = NodeProto()
        plain.CopyFrom(node)
        plain.output[0] = coarse
        level = recipe.accuracy_level
        self.add_block_product(plain, product, bits=recipe.lm_head, accuracy_level=level)
        size = min(recipe.refine, product.n)
        self._constant(part["size"], np.array([size], np.int64))
        self._constant("const/last", np.array([-1], np.int64))
        top = make_node("TopK", [coarse, part["size"]], [part["top"], part["at"]], part["top"])
        top.attribute.append(make_attribute("sorted", 0))
        self.nodes.append(top)  # [rows, size]
        lookup = make_node("Gather", [product.weight, part["at"]], [part["rows"]])
        self.add_block_lookup(lookup, embedding, bits=recipe.embedding)  # [rows, size, k]
        self._standard("Unsqueeze", [node.input[0], "const/last"], part["x"])  # [rows, k, 1]
        self._standard("MatMul", [part["rows"], part["x"]], part["exact"])
        self._standard("Squeeze", [part["exact"], "const/last"], part["new"])
        self._standard("ScatterElements", [coarse, part["at"], part["new"]], name, axis=-1)

    def add_dynamic_product(
        self,
        node: NodeProto,
        product: Product,
        columns: Columns,
        *,
        by_row: bool,
        behind_gelu: bool = False,
    ) -> None:
        """DynamicQuantizeMatMul in the place of ``node``.

        It has one activation scale for all rows; ``by_row`` divides each row by its largest
        magnitude before and multiplies it back behind, so that no row pays for another's outliers.
        ``behind_gelu`` says that none is below ``-GELU_REACH``: there the largest value will do.
        """
        stem, x, output = f"{product.weight}.int8", node.input[0], node.output[0]
        weight = [self.add_tensor(stem, columns.values)]
        weight.append(self.add_tensor(f"{stem}.scales", columns.scales))
        if not by_row:
            self._add("DynamicQuantizeMatMul", [x, *weight, "", product.bias], output)
            return
        part = f"{output}/row"
        least, magnitude = (_REACH, x) if behind_gelu else (_TINY, f"{part}/abs")
        self._constant(least, np.array([GELU_REACH if behind_gelu else 1e-30], np.float32))
        if not behind_gelu:
            self._standard("Abs", [x], magnitude)
        self._standard("ReduceMax", [magnitude], f"{part}/max", axes=[-1], keepdims=1)
        self._standard("Max", [f"{part}/max", least], f"{part}/scale")
        self._standard("Div", [x, f"{part}/scale"], f"{part}/input")
        product_output = f"{part}/product"
        self._add("DynamicQuantizeMatMul", [f"{part}/input", *weight, "", ""], product_output)
        scaled = f"{part}/output" if product.bias else output
        self._standard("Mul", [product_output, f"{part}/scale"], scaled)
        if product.bias:
            self._standard("Add", [scaled, product.bias], output)

    def add_int8_attention(self, node: NodeProto, scales: CacheScales) -> None:
        """GroupQueryAttention ``node`` with a cache that it rounds to int8, channel by channel."""
        changed = NodeProto()
        changed.CopyFrom(node)
        empty = [""] * (_SCALE_INPUT - len(node.input))
        parts = (("k", scales.key), ("v", scales.value))
        names = [self.add_tensor(f"{node.name}/{part}_scale", scale) for part, scale in parts]
        changed.input.extend([*empty, *names])
        for part, _ in parts:
            changed.attribute.append(make_attribute(f"{part}_quant_type", "PER_CHANNEL"))
        changed.attribute.append(make_attribute("kv_cache_bit_width", 8))
        self.nodes.append(changed)

    def _block_size(self, stem: str, bits: int) -> int:
        return int(self._stored[stem].dims[2]) * 8 // bits

    def _constant(self, name: str, array: NDArray[Any]) -> None:
        if all(tensor.name != name for tensor in self.initializers):
            self.initializers.append(from_array(array, name))

    def _standard(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(make_node(op_type, inputs, [output], output, **attributes))

    def _add(self, op_type: str, inputs: list[str], output: str, **attributes: int) -> None:
        node = make_node(op_type, inputs, [output], output, None, MICROSOFT, None, **attributes)
        self.nodes.append(node)


def _stem(weight: str, bits: int) -> str:
    return f"{weight}.int{bits}"
