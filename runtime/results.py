"""Results of generation and scoring."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import shown

_LARGEST_EXPONENT: Final = 700.0

FinishReason: TypeAlias = Literal["eos", "stop", "length", "time", "cancelled"]
"""The end condition that fired: the end-of-text token, a stop string or stop token, the token limit
or the end of the context, the time limit, or cancellation by the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A token, its text (U+FFFD where it is part of a character) and its log-probability."""

    token_id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One generated token of row ``index``.

    ``text`` is the text that this token completes; it is empty while a character or a possible
    stop string is incomplete. ``logprob`` and ``top_logprobs`` are the model's own, before
    temperature, penalties and truncation, and are set only on request.
    """

    text: str
    token_id: int
    index: int = 0
    logprob: float | None = None
    top_logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds and token counts of one completion, including tokenization; ``load_s`` is separate.

    ``reused_tokens`` of the prompt came from a cache or another sample and were not computed.
    Speculative decoding guessed ``guessed_tokens``, of which ``accepted_tokens`` were accepted.
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
        """Milliseconds per token after the first (TPOT); 0 where there is only one token."""
        return 1e3 * self.decode_s / (self.completion_tokens - 1) if self.decode_s else 0.0

    @property
    def decode_tps(self) -> float:
        """Tokens per second after the first token; 0 where there is only one."""
        return 1e3 / self.tpot_ms if self.tpot_ms else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ``tpot_ms`` and ``decode_tps``."""
        return {**asdict(self), "tpot_ms": self.tpot_ms, "decode_tps": self.decode_tps}


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished completion of one prompt.

    ``text`` ends before the stop string; ``token_ids`` holds every generated token, including the
    end token. ``seed`` and ``index`` reproduce the text in the same call; in float32, in
    ``int8-block`` and where ``Decoder.batch_invariant`` they do so in any batch. ``score`` is the
    score of beam search. ``truncated`` is True where tokens were dropped to fit the context.
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

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        tokens, seed = len(self.token_ids), "" if self.seed is None else f", seed={self.seed}"
        return (
            f"Completion({shown(self.text)}, tokens={tokens}, "
            f"finish_reason={self.finish_reason!r}{seed})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as lists, dictionaries, texts and numbers, to store as JSON.

        ``timing`` is ``Timing.to_dict()``. JSON has no infinity, which the log-probability of a
        token may be.
        """
        return {
            "prompt": self.prompt,
            "text": self.text,
            "token_ids": list(self.token_ids),
            "finish_reason": self.finish_reason,
            "truncated": self.truncated,
            "index": self.index,
            "seed": self.seed,
            "score": self.score,
            "logprobs": list(self.logprobs),
            "top_logprobs": [[asdict(top) for top in tops] for tops in self.top_logprobs],
            "timing": self.timing.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The log-probability of a given completion.

    ``logprob`` is the sum of ``logprobs``, the natural log-probability of each of ``token_ids``;
    ``is_greedy`` is True where greedy decoding would generate exactly this completion.
    """

    text: str
    token_ids: tuple[int, ...]
    logprob: float
    logprobs: tuple[float, ...]
    is_greedy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """Perplexity of a text: exp of the mean negative log-likelihood of ``tokens`` tokens.

    ``mean_nll`` is in nats. ``standard_error`` is the standard error of ``perplexity``, by the
    delta method from the standard deviation of the token losses. ``bits_per_byte`` compares models
    with different tokenizers; it is None for token-id input, and where the tokens do not decode to
    the text.
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
        """Compute the perplexity from token losses [tokens] in nats; ``nbytes`` is the text's size.

        The size is in bytes of UTF-8; None leaves out ``bits_per_byte``.
        """
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
