"""GPT-2-family language models on ordinary CPUs: export, quantize, generate, search.

Every name is imported on first use, so that ``import gpt2edge`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2edge.errors import Gpt2EdgeError
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.runtime.decoding.context_window import Overflow
    from gpt2edge.runtime.engine import Engine, load
    from gpt2edge.runtime.options import RuntimeOptions
    from gpt2edge.runtime.results import Chunk, Completion, Score, Timing
    from gpt2edge.runtime.sampling.params import GREEDY, SamplingParams
    from gpt2edge.runtime.text.stopping import StopParams

    __version__: str

__all__ = [
    "GREEDY",
    "Chunk",
    "Completion",
    "Engine",
    "Gpt2EdgeError",
    "ModelDir",
    "Overflow",
    "RuntimeOptions",
    "SamplingParams",
    "Score",
    "StopParams",
    "Timing",
    "__version__",
    "load",
]

_HOMES = {
    "GREEDY": "runtime.sampling.params",
    "Chunk": "runtime.results",
    "Completion": "runtime.results",
    "Engine": "runtime.engine",
    "Gpt2EdgeError": "errors",
    "ModelDir": "model_dir",
    "Overflow": "runtime.decoding.context_window",
    "RuntimeOptions": "runtime.options",
    "SamplingParams": "runtime.sampling.params",
    "Score": "runtime.results",
    "StopParams": "runtime.text.stopping",
    "Timing": "runtime.results",
    "load": "runtime.engine",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("gpt2edge")
    if name == "errors":
        return import_module("gpt2edge.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt2edge' has no attribute {name!r}")
    value = getattr(import_module(f"gpt2edge.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
