"""GPT-2's activation functions as the fewest ONNX Runtime operators that compute them."""

import math
from collections.abc import Mapping
from typing import Any, Final

from gpt2edge.graph.builder import MICROSOFT, Nodes

_FUSED: Final[Mapping[str, tuple[str, str, Mapping[str, Any]]]] = {
    "gelu": ("Gelu", MICROSOFT, {}),
    "gelu_python": ("Gelu", MICROSOFT, {}),
    "gelu_accurate": ("FastGelu", MICROSOFT, {}),
    "gelu_fast": ("FastGelu", MICROSOFT, {}),
    "gelu_new": ("FastGelu", MICROSOFT, {}),
    "gelu_python_tanh": ("FastGelu", MICROSOFT, {}),
    "gelu_pytorch_tanh": ("FastGelu", MICROSOFT, {}),
    "quick_gelu": ("QuickGelu", MICROSOFT, {"alpha": 1.702}),
    "silu": ("QuickGelu", MICROSOFT, {"alpha": 1.0}),
    "swish": ("QuickGelu", MICROSOFT, {"alpha": 1.0}),
    "hardswish": ("HardSwish", "", {}),
    "leaky_relu": ("LeakyRelu", "", {"alpha": 0.01}),
    "relu": ("Relu", "", {}),
    "sigmoid": ("Sigmoid", "", {}),
    "tanh": ("Tanh", "", {}),
}
_LAPLACE_MEAN: Final = 0.707107
_LAPLACE_DEVIATION: Final = 0.282095


def add_activation(nodes: Nodes, kind: str, *, x: str, output: str, fused: bool = True) -> str:
    """Append activation ``kind`` (of ``ACTIVATIONS``) of value ``x``; returns the output's name.

    Without ``fused``, only standard operators are used.
    """
    if kind in _FUSED and (fused or not _FUSED[kind][1]):
        op_type, domain, attributes = _FUSED[kind]
        return nodes.add(op_type, [x], output, domain=domain, attributes=attributes)
    if kind in _FUSED:
        return _STANDARD[_FUSED[kind][0]](nodes, x, output, _FUSED[kind][2])
    if kind == "linear":
        return x
    if kind == "gelu_10":
        gelu = add_activation(nodes, "gelu", x=x, output=f"{output}/gelu", fused=fused)
        return nodes.add("Clip", [gelu, nodes.scalar(-10.0), nodes.scalar(10.0)], output)
    if kind == "relu6":
        return nodes.add("Clip", [x, nodes.scalar(0.0), nodes.scalar(6.0)], output)
    if kind == "relu2":
        relu = nodes.add("Relu", [x], f"{output}/relu")
        return nodes.add("Mul", [relu, relu], output)
    if kind == "sqrtsoftplus":
        softplus = nodes.add("Softplus", [x], f"{output}/softplus")
        return nodes.add("Sqrt", [softplus], output)
    if kind == "mish":
        softplus = nodes.add("Softplus", [x], f"{output}/softplus")
        tanh = nodes.add("Tanh", [softplus], f"{output}/tanh")
        return nodes.add("Mul", [x, tanh], output)
    if kind == "laplace":
        return _add_laplace(nodes, x, output=output)
    raise ValueError(f"activation {kind!r} has no graph")


def _add_laplace(nodes: Nodes, x: str, *, output: str) -> str:
    """The normal distribution's cumulative function: (1 + erf((x - mean) / deviation / √2)) / 2."""
    slope = 1 / (_LAPLACE_DEVIATION * math.sqrt(2))
    scaled = nodes.add("Mul", [x, nodes.scalar(slope)], f"{output}/scaled")
    shifted = nodes.add("Add", [scaled, nodes.scalar(-_LAPLACE_MEAN * slope)], f"{output}/shifted")
    erf = nodes.add("Erf", [shifted], f"{output}/erf")
    halved = nodes.add("Mul", [erf, nodes.scalar(0.5)], f"{output}/halved")
    return nodes.add("Add", [halved, nodes.scalar(0.5)], output)


def _add_gelu(nodes: Nodes, x: str, output: str, _: Mapping[str, Any]) -> str:
    """x (1 + erf(x / √2)) / 2."""
    scaled = nodes.add("Mul", [x, nodes.scalar(1 / math.sqrt(2))], f"{output}/scaled")
    erf = nodes.add("Erf", [scaled], f"{output}/erf")
    return _add_gate(nodes, x, erf, output)


def _add_tanh_gelu(nodes: Nodes, x: str, output: str, _: Mapping[str, Any]) -> str:
    """x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    square = nodes.add("Mul", [x, x], f"{output}/square")
    cube = nodes.add("Mul", [square, x], f"{output}/cube")
    bend = nodes.add("Mul", [cube, nodes.scalar(0.044715)], f"{output}/bend")
    inner = nodes.add("Add", [x, bend], f"{output}/inner")
    scaled = nodes.add("Mul", [inner, nodes.scalar(math.sqrt(2 / math.pi))], f"{output}/scaled")
    tanh = nodes.add("Tanh", [scaled], f"{output}/tanh")
    return _add_gate(nodes, x, tanh, output)


def _add_gate(nodes: Nodes, x: str, curve: str, output: str) -> str:
    """x (1 + curve) / 2."""
    raised = nodes.add("Add", [curve, nodes.scalar(1.0)], f"{output}/raised")
    doubled = nodes.add("Mul", [x, raised], f"{output}/doubled")
    return nodes.add("Mul", [doubled, nodes.scalar(0.5)], output)


def _add_sigmoid_gate(nodes: Nodes, x: str, output: str, attributes: Mapping[str, Any]) -> str:
    """x sigmoid(alpha x)."""
    scaled = nodes.add("Mul", [x, nodes.scalar(attributes["alpha"])], f"{output}/scaled")
    sigmoid = nodes.add("Sigmoid", [scaled], f"{output}/sigmoid")
    return nodes.add("Mul", [x, sigmoid], output)


_STANDARD: Final = {
    "Gelu": _add_gelu,
    "FastGelu": _add_tanh_gelu,
    "QuickGelu": _add_sigmoid_gate,
}
