"""Profile ``portable``: standard ONNX operators only, in Optimum's layout and names.

Any engine that runs ONNX takes it. The inputs and outputs are those of profile ``cpu`` without
``logits_to_keep``; ``present`` is ``past_key_values`` with the new tokens behind it, and
``attention_mask`` may hide any token, so that batches can be padded on the left:

    scores[b, h, s, t] = q[b, h, s] · k[b, h, t] * scale, where t <= past + s and mask[b, t] is 1
"""

from typing import Final

import numpy as np
from onnx import TensorProto, ValueInfoProto

from gpt2edge.config import ModelConfig
from gpt2edge.export.architectures.gpt2 import Gpt2Graph
from gpt2edge.export.architectures.head_padding import Weights
from gpt2edge.export.layout import Head
from gpt2edge.graph.builder import Nodes

_HIDDEN: Final = float(np.finfo(np.float32).min) / 2
"""Added to a hidden score. Half of the least float32: with any score it stays finite, so that a
query that sees nothing, as padding does, gets no NaN."""


class PortableGraph(Gpt2Graph):
    """GPT-2 with attention written out and a cache that grows by concatenation."""

    domains = ("",)

    def __init__(self, config: ModelConfig, head: Head, weights: Weights, nodes: Nodes) -> None:
        super().__init__(config, head, weights, nodes)
        self._weights = weights  # heads as they are: no kernel asks for a multiple of 8
        self._head_dim = config.head_dim

    def inputs(self) -> list[ValueInfoProto]:
        """Declared inputs, as Optimum names them."""
        return self._common_inputs("past_sequence_length + sequence_length")

    def add_mask(self) -> None:
        """``mask/bias`` [batch, 1, sequence, total], added to the scores of every layer."""
        add, integer, integers = self._nodes.add, self._nodes.integer, self._nodes.integers
        shape = add("Shape", ["input_ids"], "input_ids/shape")
        sequence = add("Gather", [shape, integer(1)], "mask/sequence")  # []
        mask_shape = add("Shape", ["attention_mask"], "mask/shape")
        total = add("Gather", [mask_shape, integer(1)], "mask/total")  # []
        past = add("Sub", [total, sequence], "mask/past")
        keys = add("Range", [integer(0), total, integer(1)], "mask/keys")  # [total]
        queries = add("Range", [past, total, integer(1)], "mask/queries")
        queries = add("Unsqueeze", [queries, integers(-1)], "mask/queries/column")
        causal = add("LessOrEqual", [keys, queries], "mask/causal")  # [sequence, total]
        bool_type = {"to": TensorProto.BOOL}
        real = add("Cast", ["attention_mask"], "mask/real", attributes=bool_type)
        real = add("Unsqueeze", [real, integers(1, 2)], "mask/real/4d")  # [batch, 1, 1, total]
        seen = add("And", [causal, real], "mask/seen")
        add("Where", [seen, self._nodes.scalar(0.0), self._nodes.scalar(_HIDDEN)], "mask/bias")
        heads = [shape, integers(self._config.n_head, self._head_dim)]
        add("Concat", heads, "shape/heads", attributes={"axis": 0})

    def add_mixing(self, qkv: str, layer: int) -> str:
        """[rows, 3 * width] -> [batch, sequence, n_head, head_dim]."""
        add, name = self._nodes.add, f"h.{layer}/attn"
        parts = [f"{name}/query", f"{name}/key", f"{name}/value"]
        add("Split", [qkv], [f"{part}/2d" for part in parts], attributes={"axis": 1})
        query, key, value = (self._add_heads(part) for part in parts)
        key = self._add_past(key, f"{layer}.key")  # [batch, n_head, total, head_dim]
        value = self._add_past(value, f"{layer}.value")
        scale = self._nodes.scalar(self._config.attention_scale(layer))
        query = add("Mul", [query, scale], f"{name}/query/scaled")
        columns = add("Transpose", [key], f"{name}/key/columns", attributes={"perm": [0, 1, 3, 2]})
        scores = add("MatMul", [query, columns], f"{name}/scores")
        scores = add("Add", [scores, "mask/bias"], f"{name}/scores/masked")
        weights = add("Softmax", [scores], f"{name}/weights", attributes={"axis": -1})
        mixed = add("MatMul", [weights, value], f"{name}/mixed")  # [batch, n_head, sequence, ...]
        return add("Transpose", [mixed], name, attributes={"perm": [0, 2, 1, 3]})

    def add_position_choice(self, hidden: str) -> str:
        """All rows: Optimum's graphs give the logits of every position."""
        return hidden

    def _add_heads(self, part: str) -> str:
        """[rows, width] -> [batch, n_head, sequence, head_dim]."""
        split = self._nodes.add("Reshape", [f"{part}/2d", "shape/heads"], f"{part}/split")
        return self._nodes.add("Transpose", [split], part, attributes={"perm": [0, 2, 1, 3]})

    def _add_past(self, part: str, name: str) -> str:
        inputs = [f"past_key_values.{name}", part]
        return self._nodes.add("Concat", inputs, f"present.{name}", attributes={"axis": 2})
