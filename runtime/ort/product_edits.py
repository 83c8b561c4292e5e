"""Graph edits at load time: products by the kernels of gpt2edge.

Every ``MatMulNBits`` and ``DynamicQuantizeMatMul`` over constant weights becomes a ``BlockProduct``
or ``ColumnProduct`` (``native/src/products_op.cpp``). It does what stood around it as well, where
nothing else uses the value between: the LayerNormalization before it, the scaling of its rows (the
kernels scale rows by themselves), its bias, the activation and the residual's sum behind it.

A product that is not as ``quant`` writes it stays as it is.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from gpt2edge.graph import names
from gpt2edge.graph.nodes import GRAPH_OUTPUT, NODE, Node, read_node, shapes, write_node
from gpt2edge.graph.protobuf import Field
from gpt2edge.runtime.ort.attention_edits import DOMAIN

_BLOCKS: Final = "com.microsoft.MatMulNBits"
_COLUMNS: Final = "com.microsoft.DynamicQuantizeMatMul"
_NORM: Final = "LayerNormalization"
_INTEGERS: Final = 4  # the accuracy level of products in whole numbers
_BLOCK_SIZES: Final = (16, 32, 64, 128, 256)
_COLUMNS_BLOCK: Final = 256
"""Numbers of a row that share a scale where the weights are int8 columns."""
_ACTIVATIONS: Final = {
    "com.microsoft.FastGelu": 1,
    "Relu": 2,
    "com.microsoft.QuickGelu": 3,
    "com.microsoft.Gelu": 4,
}
"""``Activation`` of ``native/src/products.h``."""
_EPSILON: Final = 1e-5  # of LayerNormalization that does not say


class _Product(NamedTuple):
    """A product that the kernels can compute."""

    operator: str
    x: str
    weights: tuple[str, str]
    """The weights and their scales."""
    bias: str
    k: int
    n: int
    bits: int
    block_size: int


class _Graph:
    """Nodes by what they give and what they take; edits take nodes out."""

    def __init__(self, graph: list[Field]) -> None:
        self.constants = shapes(graph)
        self.nodes = {id(part): read_node(part) for part in graph if part.number == NODE}
        self.makers = {name: node for node in self.nodes.values() for name in node.outputs}
        self.users: dict[str, list[Node]] = {}
        self.uses: Counter[str] = Counter(
            part.strings(1)[0].decode() for part in graph if part.number == GRAPH_OUTPUT
        )
        for node in self.nodes.values():
            for name in filter(None, node.inputs):
                self.users.setdefault(name, []).append(node)
            self.uses.update(filter(None, (*node.inputs, *node.captured)))

    def only_user(self, name: str) -> Node | None:
        """Return the node that uses a value where nothing else does."""
        users = self.users.get(name, [])
        return users[0] if self.uses[name] == 1 and users else None

    def maker(self, name: str, operator: str) -> Node | None:
        """Return the ``operator`` that makes a value, where one does and only one node uses it."""
        node = self.makers.get(name)
        alone = node is not None and self.uses[name] == 1 and node.operator == operator
        return node if alone else None

    def remove(self, node: Node) -> None:
        """Take a node out, and those that no other node needs any more."""
        if self.nodes.pop(id(node.field), None) is None:
            return
        for name in filter(None, (*node.inputs, *node.captured)):
            self.uses[name] -= 1
            maker = self.makers.get(name)
            if maker is not None and not any(self.uses[output] for output in maker.outputs):
                self.remove(maker)


def with_products(graph: list[Field]) -> list[Field]:
    """Return the parts of ``graph`` with products by our kernels; ``graph`` where it has none."""
    inner = _Graph(graph)
    added = {}
    for part in graph:
        if part.number == NODE and (node := inner.nodes.get(id(part))) is not None:
            product = _product(node, inner)
            if product is not None:
                added[id(part)] = _fused(node, product, inner)
    if not added:
        return graph
    edited = []
    for part in graph:
        if id(part) in added:
            edited.append(added[id(part)])
        elif part.number != NODE or id(part) in inner.nodes:
            edited.append(part)
    return edited


def has_other_products(graph: Iterable[Field]) -> bool:
    """Return whether onnxruntime computes a product with a constant matrix of ``graph``."""
    parts = list(graph)
    constants = shapes(parts)
    for node in (read_node(part) for part in parts if part.number == NODE):
        if node.operator in (_BLOCKS, _COLUMNS):
            return True
        if node.operator in ("MatMul", "Gemm") and node.input(1) in constants:
            return True
    return False


def _product(node: Node, graph: _Graph) -> _Product | None:
    """Return what a node computes, where it is a product that the kernels know."""
    if node.operator == _BLOCKS:
        return _block_product(node, graph)
    if node.operator == _COLUMNS:
        return _column_product(node, graph)
    return None


def _block_product(node: Node, graph: _Graph) -> _Product | None:
    x, weights, scales, zeros, order, bias, *more = (*node.inputs, "", "", "", "", "")[:7]
    values = [node.attributes.get(name) for name in ("K", "N", "bits", "block_size")]
    sizes = [value for value in values if isinstance(value, int)]
    known = graph.constants.keys() >= {weights, scales, *filter(None, [bias])}
    integers = node.attributes.get("accuracy_level") == _INTEGERS
    if zeros or order or any(more) or not known or not integers or len(sizes) < len(values):
        return None
    k, n, bits, block_size = sizes
    if bits not in (4, 8) or block_size not in _BLOCK_SIZES:
        return None
    return _Product("BlockProduct", x, (weights, scales), bias, k, n, bits, block_size)


def _column_product(node: Node, graph: _Graph) -> _Product | None:
    x, weights, scales, zeros, bias = (*node.inputs, "", "")[:5]
    if zeros or not graph.constants.keys() >= {weights, scales, *filter(None, [bias])}:
        return None
    shape = graph.constants[weights]
    if len(shape) != 2 or graph.constants[scales] != shape[1:]:
        return None
    return _Product("ColumnProduct", x, (weights, scales), bias, *shape, 8, _COLUMNS_BLOCK)


def _fused(node: Node, product: _Product, graph: _Graph) -> Field:
    """Return our node for a product and what stands around it, which leaves the graph."""
    output = node.outputs[0]
    taken: list[Node] = [node]
    if product.operator == "ColumnProduct" and not product.bias:
        product, output = _unscaled(product, output, graph, taken)
    norm = _norm_before(product.x, graph)
    x, gain, norm_bias, epsilon = product.x, "", "", _EPSILON
    if norm is not None:
        taken.append(norm)
        x, gain, norm_bias = norm.input(0), norm.input(1), norm.input(2)
        epsilon = float(norm.attributes.get("epsilon") or _EPSILON)
    activation, alpha, output = _activation_behind(output, graph, taken)
    residual, output = _residual_behind(output, graph, taken)
    inputs = [x, *product.weights, product.bias, gain, norm_bias, residual]
    attributes: dict[str, int | float | None] = {
        "K": product.k,
        "N": product.n,
        "bits": product.bits,
        "block_size": product.block_size,
        "activation": activation,
        "alpha": alpha,
        "epsilon": epsilon,
    }
    while not inputs[-1]:
        inputs.pop()
    ours = Node(node.field, product.operator, tuple(inputs), (output,), attributes, ())
    graph.uses.update(filter(None, inputs))
    for gone in taken:
        graph.remove(gone)
    return write_node(ours, DOMAIN, product.operator)


def _unscaled(
    product: _Product, output: str, graph: _Graph, taken: list[Node]
) -> tuple[_Product, str]:
    """Return a product without the scaling of its rows, and with the bias behind that."""
    divide, multiply = graph.maker(product.x, "Div"), graph.only_user(output)
    if divide is None or multiply is None or multiply.operator != "Mul":
        return product, output
    if multiply.inputs != (output, divide.input(1)):
        return product, output
    taken += [divide, multiply]
    product, output = product._replace(x=divide.input(0)), multiply.outputs[0]
    add = graph.only_user(output)
    if add is None or add.operator != "Add" or add.input(0) != output:
        return product, output
    if graph.constants.get(add.input(1)) != (product.n,):
        return product, output
    taken.append(add)
    return product._replace(bias=add.input(1)), add.outputs[0]


def _norm_before(x: str, graph: _Graph) -> Node | None:
    """Return the LayerNormalization that makes ``x``, over the last axis, if for it alone."""
    norm = graph.maker(x, _NORM)
    if norm is None or norm.attributes.get("axis", -1) != -1 or len(norm.outputs) > 1:
        return None
    vectors = {norm.input(1), *filter(None, [norm.input(2)])}
    return norm if graph.constants.keys() >= vectors else None


def _activation_behind(output: str, graph: _Graph, taken: list[Node]) -> tuple[int, float, str]:
    """Return number and alpha of the activation of ``output``, and the name of its result."""
    node = graph.only_user(output)
    number = _ACTIVATIONS.get(node.operator, 0) if node is not None else 0
    if node is None or not number or len(node.inputs) > 1:
        return 0, 0.0, output
    taken.append(node)
    return number, float(node.attributes.get("alpha") or 1.702), node.outputs[0]


def _residual_behind(output: str, graph: _Graph, taken: list[Node]) -> tuple[str, str]:
    """Return what is added to ``output`` as a block's residual, and the name of the sum."""
    node = graph.only_user(output)
    if node is None or node.operator != "Add" or not names.is_residual(node.outputs[0]):
        return "", output
    others = [name for name in node.inputs if name != output]
    if len(others) != 1 or others[0] in graph.constants:
        return "", output
    taken.append(node)
    return others[0], node.outputs[0]
