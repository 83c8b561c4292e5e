"""Products and embeddings: the nodes of a graph that hold nearly all of its weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from onnx import NodeProto
from onnx.helper import get_attribute_value

from gpt2edge.graph import names

_FEWEST_OUTPUTS: Final = 16  # quantizing a classification head of a few labels saves nothing


class Tensors(Protocol):
    """A collection of initializers that tells their shapes and types."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, without reading it."""

    def is_float(self, name: str) -> bool:
        """Return whether a tensor of this name exists and is float32."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product with a constant weight: ``node`` is its operator, ``k`` inputs, ``n`` outputs.

    If ``transposed``, the weight is stored [n, k], as the head is, not [k, n].
    """

    node: str
    weight: str
    bias: str
    k: int
    n: int
    transposed: bool

    @property
    def is_head(self) -> bool:
        """Return whether this product computes the logits."""
        return not names.in_block(self.weight)


@dataclass(frozen=True, slots=True)
class Embedding:
    """A lookup of rows of ``weight`` [rows, width]."""

    node: str
    weight: str
    rows: int
    width: int


def find_products(nodes: Iterable[NodeProto], tensors: Tensors) -> dict[str, Product]:
    """Find the products worth quantizing, by node name: Gemm and MatMul with a float32 matrix."""
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
    """Find the lookups of float32 rows, by node name: tokens and positions."""
    return {
        node.name: Embedding(node.name, node.input[0], *tensors.shape(node.input[0]))
        for node in nodes
        if node.op_type == "Gather"
        and tensors.is_float(node.input[0])
        and len(tensors.shape(node.input[0])) == 2
    }
