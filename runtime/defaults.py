"""A model's own generation settings, from ``generation_config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2edge._checks import whole
from gpt2edge.config import ModelConfig, token_ids
from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.sampling import SamplingParams


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
    penalty = keys.get("repetition_penalty") or 1.0
    if not keys.get("do_sample"):
        return SamplingParams(temperature=0.0, repetition_penalty=penalty)
    temperature = keys.get("temperature")
    return SamplingParams(
        temperature=1.0 if temperature is None else temperature,
        top_k=keys.get("top_k") or 0,
        top_p=keys.get("top_p") or 1.0,
        min_p=keys.get("min_p") or 0.0,
        repetition_penalty=penalty,
    )
