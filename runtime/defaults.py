"""A model's own generation settings, from ``generation_config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2edge.config import ModelConfig
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
        128. Raises ModelDirError for values out of range.
        """
        eos = keys.get("eos_token_id", config.eos_token_id)
        listed = eos if isinstance(eos, list) else [eos]
        try:
            return cls(
                sampling=_sampling(keys),
                max_new_tokens=int(keys.get("max_new_tokens") or 128),
                eos_ids=frozenset(int(token_id) for token_id in listed if token_id is not None),
            )
        except (TypeError, ValueError) as error:
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
