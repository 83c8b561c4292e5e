"""What a system speaks whose logits are compared. Standard library and numpy only.

A worker is started as ``python -m MODULE CHECKPOINT VARIANT WORK``: it quantizes the checkpoint
into the folder ``WORK`` and answers on stdout:

    (start)             one JSON line: {"system", "bytes", "versions", "settings", "n_vocab"}
    [id, id, ...]       logits after every token, float32 [tokens, n_vocab], as raw bytes
    (end of input)      exits
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Model(Protocol):
    """A loaded model; ``facts`` is what its result rows say about it."""

    facts: dict[str, Any]

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after every token [tokens, n_vocab]."""


def serve(load: Callable[[Path, str, Path], Model]) -> None:
    """Answer until the input ends. ``load`` takes checkpoint, variant and work folder."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    checkpoint, variant, work = sys.argv[1:]
    model = load(Path(checkpoint), variant, Path(work))
    answers.write(json.dumps(model.facts).encode() + b"\n")
    answers.flush()
    for line in sys.stdin:
        logits = np.ascontiguousarray(model.logits(json.loads(line)), "<f4")
        answers.write(logits.tobytes())
        answers.flush()


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of ``packages``."""
    return {package: version(package) for package in packages}
