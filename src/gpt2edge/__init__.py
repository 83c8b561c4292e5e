"""GPT-2-family language models on ordinary CPUs: export, quantize, generate, search.

Every name is imported on first use, so that ``import gpt2edge`` is fast.
"""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge import errors
    from gpt2edge._pull import pull
    from gpt2edge._version import __version__
    from gpt2edge.batches.run import BatchReport, batch
    from gpt2edge.config import ModelConfig
    from gpt2edge.errors import Gpt2EdgeError
    from gpt2edge.model_dir import FileRecord, Manifest, ModelDir
    from gpt2edge.runtime.arguments import GenerateArguments, SamplingArguments
    from gpt2edge.runtime.context_window import Overflow
    from gpt2edge.runtime.decoding.request import Prompt, Request
    from gpt2edge.runtime.decoding.scheduler import Scheduler
    from gpt2edge.runtime.decoding.stream import Stream
    from gpt2edge.runtime.engine import Engine, load
    from gpt2edge.runtime.options import (
        DraftModel,
        PromptLookup,
        Provider,
        RuntimeArguments,
        RuntimeOptions,
    )
    from gpt2edge.runtime.results import (
        Chunk,
        Completion,
        FinishReason,
        Perplexity,
        Score,
        Timing,
        TokenLogprob,
    )
    from gpt2edge.runtime.sampling.params import GREEDY, SamplingParams
    from gpt2edge.runtime.sampling.processors import LogitsProcessor
    from gpt2edge.runtime.text.stopping import StopParams

__all__ = [
    "GREEDY",
    "BatchReport",
    "Chunk",
    "Completion",
    "DraftModel",
    "Engine",
    "FileRecord",
    "FinishReason",
    "GenerateArguments",
    "Gpt2EdgeError",
    "LogitsProcessor",
    "Manifest",
    "ModelConfig",
    "ModelDir",
    "Overflow",
    "Perplexity",
    "Prompt",
    "PromptLookup",
    "Provider",
    "Request",
    "RuntimeArguments",
    "RuntimeOptions",
    "SamplingArguments",
    "SamplingParams",
    "Scheduler",
    "Score",
    "StopParams",
    "Stream",
    "Timing",
    "TokenLogprob",
    "__version__",
    "batch",
    "errors",
    "load",
    "pull",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BatchReport": "gpt2edge.batches.run",
            "Chunk": "gpt2edge.runtime.results",
            "Completion": "gpt2edge.runtime.results",
            "DraftModel": "gpt2edge.runtime.options",
            "Engine": "gpt2edge.runtime.engine",
            "FileRecord": "gpt2edge.model_dir",
            "FinishReason": "gpt2edge.runtime.results",
            "GREEDY": "gpt2edge.runtime.sampling.params",
            "GenerateArguments": "gpt2edge.runtime.arguments",
            "Gpt2EdgeError": "gpt2edge.errors",
            "LogitsProcessor": "gpt2edge.runtime.sampling.processors",
            "Manifest": "gpt2edge.model_dir",
            "ModelConfig": "gpt2edge.config",
            "ModelDir": "gpt2edge.model_dir",
            "Overflow": "gpt2edge.runtime.context_window",
            "Perplexity": "gpt2edge.runtime.results",
            "Prompt": "gpt2edge.runtime.decoding.request",
            "PromptLookup": "gpt2edge.runtime.options",
            "Provider": "gpt2edge.runtime.options",
            "Request": "gpt2edge.runtime.decoding.request",
            "RuntimeArguments": "gpt2edge.runtime.options",
            "RuntimeOptions": "gpt2edge.runtime.options",
            "SamplingArguments": "gpt2edge.runtime.arguments",
            "SamplingParams": "gpt2edge.runtime.sampling.params",
            "Scheduler": "gpt2edge.runtime.decoding.scheduler",
            "Score": "gpt2edge.runtime.results",
            "StopParams": "gpt2edge.runtime.text.stopping",
            "Stream": "gpt2edge.runtime.decoding.stream",
            "Timing": "gpt2edge.runtime.results",
            "TokenLogprob": "gpt2edge.runtime.results",
            "__version__": "gpt2edge._version",
            "batch": "gpt2edge.batches.run",
            "errors": "gpt2edge.errors",
            "load": "gpt2edge.runtime.engine",
            "pull": "gpt2edge._pull",
        },
    )
