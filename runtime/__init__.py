"""The engine over ONNX Runtime: generate, stream, batch, score.

What most programs need is in ``gpt2edge``. Here are the parts of an engine, for loops, searches and
research of one's own; each is loaded on first use.
"""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.runtime.cache.kv_cache import CacheLayout, KVCache
    from gpt2edge.runtime.cache.prompt_cache import PromptCache
    from gpt2edge.runtime.decoding.branching import Branch, Branching, Member
    from gpt2edge.runtime.decoding.decoder import Decoder
    from gpt2edge.runtime.decoding.defaults import GenerationDefaults
    from gpt2edge.runtime.decoding.forward import (
        Entered,
        Forward,
        SequenceSpeculation,
        SpeculationSource,
    )
    from gpt2edge.runtime.decoding.generation import Generation
    from gpt2edge.runtime.decoding.scheduler import Scheduler
    from gpt2edge.runtime.sampling.processors import Ids
    from gpt2edge.runtime.text.tokenizer import StreamDecoder, Tokenizer

__all__ = [
    "Branch",
    "Branching",
    "CacheLayout",
    "Decoder",
    "Entered",
    "Forward",
    "Generation",
    "GenerationDefaults",
    "Ids",
    "KVCache",
    "Member",
    "PromptCache",
    "Scheduler",
    "SequenceSpeculation",
    "SpeculationSource",
    "StreamDecoder",
    "Tokenizer",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Branch": "gpt2edge.runtime.decoding.branching",
            "Branching": "gpt2edge.runtime.decoding.branching",
            "CacheLayout": "gpt2edge.runtime.cache.kv_cache",
            "Decoder": "gpt2edge.runtime.decoding.decoder",
            "Entered": "gpt2edge.runtime.decoding.forward",
            "Forward": "gpt2edge.runtime.decoding.forward",
            "Generation": "gpt2edge.runtime.decoding.generation",
            "GenerationDefaults": "gpt2edge.runtime.decoding.defaults",
            "Ids": "gpt2edge.runtime.sampling.processors",
            "KVCache": "gpt2edge.runtime.cache.kv_cache",
            "Member": "gpt2edge.runtime.decoding.branching",
            "PromptCache": "gpt2edge.runtime.cache.prompt_cache",
            "Scheduler": "gpt2edge.runtime.decoding.scheduler",
            "SequenceSpeculation": "gpt2edge.runtime.decoding.forward",
            "SpeculationSource": "gpt2edge.runtime.decoding.forward",
            "StreamDecoder": "gpt2edge.runtime.text.tokenizer",
            "Tokenizer": "gpt2edge.runtime.text.tokenizer",
        },
    )
