"""SamplingParams: parameters that choose the next token."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gpt2edge._checks import (
    argument_error,
    check_float,
    check_int,
    check_list,
    check_one_of,
    check_type,
)
from gpt2edge._repr import changed_fields
from gpt2edge.errors import ArgumentError

MAX_BEAMS: Final = 1024
"""Maximum number of beams of one prompt."""


_ZERO_IN_FLOAT32: Final = 2.0**-150
"""The largest number that is 0 in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Parameters that choose the next token; the defaults sample from the model's distribution.

    ``temperature`` is the sampling temperature; 0 is greedy. ``top_k`` 0, ``top_p`` 1, ``min_p`` 0
    and ``typical_p`` 1 keep all tokens. ``presence_penalty`` and ``frequency_penalty`` count
    generated tokens. ``no_repeat_ngram_size`` n forbids any n tokens to occur twice, and
    ``bad_words_ids`` are sequences of tokens that are never generated. ``seed`` None uses a new
    random seed at each call.

    ``sequence_bias`` is added to the logit of the last token of a sequence when the text ends with
    its other tokens. ``suppress_tokens`` are never generated, ``begin_suppress_tokens`` never
    first. ``forced_bos_token_id`` follows a prompt of one token; ``forced_eos_token_id`` is the
    last token when the token limit is reached. ``exponential_decay_length_penalty`` (start, factor)
    makes end tokens more likely after ``start`` tokens. ``encoder_repetition_penalty`` above 1
    makes the prompt's tokens more likely, and ``encoder_no_repeat_ngram_size`` n forbids any n
    tokens of the prompt to occur again. These are transformers' names.

    ``num_beams`` above 1 uses beam search (``runtime.decoding.beam_search``): it returns the ``n``
    best completions found, each scored by its log-probability divided by its length to the power of
    ``length_penalty``.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    bad_words_ids: Sequence[Sequence[int]] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    sequence_bias: Sequence[tuple[Sequence[int], float]] = ()
    suppress_tokens: Sequence[int] = ()
    begin_suppress_tokens: Sequence[int] = ()
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | Sequence[int] | None = None
    exponential_decay_length_penalty: tuple[int, float] | None = None
    encoder_repetition_penalty: float = 1.0
    encoder_no_repeat_ngram_size: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    seed: int | None = None

    def __repr__(self) -> str:
        return changed_fields(self)

    def __post_init__(self) -> None:
        check_float("temperature", self.temperature, 0, 100)
        check_float("top_p", self.top_p, 0, 1, open_low=True)
        check_float("min_p", self.min_p, 0, 1)
        check_float("typical_p", self.typical_p, 0, 1, open_low=True)
        for name in ("repetition_penalty", "encoder_repetition_penalty"):
            check_float(name, getattr(self, name), 0, 100, open_low=True)
        check_float("presence_penalty", self.presence_penalty, -100, 100)
        check_float("frequency_penalty", self.frequency_penalty, -100, 100)
        check_float("length_penalty", self.length_penalty, -100, 100)
        check_int("top_k", self.top_k, 0, 2**31)
        for name in ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"):
            check_int(name, getattr(self, name), 0, 2**31)
        check_int("num_beams", self.num_beams, 1, MAX_BEAMS)
        check_one_of("early_stopping", self.early_stopping, (True, False, "never"))
        if self.seed is not None:
            check_int("seed", self.seed, 0, 2**64 - 1)
        _check_words(self.bad_words_ids)
        check_rules(self)
        check_type("logit_bias", self.logit_bias, Mapping, "a mapping of token ids to numbers")
        for token_id, bias in self.logit_bias.items():
            check_int("logit_bias", token_id, 0, 2**31, part="a token id in ")
            check_float(
                "logit_bias", bias, -math.inf, 1e6, part=f"the bias of token {token_id} in "
            )

    @property
    def is_greedy(self) -> bool:
        """Return whether the most likely token is always chosen."""
        return self.temperature <= _ZERO_IN_FLOAT32 or self.top_k == 1

    @property
    def is_random(self) -> bool:
        """Return whether tokens are drawn at random, so that the seed matters."""
        return self.num_beams == 1 and not self.is_greedy

    def named_ids(self) -> list[int]:
        """Return every token id that a bias, a bad word or a token rule names."""
        words = [token_id for word in self.bad_words_ids for token_id in word]
        return [*self.logit_bias, *words, *rule_ids(self)]


def _check_words(words: Sequence[Sequence[int]]) -> None:
    name, allowed = "bad_words_ids", "a list of lists of token ids, none of them empty"
    for word in check_list(name, words, allowed):
        try:
            token_ids = check_list(name, word, allowed)
        except ArgumentError:
            token_ids = []
        if not token_ids:
            raise argument_error(name, words, allowed)
        for token_id in token_ids:
            check_int(name, token_id, 0, 2**31, part="a token id in ")


def check_rules(params: SamplingParams) -> None:
    """Raise ValueError for an invalid token rule, with its name, the value and what is allowed."""
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        _check_ids(name, getattr(params, name), "a list of token ids")
    _check_sequence_bias(params.sequence_bias)
    if params.forced_bos_token_id is not None:
        check_int("forced_bos_token_id", params.forced_bos_token_id, 0, _LARGEST_ID)
    for token_id in listed_ids(params.forced_eos_token_id):
        check_int("forced_eos_token_id", token_id, 0, _LARGEST_ID)
    decay: Any = params.exponential_decay_length_penalty
    if decay is not None:
        name, allowed = "exponential_decay_length_penalty", "a start and a factor, or None"
        values = check_list(name, decay, allowed)
        if len(values) != 2:
            raise argument_error(name, decay, allowed)
        check_int(name, values[0], 0, 2**31, part="the start of ")
        check_float(name, values[1], 0, 100, open_low=True, part="the factor of ")


def rule_ids(params: SamplingParams) -> Iterator[int]:
    """Yield every token id that a token rule names."""
    yield from params.suppress_tokens
    yield from params.begin_suppress_tokens
    for ids, _ in params.sequence_bias:
        yield from ids
    yield from listed_ids(params.forced_bos_token_id)
    yield from listed_ids(params.forced_eos_token_id)


_LARGEST_ID: Final = 2**31


def _check_sequence_bias(given: Any) -> None:
    name, allowed = "sequence_bias", "a list of pairs: token ids, one or more, and a number"
    for entry in check_list(name, given, allowed):
        if isinstance(entry, str) or not isinstance(entry, Sequence) or len(entry) != 2:
            raise argument_error(name, given, allowed)
        _check_ids(name, entry[0], allowed)
        if not entry[0]:
            raise argument_error(name, given, allowed)
        check_float(name, entry[1], -math.inf, 1e6, part="a number in ")


def listed_ids(value: int | Sequence[int] | None) -> list[int]:
    """Return one token id, several, or none, as a list."""
    if value is None:
        return []
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return list(value)
    return [value]  # type: ignore[list-item]


def _check_ids(name: str, value: Any, allowed: str) -> None:
    for token_id in check_list(name, value, allowed):
        check_int(name, token_id, 0, _LARGEST_ID, part="a token id in ")


GREEDY: Final = SamplingParams(temperature=0.0)
"""Parameters that always choose the most likely token."""
