"""A model's own generation settings, from ``generation_config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gpt2edge._checks import check_int
from gpt2edge.config import ModelConfig, token_ids
from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.text.stopping import StopParams

READ_ALWAYS: Final = (
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "sequence_bias",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
)
"""Keys of generation_config.json that hold for every way of decoding."""
READ_TO_SAMPLE: Final = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""Keys that hold only where ``do_sample`` is true."""
READ_TO_END: Final = (
    "max_new_tokens",
    "max_length",
    "min_new_tokens",
    "min_length",
    "max_time",
    "stop_strings",
)
"""Keys that limit a completion, besides ``eos_token_id``."""
_UNSET_BY_ZERO: Final = ("repetition_penalty", "encoder_repetition_penalty", "top_p", "typical_p")
_ONLY_IN_VOCABULARY: Final = ("suppress_tokens", "begin_suppress_tokens")
_OF_TOKENS: Final = (
    "bad_words_ids",
    "sequence_bias",
    "forced_bos_token_id",
    "forced_eos_token_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """Defaults for arguments that a call omits: sampling, end conditions and end tokens.

    ``max_length`` counts prompt and completion; it is None where ``max_new_tokens`` is the limit.
    """

    sampling: SamplingParams
    max_new_tokens: int
    eos_ids: frozenset[int]
    max_length: int | None = None
    stop: StopParams = field(default_factory=StopParams)

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any], config: ModelConfig) -> "GenerationDefaults":
        """Read transformers' ``GenerationConfig`` keys; an absent key changes nothing.

        Decoding is greedy unless ``do_sample`` is true. ``max_new_tokens`` wins over
        ``max_length``; without both the limit is 128 new tokens. ``min_new_tokens`` wins over
        ``min_length``. Where the key ``eos_token_id`` is absent (not null), the end tokens are
        those of config.json, where transformers would continue past the end of the text. End tokens
        and suppressed tokens outside the vocabulary are ignored. Raises ModelDirError for values
        out of range.
        """
        limit, longest = keys.get("max_new_tokens"), keys.get("max_length")
        try:
            eos_ids = config.eos_token_ids
            if "eos_token_id" in keys:
                eos_ids = token_ids(keys, "eos_token_id", config.vocab_size)
            if longest is not None:
                longest = check_int("max_length", longest, 1, 2**31)
            return cls(
                sampling=_sampling(keys, config.vocab_size),
                max_new_tokens=128
                if limit is None
                else check_int("max_new_tokens", limit, 1, 2**31),
                eos_ids=frozenset(eos_ids),
                max_length=longest if limit is None else None,
                stop=_stop(keys),
            )
        except ValueError as error:
            raise ModelDirError(f"generation_config.json: {error}") from None


def _stop(keys: Mapping[str, Any]) -> StopParams:
    given = {name: keys[name] for name in ("max_time",) if keys.get(name) is not None}
    least = "min_length" if keys.get("min_new_tokens") is None else "min_new_tokens"
    given[least] = keys.get(least) or 0
    strings = keys.get("stop_strings") or ()
    return StopParams(strings=StopParams.of(strings).strings, **given)


def _sampling(keys: Mapping[str, Any], vocab_size: int) -> SamplingParams:
    samples = bool(keys.get("do_sample"))
    if samples and keys.get("num_beams") not in (None, 1):
        raise ValueError("do_sample is true and num_beams above 1; gpt2edge cannot do both")
    given: dict[str, Any] = {} if samples else {"temperature": 0.0}
    for name in (*READ_ALWAYS, *(READ_TO_SAMPLE if samples else ())):
        value = keys.get(name)
        if value is not None and (value or name not in _UNSET_BY_ZERO):
            given[name] = value
        if name in _ONLY_IN_VOCABULARY and isinstance(value, list):
            given[name] = [item for item in value if not _is_beyond(item, vocab_size)]
    params = SamplingParams(**given)
    beyond = [token_id for token_id in params.named_ids() if token_id >= vocab_size]
    if beyond:
        name = next(name for name in _OF_TOKENS if _mentions(given.get(name), beyond[0]))
        raise ValueError(
            f"{name} names token {beyond[0]}; it must be below the vocab_size of {vocab_size}"
        )
    return params


def _is_beyond(token_id: object, vocab_size: int) -> bool:
    """Return whether no token has this id; transformers ignores such ids to suppress."""
    return isinstance(token_id, int) and not 0 <= token_id < vocab_size


def _mentions(value: Any, token_id: int) -> bool:
    if isinstance(value, list | tuple):
        return any(_mentions(item, token_id) for item in value)
    return bool(value == token_id)
