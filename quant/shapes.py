"""Activations as [batch, sequence, width] throughout: what only Gemm needs flattened."""

from collections.abc import Sequence
from typing import Final

from onnx import NodeProto

_FLATTENED: Final = ("embedding/2d", "/attn/qkv", "/attn/2d")
"""How the exporter's reshapes between [rows, width] and [batch, sequence, width] end."""


def in_three_dimensions(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """``nodes`` without the reshapes around products, where all of those take three dimensions.

    onnxruntime copies what it reshapes: 3 of 28 microseconds that a layer's small operators take
    in a decode step, and more for more rows.
    """
    if any(node.op_type == "Gemm" and node.name.startswith("h.") for node in nodes):
        return list(nodes)
    source: dict[str, str] = {}
    kept = []
    for node in nodes:
        inputs = [source.get(name, name) for name in node.input]
        if node.op_type == "Reshape" and node.name.endswith(_FLATTENED):
            source[node.output[0]] = inputs[0]
            continue
        node.input[:] = inputs
        kept.append(node)
    return kept
