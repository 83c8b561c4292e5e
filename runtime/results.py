"""What a generation or a scoring returns."""

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

_LARGEST_EXPONENT: Final = 700.0

FinishReason: TypeAlias = Literal["eos", "stop", "length", "time", "cancelled"]
"""Which end condition fired: the end-of-text token, a stop string or stop token, the token limit
or the end of the context, the deadline, or a caller that cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A token, its text (U+FFFD where it is part of a character) and its log-probability."""

    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One generated token of row ``index``.

    ``text`` is what became printable with it: empty while a character or a possible stop string
    is incomplete. ``logprob`` and ``top_logprobs`` are those of the model itself, before
    temperature, penalties and cuts, and are there only when they were asked for.
    """

    text: str
    token_id: int
    index: int = 0
    logprob: float | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds and token counts of one completion, tokenization included, model load apart.

    ``reused_tokens`` of the prompt were known, from a cache or a sibling, and not computed.
    ``accepted_tokens`` of the ``guessed_tokens`` that speculation tried were right.
    """

    load_s: float
    prompt_tokens: int
    completion_tokens: int
    ttft_s: float
    decode_s: float
    reused_tokens: int = 0
    guessed_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def tpot_ms(self) -> float:
        """Milliseconds for each token after the first; 0 where there is none."""
        return 1e3 * self.decode_s / (self.completion_tokens - 1) if self.decode_s else 0.0

    @property
    def decode_tps(self) -> float:
        """Tokens per second after the first; 0 where there is none."""
        return 1e3 / self.tpot_ms if self.tpot_ms else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished completion of one prompt.

    ``text`` ends before the stop string; ``token_ids`` holds every generated token, the one that
    ended it included. ``seed`` and ``index`` make the same text again in the same call, in float32
    and ``int8-block`` in any batch. ``score`` is what beam search ranked it by. ``truncated`` says
    that tokens were left out to fit the context.
    """

    prompt: str
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    timing: Timing
    seed: int | None = None
    index: int = 0
    truncated: bool = False
    score: float | None = None
    logprobs: tuple[float, ...] = ()
    top_logprobs: tuple[tuple[TokenLogprob, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How likely the model finds a given completion.

    ``logprob`` is the sum of ``logprobs``, the natural log-probability of each of ``token_ids``;
    ``is_greedy`` says that greedy decoding would have written exactly this.
    """

    text: str
    token_ids: tuple[int, ...]
    logprob: float
    logprobs: tuple[float, ...]
    is_greedy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """Perplexity of a text: exp of the mean negative log-likelihood of ``tokens`` tokens.

    ``standard_error`` is that of ``perplexity``, by the delta method from the spread of the
    token losses. ``bits_per_byte`` makes tokenizers comparable; None for token-id
    input, and where the tokens do not spell the text.
    """

    perplexity: float
    standard_error: float
    mean_nll: float
    tokens: int
    context: int
    stride: int
    bits_per_byte: float | None

    @classmethod
    def of(
        cls, losses: NDArray[np.float64], *, context: int, stride: int, nbytes: int | None
    ) -> "Perplexity":
        """From the token losses [tokens] in nats; ``nbytes`` is the text's size in UTF-8."""
        mean = float(losses.mean())
        value = math.exp(mean) if mean < _LARGEST_EXPONENT else math.inf
        spread = float(losses.std(ddof=1)) if losses.size > 1 else math.nan
        return cls(
            perplexity=value,
            standard_error=value * spread / math.sqrt(losses.size),
            mean_nll=mean,
            tokens=losses.size,
            context=context,
            stride=stride,
            bits_per_byte=float(losses.sum()) / math.log(2) / nbytes if nbytes else None,
        )
