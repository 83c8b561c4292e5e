"""ModelGraph: the graph of one checkpoint under construction."""

from collections.abc import Callable
from typing import TypeAlias

from onnx import ValueInfoProto

from gpt2edge.config import ModelConfig
from gpt2edge.export.sources.tensor_layout import Head
from gpt2edge.graph import names
from gpt2edge.graph.builder import Graph, floats, integers
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.runtime.arrays import FloatArray

Weights: TypeAlias = Callable[[str], FloatArray]
"""Reads a tensor by upstream's name."""

IDS_SHAPE = ("batch_size", "sequence_length")
_PAST_LENGTH = "past_sequence_length"
TOTAL_LENGTH = f"{_PAST_LENGTH} + sequence_length"
"""The length of a growing cache, under Optimum's name."""


class ModelGraph(Graph):
    """A graph with its model's configuration, head and weights.

    ``weights`` reads a tensor by upstream's name; ``head_dim`` is that of the cache, by default the
    model's own. ``hidden_states`` adds an output of what the head reads.
    """

    def __init__(
        self,
        config: ModelConfig,
        head: Head,
        weights: Weights,
        store: WeightsFile,
        *,
        head_dim: int | None = None,
        hidden_states: bool = False,
    ) -> None:
        super().__init__(store)
        self.config, self.head = config, head
        self.head_dim = head_dim or config.head_dim
        self.hidden_states = hidden_states
        self._weights = weights

    def weight(self, name: str) -> str:
        """Append the weight of this name."""
        return self.tensor(name, self._weights(name))

    def weight_and_bias(self, part: str) -> tuple[str, str]:
        """Append the weight and the bias of a part of the model, such as ``names.LN_F``."""
        return self.weight(names.weight(part)), self.weight(names.bias(part))

    def inputs(self, total: str) -> list[ValueInfoProto]:
        """Declare the inputs; ``total`` is the name of the mask's width."""
        return [
            integers(names.INPUT_IDS, IDS_SHAPE),
            integers(names.ATTENTION_MASK, [IDS_SHAPE[0], total]),
            integers(names.POSITION_IDS, IDS_SHAPE),
            *(self._cache(past, _PAST_LENGTH) for past, _ in names.cache(self.config.n_layer)),
        ]

    def outputs(self) -> list[ValueInfoProto]:
        """Declare the outputs."""
        presents = (present for _, present in names.cache(self.config.n_layer))
        hidden = [floats(names.HIDDEN_STATES, [*IDS_SHAPE, self.config.n_embd])]
        return [
            floats(names.LOGITS, [*IDS_SHAPE, self.head.size]),
            *(self._cache(present, TOTAL_LENGTH) for present in presents),
            *(hidden if self.hidden_states else []),
        ]

    def _cache(self, name: str, length: str) -> ValueInfoProto:
        return floats(name, [IDS_SHAPE[0], self.config.n_kv_head, length, self.head_dim])
