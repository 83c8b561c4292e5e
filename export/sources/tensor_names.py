"""own_names: GPT-2's own names for a checkpoint's tensors, without the names of wrappers."""

import re
from collections.abc import Sequence
from typing import Final

from gpt2edge.errors import ExportError
from gpt2edge.graph.names import LN_1, Block, weight

_WRAPPERS: Final = re.compile(  # torch.compile, DDP and FSDP name a module after themselves
    r"(?:(?<=\.)|^)(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_ANCHOR: Final = re.compile(rf"((?:.+\.)?){re.escape(weight(Block(0).part(LN_1)))}")
_BASE: Final = "transformer."


def own_names(stored: Sequence[str]) -> tuple[list[str], list[str]]:
    """Remove wrappers, prefix and ``transformer.`` from names; return the names and the removed.

    The prefix is the text before the first block's name; ``transformer.`` is not among the removed
    texts. Raises ExportError if there are two first blocks: it is unknown which model is meant.
    """
    parts = dict.fromkeys(part for name in stored for part in _WRAPPERS.findall(name))
    names = [_WRAPPERS.sub("", name) for name in stored]
    anchors = [match[1] for match in map(_ANCHOR.fullmatch, names) if match]
    prefixes = list(dict.fromkeys(anchor.removesuffix(_BASE) for anchor in anchors))
    if len(prefixes) > 1:
        raise ExportError(
            f"tensors of {len(prefixes)} models: the first block of one begins with "
            f"{prefixes[0]!r}, of another with {prefixes[1]!r}; save the one to export alone"
        )
    prefix = prefixes[0] if prefixes else ""
    names = [name.removeprefix(prefix).removeprefix(_BASE) for name in names]
    return names, [*parts, *([prefix] if prefix else [])]
