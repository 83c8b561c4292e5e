"""The bytes of a graph, with other values of some tensors where they are given."""

from collections.abc import Mapping
from pathlib import Path

from gpt2edge.runtime.arrays import FloatArray


def read_graph(path: Path, tensors: Mapping[str, FloatArray] | None) -> bytes:
    """Read a serialized graph; ``tensors`` replace those of their names.

    Raises ValueError for a tensor that the graph does not hold.
    """
    graph = path.read_bytes()
    if not tensors:
        return graph
    from gpt2edge.runtime.ort.graph_values import GraphValues  # only for those who steer

    return GraphValues(graph).with_tensors(tensors)
