"""GPT-2's activation functions as the fewest ONNX Runtime operators that compute them."""

import math
from collections.abc import Mapping
from typing import Any, Final

from gpt2edge.export.nodes import MICROSOFT, Nodes

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


def add_activation(nodes: Nodes, kind: str, *, x: str, output: str) -> str:
    """Append activation ``kind`` (of ``ACTIVATIONS``) of value ``x``; returns the output's name."""
    if kind in _FUSED:
        op_type, domain, attributes = _FUSED[kind]
        return nodes.add(op_type, [x], output, domain=domain, attributes=attributes)
    if kind == "linear":
        return x
    if kind == "gelu_10":
        gelu = nodes.add("Gelu", [x], f"{output}/gelu", domain=MICROSOFT)
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
