"""GPT-2-family language models on ordinary CPUs: export, quantize, generate, think.

Everything here is loaded on first use, so that ``import gpt2edge`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2edge.errors import Gpt2EdgeError
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.runtime.engine import Engine, load
    from gpt2edge.runtime.overflow import Overflow
    from gpt2edge.runtime.sampling import GREEDY, SamplingParams
    from gpt2edge.runtime.session import RuntimeOptions
    from gpt2edge.runtime.stopping import StopParams
    from gpt2edge.runtime.types import Chunk, Completion, Score, Timing

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
    "GREEDY": "runtime.sampling",
    "Chunk": "runtime.types",
    "Completion": "runtime.types",
    "Engine": "runtime.engine",
    "Gpt2EdgeError": "errors",
    "ModelDir": "model_dir",
    "Overflow": "runtime.overflow",
    "RuntimeOptions": "runtime.session",
    "SamplingParams": "runtime.sampling",
    "Score": "runtime.types",
    "StopParams": "runtime.stopping",
    "Timing": "runtime.types",
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
