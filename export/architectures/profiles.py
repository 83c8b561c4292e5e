"""The graphs that export can write, by profile.

cpu       fused operators and a cache updated in place: fastest, onnxruntime's CPU provider only
portable  standard operators in Optimum's layout: for other engines and execution providers
"""

from typing import Final

from gpt2edge.errors import ExportError
from gpt2edge.export.architectures.gpt2 import Gpt2Graph
from gpt2edge.export.architectures.gpt2_portable import PortableGraph
from gpt2edge.export.layout import Head

CPU: Final = "cpu"
PORTABLE: Final = "portable"
_GRAPHS: Final = {CPU: Gpt2Graph, PORTABLE: PortableGraph}


def graph_of(profile: str, head: Head) -> type[Gpt2Graph]:
    """The graph's class.

    Raises ValueError for an unknown profile, ExportError where it does not serve the ``head``.
    """
    if profile not in _GRAPHS:
        raise ValueError(f"profile is {profile!r}; it must be one of {', '.join(_GRAPHS)}")
    if profile == PORTABLE and head.task != "text-generation":
        raise ExportError(
            f"profile {PORTABLE} is for language models; this one's task is {head.task}: "
            f"export it with profile {CPU}"
        )
    return _GRAPHS[profile]
