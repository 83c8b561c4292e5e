"""How the next tokens are chosen: the parameters, and a sampler for each sequence.

The order is transformers': what ``processors`` does, then the cuts of ``draws``.
"""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import instance, listed, one_of, real, refuse, whole
from gpt2edge.errors import ArgumentError
from gpt2edge.runtime.sampling.processors import Ids, Logits, LogitsProcessor, Processing, Scope
from gpt2edge.runtime.sampling.random_stream import RandomStream
from gpt2edge.runtime.sampling.token_rules import check_rules, rule_ids
from gpt2edge.runtime.sampling.truncation import CELLS, SCRATCH, check_finite, draw

MAX_BEAMS: Final = 1024
"""The most beams of one prompt."""

_ZERO_IN_FLOAT32: Final = 2.0**-150
"""The largest number that is 0 in float32."""
_AT_ONCE: Final = 1 << 20
"""Logits that are drawn from at once, which bounds the memory that a draw takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen. ``temperature`` 0 is greedy; the defaults change nothing.

    ``top_k`` 0, ``top_p`` 1 and ``typical_p`` 1 keep all tokens. ``presence_penalty`` and
    ``frequency_penalty`` count generated tokens. ``no_repeat_ngram_size`` n lets no n tokens come
    twice, and ``bad_words_ids`` are sequences of tokens that never come. ``seed`` None draws a
    fresh one at each call.

    ``sequence_bias`` is added to the last token of a sequence whose others were written.
    ``suppress_tokens`` never come, ``begin_suppress_tokens`` not first. ``forced_bos_token_id``
    follows a prompt of one token, ``forced_eos_token_id`` is the last within the limit.
    ``exponential_decay_length_penalty`` (start, factor) makes an end likelier after ``start``
    tokens. ``encoder_repetition_penalty`` above 1 makes the prompt's tokens likelier, and
    ``encoder_no_repeat_ngram_size`` n repeats no n tokens of it. These are transformers' names.

    With ``num_beams`` above 1 completions are searched for (``runtime.beam``): the ``n`` likeliest
    found, each scored by its log-probability over its length to the power of ``length_penalty``.
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

    def __post_init__(self) -> None:
        real("temperature", self.temperature, 0, 100)
        real("top_p", self.top_p, 0, 1, open_low=True)
        real("min_p", self.min_p, 0, 1)
        real("typical_p", self.typical_p, 0, 1, open_low=True)
        for name in ("repetition_penalty", "encoder_repetition_penalty"):
            real(name, getattr(self, name), 0, 100, open_low=True)
        real("presence_penalty", self.presence_penalty, -100, 100)
        real("frequency_penalty", self.frequency_penalty, -100, 100)
        real("length_penalty", self.length_penalty, -100, 100)
        whole("top_k", self.top_k, 0, 2**31)
        for name in ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size"):
            whole(name, getattr(self, name), 0, 2**31)
        whole("num_beams", self.num_beams, 1, MAX_BEAMS)
        one_of("early_stopping", self.early_stopping, (True, False, "never"))
        if self.seed is not None:
            whole("seed", self.seed, 0, 2**64 - 1)
        _check_words(self.bad_words_ids)
        check_rules(self)
        instance("logit_bias", self.logit_bias, Mapping, "a mapping of token ids to numbers")
        for token_id, bias in self.logit_bias.items():
            whole("logit_bias", token_id, 0, 2**31, part="a token id in ")
            real("logit_bias", bias, -math.inf, 1e6, part=f"the bias of token {token_id} in ")

    @property
    def is_greedy(self) -> bool:
        """True where the most likely token is always taken."""
        return self.temperature <= _ZERO_IN_FLOAT32 or self.top_k == 1

    @property
    def is_random(self) -> bool:
        """True where the seed matters."""
        return self.num_beams == 1 and not self.is_greedy

    def named_ids(self) -> list[int]:
        """Every token id that a bias, a bad word or a rule names."""
        words = [token_id for word in self.bad_words_ids for token_id in word]
        return [*self.logit_bias, *words, *rule_ids(self)]


class Sampler:
    """Chooses the tokens of one sequence, with a random stream of its own."""

    __slots__ = ("params", "process", "stream")

    def __init__(
        self,
        params: SamplingParams,
        processors: Sequence[LogitsProcessor] = (),
        stream_key: Sequence[int] = (0, 0),
        scope: Scope | None = None,
    ) -> None:
        self.params = params
        self.process = Processing(params, processors, scope)
        self.stream = RandomStream(stream_key)

    def __call__(self, logits: Logits, token_ids: Sequence[int], banned: Sequence[int]) -> int:
        """The next token id, from ``logits`` [vocab_size], which stay as they are.

        ``token_ids`` are prompt and completion so far; ``banned`` cannot be drawn.
        """
        if self.params.is_greedy and not self.process.is_needed:
            likeliest = int(logits.argmax())
            unspelled = self.process.unspelled
            if likeliest not in banned and (
                unspelled is None or likeliest not in unspelled.members
            ):
                return likeliest
        return choose([self], logits[None], [token_ids], [banned])[0]

    def fork(self, stream_key: Sequence[int] | None = None) -> "Sampler":
        """A twin that chooses as this one would have, or by the random stream of a key."""
        twin = copy(self)
        twin.stream = self.stream.fork() if stream_key is None else RandomStream(stream_key)
        return twin


def choose(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    token_ids: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
) -> list[int]:
    """The next token of each of ``samplers``, from its row of ``logits`` [rows, vocab_size].

    ``token_ids`` and ``banned`` are those of each, as one sampler takes them. Rows are computed
    together, and no token depends on how many there are. A writable array has its banned logits
    changed meanwhile; it is what it was at the return, also where that is an error.
    """
    chosen: list[int] = []
    size = max(1, _AT_ONCE // logits.shape[1])
    for first in range(0, len(samplers), size):
        part = slice(first, first + size)
        chosen += _choose(samplers[part], logits[part], token_ids[part], banned[part])
    return chosen


def _choose(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    token_ids: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
) -> list[int]:
    params = samplers[0].params
    if any(sampler.params is not params for sampler in samplers):
        rows = zip(samplers, logits, token_ids, banned, strict=True)
        return [sampler(*row) for sampler, *row in rows]
    if any(sampler.process.is_needed for sampler in samplers):
        return _pick(samplers, _processed(samplers, logits, token_ids, banned))
    unspelled = samplers[0].process.unspelled  # of one model, so that all have the same
    if params.is_greedy:  # then a ban seldom matters
        likeliest: list[int] = logits.argmax(axis=1).tolist()
        lost = () if unspelled is None else unspelled.members
        if not any(
            token_id in ids or token_id in lost
            for token_id, ids in zip(likeliest, banned, strict=True)
        ):
            return likeliest
    if unspelled is not None or any(banned):
        return _pick_allowed(samplers, logits, banned, unspelled)
    return _pick(samplers, logits)


def _pick(samplers: Sequence[Sampler], logits: NDArray[np.float32]) -> list[int]:
    """The tokens of ``samplers``, all of the same parameters, from ``logits`` as they are."""
    params = samplers[0].params
    if params.is_greedy:
        places = logits.argmax(axis=1)
        check_finite(logits[np.arange(len(logits)), places])
    else:
        shares = np.array([sampler.stream.next() for sampler in samplers])
        places = draw(params, logits, shares)
    chosen: list[int] = places.tolist()
    return chosen


def _pick_allowed(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    banned: Sequence[Sequence[int]],
    unspelled: Ids | None,
) -> list[int]:
    """What ``_pick`` returns where no token of ``banned`` and none ``unspelled`` is possible.

    Those logits are changed and put back: a copy of a large vocabulary costs as much as the draw.
    """
    if not logits.flags.writeable:  # such as one row that stands for many
        logits = logits.copy()
    held = [
        (row, token_id, logits[row, token_id]) for row, ids in enumerate(banned) for token_id in ids
    ]
    columns = (slice(None), slice(0) if unspelled is None else unspelled.index)
    block = logits[columns].copy()
    try:
        logits[columns] = -np.inf
        for row, token_id, _ in held:
            logits[row, token_id] = -np.inf
        return _pick(samplers, logits)
    finally:
        logits[columns] = block
        for row, token_id, logit in held:
            logits[row, token_id] = logit


def _processed(
    samplers: Sequence[Sampler],
    logits: NDArray[np.float32],
    token_ids: Sequence[Sequence[int]],
    banned: Sequence[Sequence[int]],
) -> NDArray[np.float32]:
    """A copy of ``logits`` [rows, vocab_size], processed."""
    if samplers[0].process.hands_out:  # to code that may keep it, or draw tokens of its own
        processed = np.empty_like(logits)
    else:
        processed = SCRATCH.array("processed", logits.shape)
    np.copyto(processed, logits)
    for row, sampler in enumerate(samplers):
        sampler.process(processed[row], token_ids[row], banned[row])
    return processed


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def log_masses(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The logarithm of the sum of the exponentials of each row of ``logits`` [rows, vocab_size].

    A logit less that is the token's log-probability.
    """
    masses = np.empty(len(logits))
    size = max(1, CELLS // logits.shape[1])
    for first in range(0, len(logits), size):
        part = logits[first : first + size]
        top = part.max(axis=1, keepdims=True)
        shifted = part.astype(np.float64) - top
        total = np.exp(shifted, out=shifted).sum(axis=1)
        masses[first : first + size] = top[:, 0] + np.log(total)
    return masses


def _check_words(words: Sequence[Sequence[int]]) -> None:
    name, allowed = "bad_words_ids", "a list of lists of token ids, none of them empty"
    for word in listed(name, words, allowed):
        try:
            token_ids = listed(name, word, allowed)
        except ArgumentError:
            token_ids = []
        if not token_ids:
            raise refuse(name, words, allowed)
        for token_id in token_ids:
            whole(name, token_id, 0, 2**31, part="a token id in ")


GREEDY: Final = SamplingParams(temperature=0.0)
"""Always the most likely token."""
