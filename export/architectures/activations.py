"""GPT-2's activation functions as the fewest ONNX Runtime operators that compute them."""

import math
from collections.abc import Mapping
from typing import Any, Final

from gpt2edge.graph.builder import MICROSOFT, Graph

_FUSED: Final[Mapping[str, tuple[str, str | None, Mapping[str, Any]]]] = {
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
    "hardswish": ("HardSwish", None, {}),
    "leaky_relu": ("LeakyRelu", None, {"alpha": 0.01}),
    "relu": ("Relu", None, {}),
    "sigmoid": ("Sigmoid", None, {}),
    "tanh": ("Tanh", None, {}),
}
_LAPLACE_MEAN: Final = 0.707107
_LAPLACE_DEVIATION: Final = 0.282095


def activation(g: Graph, kind: str, x: str, *, name: str, fused: bool = True) -> str:
    """Append activation ``kind``, one of ``config.ACTIVATIONS``; return its output's name.

    The output is ``x`` if nothing is computed, else ``name``, and has the shape of ``x``. Without
    ``fused``, only standard operators are used.
    """
    if kind in _FUSED:
        op_type, domain, attributes = _FUSED[kind]
        if fused or domain is None:
            return g.op(op_type, x, name=name, domain=domain, **attributes)
        return _STANDARD[op_type](g, x, name, attributes)
    if kind == "linear":
        return x
    if kind == "gelu_10":
        gelu = activation(g, "gelu", x, name=f"{name}/gelu", fused=fused)
        return g.op("Clip", gelu, g.scalar(-10.0), g.scalar(10.0), name=name)
    if kind == "relu6":
        return g.op("Clip", x, g.scalar(0.0), g.scalar(6.0), name=name)
    if kind == "relu2":
        relu = g.op("Relu", x, name=f"{name}/relu")
        return g.op("Mul", relu, relu, name=name)
    if kind == "sqrtsoftplus":
        return g.op("Sqrt", g.op("Softplus", x, name=f"{name}/softplus"), name=name)
    if kind == "mish":
        tanh = g.op("Tanh", g.op("Softplus", x, name=f"{name}/softplus"), name=f"{name}/tanh")
        return g.op("Mul", x, tanh, name=name)
    if kind == "laplace":
        return _laplace(g, x, name)
    raise ValueError(f"activation {kind!r} has no graph")


def _laplace(g: Graph, x: str, name: str) -> str:
    """Append the normal distribution function: (1 + erf((x - mean) / deviation / √2)) / 2."""
    slope = 1 / (_LAPLACE_DEVIATION * math.sqrt(2))
    scaled = g.op("Mul", x, g.scalar(slope), name=f"{name}/scaled")
    shifted = g.op("Add", scaled, g.scalar(-_LAPLACE_MEAN * slope), name=f"{name}/shifted")
    erf = g.op("Erf", shifted, name=f"{name}/erf")
    halved = g.op("Mul", erf, g.scalar(0.5), name=f"{name}/halved")
    return g.op("Add", halved, g.scalar(0.5), name=name)


def _gelu(g: Graph, x: str, name: str, _: Mapping[str, Any]) -> str:
    """Append x (1 + erf(x / √2)) / 2."""
    scaled = g.op("Mul", x, g.scalar(1 / math.sqrt(2)), name=f"{name}/scaled")
    return _gate(g, x, g.op("Erf", scaled, name=f"{name}/erf"), name)


def _tanh_gelu(g: Graph, x: str, name: str, _: Mapping[str, Any]) -> str:
    """Append x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    square = g.op("Mul", x, x, name=f"{name}/square")
    cube = g.op("Mul", square, x, name=f"{name}/cube")
    bend = g.op("Mul", cube, g.scalar(0.044715), name=f"{name}/bend")
    inner = g.op("Add", x, bend, name=f"{name}/inner")
    scaled = g.op("Mul", inner, g.scalar(math.sqrt(2 / math.pi)), name=f"{name}/scaled")
    return _gate(g, x, g.op("Tanh", scaled, name=f"{name}/tanh"), name)


def _gate(g: Graph, x: str, curve: str, name: str) -> str:
    """Append x (1 + curve) / 2."""
    raised = g.op("Add", curve, g.scalar(1.0), name=f"{name}/raised")
    doubled = g.op("Mul", x, raised, name=f"{name}/doubled")
    return g.op("Mul", doubled, g.scalar(0.5), name=name)


def _sigmoid_gate(g: Graph, x: str, name: str, attributes: Mapping[str, Any]) -> str:
    """Append x sigmoid(alpha x)."""
    scaled = g.op("Mul", x, g.scalar(attributes["alpha"]), name=f"{name}/scaled")
    return g.op("Mul", x, g.op("Sigmoid", scaled, name=f"{name}/sigmoid"), name=name)


_STANDARD: Final = {"Gelu": _gelu, "FastGelu": _tanh_gelu, "QuickGelu": _sigmoid_gate}
