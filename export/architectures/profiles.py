"""The graphs that export can write, by profile.

cpu       fused operators and a cache updated in place: fastest, onnxruntime's CPU provider only
portable  standard operators in Optimum's layout: for other engines and execution providers
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from onnx import ModelProto

from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError
from gpt2edge.export.architectures.gpt1 import gpt1
from gpt2edge.export.architectures.gpt2 import gpt2
from gpt2edge.export.architectures.gpt2_portable import gpt1_portable, gpt2_portable
from gpt2edge.export.architectures.model_graph import Weights
from gpt2edge.export.sources.tensor_layout import Head
from gpt2edge.graph.weights_file import WeightsFile

Build: TypeAlias = Callable[[ModelConfig, Head, Weights, WeightsFile], ModelProto]
"""Builds the graph of a model and writes its weights to the file."""


class Architecture(Protocol):
    """Builds the graph as ``Build`` does, with more or fewer outputs."""

    def __call__(
        self,
        config: ModelConfig,
        head: Head,
        weights: Weights,
        store: WeightsFile,
        *,
        hidden_states: bool,
    ) -> ModelProto:
        """Build it; ``hidden_states`` adds an output of what the head reads."""


CPU: Final = "cpu"
PORTABLE: Final = "portable"
_PRE_NORM: Final[dict[str, Architecture]] = {CPU: gpt2, PORTABLE: gpt2_portable}
_POST_NORM: Final[dict[str, Architecture]] = {CPU: gpt1, PORTABLE: gpt1_portable}


def architecture_of(profile: str, config: ModelConfig, head: Head) -> Architecture:
    """Return the function that builds the graph of a model of ``config`` and ``head``.

    Raises ValueError for an unknown profile, ExportError if it does not support the ``head``.
    """
    if profile not in _PRE_NORM:
        raise ValueError(f"profile is {profile!r}; it must be one of {', '.join(_PRE_NORM)}")
    if profile == PORTABLE and head.task != "text-generation":
        raise ExportError(
            f"profile {PORTABLE} is for language models; this one's task is {head.task}: "
            f"export it with profile {CPU}"
        )
    return (_POST_NORM if config.norms_after else _PRE_NORM)[profile]
