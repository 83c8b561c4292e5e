"""Processing: change the logits before a token is chosen, by bias, penalties, bans, processors.

The order is transformers': bias, repetition penalties, presence and frequency penalty, n-grams,
bad words and the caller's processors. Bans of end tokens come after all of them, and the rules of
``token_rules`` that force or forbid tokens come last.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.token_rules import TokenRules

LogitsProcessor: TypeAlias = Callable[[NDArray[np.int64], Logits], Logits]
"""``(token_ids so far [length], logits [vocab_size]) -> logits [vocab_size]``."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Token ids, as a collection and as an index into an array of logits."""

    members: Collection[int]
    index: slice | NDArray[np.int64]

    @classmethod
    def of(cls, ids: Sequence[int]) -> "Ids":
        """Build from ids in ascending order; a contiguous range becomes a slice for speed."""
        if ids[-1] - ids[0] == len(ids) - 1:
            return cls(range(ids[0], ids[-1] + 1), slice(ids[0], ids[-1] + 1))
        return cls(frozenset(ids), np.array(ids, np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Facts about a completion that processing needs: prompt length, end tokens and token limit.

    Presence and frequency penalties count generated tokens only. A bad word that is a single end
    token is ignored. ``unspelled`` are ids without a token, which are never drawn.
    """

    prompt_length: int = 0
    eos_ids: Collection[int] = ()
    max_new_tokens: int | None = None
    unspelled: Ids | None = None


class Processing:
    """Changes the logits of one sequence in place at each step, by its sampling parameters."""

    def __init__(
        self,
        params: SamplingParams,
        processors: Sequence[LogitsProcessor] = (),
        scope: Scope | None = None,
    ) -> None:
        scope = scope or Scope()
        self._params = params
        self._processors = processors
        self._prompt_length = scope.prompt_length
        self.unspelled = scope.unspelled
        self._bias_ids, self._bias = _arrays(params.logit_bias)
        words = [tuple(word) for word in params.bad_words_ids]
        self._bad_words = [word for word in words if word[1:] or word[0] not in scope.eos_ids]
        self._rules = TokenRules(params, scope.prompt_length, scope.max_new_tokens, scope.eos_ids)
        self.is_needed = bool(
            processors
            or self._rules.is_needed
            or params.logit_bias
            or self._bad_words
            or params.no_repeat_ngram_size
            or params.repetition_penalty != 1
            or params.encoder_repetition_penalty != 1
            or params.encoder_no_repeat_ngram_size
            or params.presence_penalty
            or params.frequency_penalty
        )
        """True where anything but ``banned`` and ``unspelled`` changes the logits."""

    @property
    def hands_out(self) -> bool:
        """Return whether the caller's processors get the array, and may keep it."""
        return bool(self._processors)

    def __call__(self, logits: Logits, token_ids: Sequence[int], banned: Sequence[int]) -> None:
        """Change ``logits`` [vocab_size] in place.

        ``token_ids`` are prompt and completion so far; ``banned`` tokens get minus infinity.
        """
        if self._bias_ids.size:
            logits[self._bias_ids] += self._bias
        if self.is_needed:
            history = np.asarray(token_ids, np.int64)
            self._rules.favour(logits, history)
            self._use_history(logits, history)
            for processor in self._processors:
                # a processor may return another array
                np.copyto(logits, _checked(processor(history, logits), logits.shape))
        if banned:
            logits[list(banned)] = -np.inf
        if self.unspelled is not None:
            logits[self.unspelled.index] = -np.inf
        if self._rules.is_needed:
            self._rules.force(logits, history)

    def _use_history(self, logits: Logits, history: NDArray[np.int64]) -> None:
        params = self._params
        prompt = history[: self._prompt_length]
        if params.encoder_repetition_penalty != 1:
            apply_repetition_penalty(logits, prompt, 1 / params.encoder_repetition_penalty)
        if params.repetition_penalty != 1:
            apply_repetition_penalty(logits, history, params.repetition_penalty)
        if params.presence_penalty or params.frequency_penalty:
            generated = history[self._prompt_length :]
            apply_count_penalties(
                logits, generated, params.presence_penalty, params.frequency_penalty
            )
        if params.no_repeat_ngram_size:
            logits[ngram_ends(history, params.no_repeat_ngram_size)] = -np.inf
        if params.encoder_no_repeat_ngram_size:
            size = params.encoder_no_repeat_ngram_size
            logits[ngram_ends(history, size, within=prompt)] = -np.inf
        if self._bad_words:
            logits[word_ends(history, self._bad_words)] = -np.inf


def apply_repetition_penalty(logits: Logits, token_ids: NDArray[np.int64], penalty: float) -> None:
    """Make ``token_ids`` less likely in place (CTRL, Keskar et al. 2019, section 4.1)."""
    seen = logits[token_ids]
    logits[token_ids] = np.where(seen < 0, seen * penalty, seen / penalty)


def apply_count_penalties(
    logits: Logits, token_ids: NDArray[np.int64], presence: float, frequency: float
) -> None:
    """Lower each of ``token_ids`` in place, as OpenAI's and llama.cpp's servers do.

    ``presence`` is subtracted once for each token that occurs, ``frequency`` at each occurrence.
    """
    seen, counts = np.unique(token_ids, return_counts=True)
    logits[seen] -= (presence + frequency * counts).astype(np.float32)


def ngram_ends(
    token_ids: NDArray[np.int64], size: int, *, within: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the tokens that would repeat an n-gram of ``size`` of ``token_ids`` or ``within``."""
    within = token_ids if within is None else within
    if len(within) < size or len(token_ids) < size - 1:
        return token_ids[:0]
    windows = np.lib.stride_tricks.sliding_window_view(within, size)  # [n, size]
    begun = token_ids[len(token_ids) + 1 - size :]  # [size - 1]
    # [n, size - 1] == [size - 1] -> [n], the windows that begin like the end of the text
    ends: NDArray[np.int64] = windows[(windows[:, :-1] == begun).all(axis=1), -1]
    return ends


def word_ends(token_ids: NDArray[np.int64], words: Sequence[Sequence[int]]) -> list[int]:
    """Return the last token of each of ``words`` that this token would complete."""
    longest = max(map(len, words)) - 1
    tail = tuple(token_ids[max(0, len(token_ids) - longest) :].tolist() if longest else ())
    return [
        word[-1]
        for word in words
        if len(word) == 1 or (len(word) <= len(tail) + 1 and tail[1 - len(word) :] == word[:-1])
    ]


def _arrays(bias: Mapping[int, float]) -> tuple[NDArray[np.int64], Logits]:
    return np.fromiter(bias.keys(), np.int64), np.fromiter(bias.values(), np.float32)


def _checked(logits: Logits, shape: tuple[int, ...]) -> Logits:
    if not isinstance(logits, np.ndarray) or logits.shape != shape:
        given = logits.shape if isinstance(logits, np.ndarray) else type(logits).__name__
        raise ValueError(f"a logits processor returned {given}; it must return {shape}")
    return logits
