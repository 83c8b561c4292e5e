"""Token rules of transformers' generation settings: force, forbid or favour tokens by position."""

import math
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.sampling.params import SamplingParams, listed_ids

_LARGEST_EXPONENT: Final = 80.0
"""The largest exponent for which the power times any logit is a finite float32."""


class TokenRules:
    """Applies the token rules of one sequence to its logits in place."""

    def __init__(
        self,
        params: SamplingParams,
        prompt_length: int,
        max_new_tokens: int | None,
        eos_ids: Collection[int],
    ) -> None:
        self._prompt_length = prompt_length
        self._max_new_tokens = max_new_tokens
        self._eos_ids = list(eos_ids)
        self._biased = [(tuple(ids), bias) for ids, bias in params.sequence_bias]
        self._suppressed = list(params.suppress_tokens)
        self._begin_suppressed = list(params.begin_suppress_tokens)
        self._first = params.forced_bos_token_id
        self._last = listed_ids(params.forced_eos_token_id)
        self._decay = params.exponential_decay_length_penalty
        self.is_needed = bool(
            self._biased
            or self._suppressed
            or self._begin_suppressed
            or self._first is not None
            or self._last
            or self._decay
        )
        """True where any rule is set."""

    def favour(self, logits: Logits, history: NDArray[np.int64]) -> None:
        """Add each sequence's bias to its last token where ``history`` ends with its others."""
        for ids, bias in self._biased:
            begun = len(ids) - 1
            if (
                begun <= len(history)
                and tuple(history[len(history) - begun :].tolist()) == ids[:-1]
            ):
                logits[ids[-1]] += bias

    def force(self, logits: Logits, history: NDArray[np.int64]) -> None:
        """Apply the rules that force or forbid tokens at this position; call it last."""
        generated = len(history) - self._prompt_length
        if self._first is not None and len(history) == 1:
            _leave_only(logits, [self._first])
        if (
            self._last
            and self._max_new_tokens is not None
            and generated + 1 == self._max_new_tokens
        ):
            _leave_only(logits, self._last)
        if self._decay is not None and generated > self._decay[0]:
            start, factor = self._decay
            power = math.exp(min((generated - start) * math.log(factor), _LARGEST_EXPONENT))
            ends = [token_id for token_id in self._eos_ids if np.isfinite(logits[token_id])]
            logits[ends] += np.abs(logits[ends]) * np.float32(power - 1)
        if self._suppressed:
            logits[self._suppressed] = -np.inf
        # a forced first token does not count as the beginning
        begin = 1 if self._first is not None and self._prompt_length == 1 else 0
        if self._begin_suppressed and generated == begin:
            logits[self._begin_suppressed] = -np.inf


def _leave_only(logits: Logits, token_ids: Sequence[int]) -> None:
    logits[:] = -np.inf
    logits[list(token_ids)] = 0
