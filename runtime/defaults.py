"""A model's own generation settings, from ``generation_config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpt2edge._checks import whole
from gpt2edge.config import ModelConfig, token_ids
from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.sampling import SamplingParams

READ_ALWAYS: Final = (
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "num_beams",
    "length_penalty",
    "early_stopping",
)
"""Keys of generation_config.json that hold for every way of decoding."""
READ_TO_SAMPLE: Final = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Keys that hold only where ``do_sample`` is true."""
_UNSET_BY_ZERO: Final = ("repetition_penalty", "top_p", "typical_p")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """What a call uses where it says nothing: sampling, token limit and end tokens."""

    sampling: SamplingParams
    max_new_tokens: int
    eos_ids: frozenset[int]

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any], config: ModelConfig) -> "GenerationDefaults":
        """Read transformers' ``GenerationConfig`` keys; an absent key changes nothing.

        Decoding is greedy unless ``do_sample`` is true. Without ``max_new_tokens`` the limit is
        128. End tokens outside the vocabulary are left out. Raises ModelDirError for values out
        of range.
        """
        limit = keys.get("max_new_tokens")
        try:
            eos_ids = config.eos_token_ids
            if "eos_token_id" in keys:
                eos_ids = token_ids(keys, "eos_token_id", config.vocab_size)
            return cls(
                sampling=_sampling(keys),
                max_new_tokens=128 if limit is None else whole("max_new_tokens", limit, 1, 2**31),
                eos_ids=frozenset(eos_ids),
            )
        except ValueError as error:
            raise ModelDirError(f"generation_config.json: {error}") from None


def _sampling(keys: Mapping[str, Any]) -> SamplingParams:
    samples = bool(keys.get("do_sample"))
    if samples and keys.get("num_beams") not in (None, 1):
        raise ValueError("do_sample is true and num_beams above 1; gpt2edge cannot do both")
    given: dict[str, Any] = {} if samples else {"temperature": 0.0}
    for name in (*READ_ALWAYS, *(READ_TO_SAMPLE if samples else ())):
        value = keys.get(name)
        if value is not None and (value or name not in _UNSET_BY_ZERO):
            given[name] = value
    return SamplingParams(**given)
