"""The graphs that export can write, by profile.

cpu       fused operators and a cache updated in place: fastest, onnxruntime's CPU provider only
portable  standard operators in Optimum's layout: for other engines and execution providers
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from onnx import ModelProto

from gpt2edge.config import ModelConfig
from gpt2edge.errors import ExportError
from gpt2edge.export.architectures.gpt2 import gpt2
from gpt2edge.export.architectures.gpt2_portable import gpt2_portable
from gpt2edge.export.architectures.model_graph import Weights
from gpt2edge.export.sources.tensor_layout import Head
from gpt2edge.graph.weights_file import WeightsFile

Architecture: TypeAlias = Callable[[ModelConfig, Head, Weights, WeightsFile], ModelProto]
"""Builds the graph of a model and writes its weights to the file."""

CPU: Final = "cpu"
PORTABLE: Final = "portable"
_ARCHITECTURES: Final[dict[str, Architecture]] = {CPU: gpt2, PORTABLE: gpt2_portable}


def architecture_of(profile: str, head: Head) -> Architecture:
    """Return the function that builds the graph.

    Raises ValueError for an unknown profile, ExportError if it does not support the ``head``.
    """
    if profile not in _ARCHITECTURES:
        raise ValueError(f"profile is {profile!r}; it must be one of {', '.join(_ARCHITECTURES)}")
    if profile == PORTABLE and head.task != "text-generation":
        raise ExportError(
            f"profile {PORTABLE} is for language models; this one's task is {head.task}: "
            f"export it with profile {CPU}"
        )
    return _ARCHITECTURES[profile]
