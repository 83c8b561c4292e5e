"""From logits to a token: the cuts and the draw, in numpy.

The order is transformers': what ``processors`` does, temperature, top-k, top-p, min-p, typical-p.
The cuts seldom sort the vocabulary: a bound on the k-th largest logit, or on what a nucleus can
hold, picks the candidates first, and only they are sorted.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import real, whole
from gpt2edge.runtime.processors import Logits, LogitsProcessor, Processing, Scope

MAX_BEAMS: Final = 1024
"""The most beams of one prompt."""

_LARGEST_BLOCK: Final = 128
_NEGLIGIBLE: Final = np.float32(1e-4)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen. ``temperature`` 0 is greedy; the defaults change nothing.

    ``top_k`` 0, ``top_p`` 1 and ``typical_p`` 1 keep all tokens. ``presence_penalty`` and
    ``frequency_penalty`` count generated tokens. ``no_repeat_ngram_size`` n lets no n tokens come
    twice, and ``bad_words_ids`` are sequences of tokens that never come. ``seed`` None draws a
    fresh one at each call.

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
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    seed: int | None = None

    def __post_init__(self) -> None:
        real("temperature", self.temperature, 0, 100)
        real("top_p", self.top_p, 0, 1, open_low=True)
        real("min_p", self.min_p, 0, 1)
        real("typical_p", self.typical_p, 0, 1, open_low=True)
        real("repetition_penalty", self.repetition_penalty, 0, 100, open_low=True)
        real("presence_penalty", self.presence_penalty, -100, 100)
        real("frequency_penalty", self.frequency_penalty, -100, 100)
        real("length_penalty", self.length_penalty, -100, 100)
        whole("top_k", self.top_k, 0, 2**31)
        whole("no_repeat_ngram_size", self.no_repeat_ngram_size, 0, 2**31)
        whole("num_beams", self.num_beams, 1, MAX_BEAMS)
        if not (isinstance(self.early_stopping, bool) or self.early_stopping == "never"):
            given = f"early_stopping is {self.early_stopping!r}"
            raise ValueError(f"{given}; it must be True, False or 'never'")
        if self.seed is not None:
            whole("seed", self.seed, 0, 2**64 - 1)
        _check_words(self.bad_words_ids)
        if not isinstance(self.logit_bias, Mapping):
            raise ValueError(f"logit_bias is {self.logit_bias!r}; it must map token ids to numbers")
        for token_id, bias in self.logit_bias.items():
            whole("a token id in logit_bias", token_id, 0, 2**31)
            real(f"logit_bias of token {token_id}", bias, -math.inf, 1e6)

    @property
    def is_greedy(self) -> bool:
        """True where the most likely token is always taken."""
        # what float32 cannot tell from 0 is 0
        return np.float32(self.temperature) == 0 or self.top_k == 1

    @property
    def is_random(self) -> bool:
        """True where the seed matters."""
        return self.num_beams == 1 and not self.is_greedy


class _Scratch(threading.local):
    """Arrays as large as the vocabulary, kept by each thread from one draw to the next.

    New ones would come from fresh pages of memory, which costs more than the arithmetic on them.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Logits] = {}

    def array(self, name: str, size: int) -> Logits:
        """The scratch array ``name``, [size], holding anything."""
        array = self._arrays.get(name)
        if array is None or array.size < size:
            array = self._arrays[name] = np.empty(size, np.float32)
        return array[:size]


_SCRATCH: Final = _Scratch()


class Sampler:
    """Draws the tokens of one sequence from a random stream of its own."""

    def __init__(
        self,
        params: SamplingParams,
        processors: Sequence[LogitsProcessor] = (),
        stream_key: Sequence[int] = (0, 0),
        scope: Scope | None = None,
    ) -> None:
        self._params = params
        self.process = Processing(params, processors, scope)
        self._stream_key = list(stream_key)

    @cached_property
    def _random(self) -> "np.random.Generator":
        """The random stream; a greedy choice never loads numpy.random."""
        return np.random.Generator(np.random.PCG64(self._stream_key))

    def __call__(self, logits: Logits, token_ids: Sequence[int], banned: Sequence[int]) -> int:
        """The next token id, from ``logits`` [vocab_size], which stay as they are.

        ``token_ids`` are prompt and completion so far; ``banned`` cannot be drawn.
        """
        params = self._params
        untouched = not self.process.is_needed
        if untouched and params.is_greedy:
            likeliest = int(logits.argmax())
            if likeliest not in banned:
                return likeliest
        if banned or not untouched:
            logits = self._processed(logits, token_ids, banned)
        if params.is_greedy:
            return int(logits.argmax())
        kept, weights = self._candidates(logits)
        place = _place_of(self._random.random(), weights)
        return place if kept is None else int(kept[place])

    def _processed(self, logits: Logits, token_ids: Sequence[int], banned: Sequence[int]) -> Logits:
        if self.process.hands_out:  # to code that may keep it, or draw tokens of its own meanwhile
            processed = np.empty_like(logits)
        else:
            processed = _SCRATCH.array("processed", logits.size)
        np.copyto(processed, logits)
        self.process(processed, token_ids, banned)
        if not np.isfinite(processed.max()):
            raise ValueError("no token is left to draw: the largest processed logit is not finite")
        return processed

    def _candidates(self, logits: Logits) -> tuple[NDArray[np.int64] | None, Logits]:
        """Token ids that may be drawn (None for all of them) and their weights, not normalized."""
        params = self._params
        top = logits.max()
        kept = None
        if params.top_k and params.top_k < logits.size:
            kept = top_k_indices(logits, params.top_k)
        elif params.top_p == 1 and params.min_p > 0:
            bound = np.float32(params.temperature * math.log(params.min_p))
            kept = np.flatnonzero(logits >= top + bound)
        weights = self._relative_weights(logits if kept is None else logits[kept], top)
        if params.top_p < 1:
            kept, weights = _keep(kept, weights, _nucleus(weights, params.top_p))
        if params.min_p > 0:
            kept, weights = _keep(kept, weights, np.flatnonzero(weights >= params.min_p))
        if params.typical_p < 1:
            kept, weights = _keep(kept, weights, _typical(weights, params.typical_p))
        return kept, weights

    def _relative_weights(self, logits: Logits, top: np.float32) -> Logits:
        """exp((logits - top) / temperature): the likeliest weighs 1."""
        weights = np.subtract(logits, top, out=_SCRATCH.array("weights", logits.size))
        weights /= np.float32(self._params.temperature)
        return np.exp(weights, out=weights)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _place_of(share: float, weights: Logits) -> int:
    """The place where the running sum of ``weights`` passes ``share`` of their total.

    Sums of blocks find the block first: a running sum over a vocabulary is slow in numpy.
    """
    start, rest = 0, share
    if weights.size > _LARGEST_BLOCK:
        starts = np.arange(0, weights.size, _LARGEST_BLOCK)
        sums = np.add.reduceat(weights, starts, dtype=np.float64).cumsum()
        draw = share * sums[-1]
        block = min(int(sums.searchsorted(draw, side="right")), sums.size - 1)
        start = int(starts[block])
        weights = weights[start : start + _LARGEST_BLOCK]
        before = sums[block - 1] if block else 0.0
        rest = (draw - before) / (sums[block] - before)
    running = weights.cumsum(dtype=np.float64)
    place = int(running.searchsorted(rest * running[-1], side="right"))
    return start + min(place, weights.size - 1)


def _keep(
    kept: NDArray[np.int64] | None, weights: NDArray[np.float32], places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return (places if kept is None else kept[places]), weights[places]


def _nucleus(weights: NDArray[np.float32], mass: float) -> NDArray[np.int64]:
    """Places of the fewest largest ``weights`` that hold ``mass`` of their sum (Holtzman 2019).

    Weights are relative to the largest: those under a bound are left out of the sort where the
    others hold enough. Of equal weights the first ones are taken.
    """
    needed = mass * weights.sum(dtype=np.float64)
    places = np.flatnonzero(weights >= _NEGLIGIBLE)
    if weights[places].sum(dtype=np.float64) < needed:
        places = np.arange(weights.size)
    largest = np.sort(weights[places])[::-1]
    size = int(largest.cumsum(dtype=np.float64).searchsorted(needed)) + 1
    smallest = largest[min(size, largest.size) - 1]
    inside: NDArray[np.int64] = places[weights[places] >= smallest]
    surplus = inside.size - min(size, largest.size)
    if surplus:  # equals of the smallest, the last of which are too many
        equals = np.flatnonzero(weights[inside] == smallest)
        return np.delete(inside, equals[equals.size - surplus :])
    return inside


def top_k_indices(values: Logits, k: int) -> NDArray[np.int64]:
    """Indices of the ``k`` largest of ``values`` [n], the largest first, ties by lower index.

    The k-th largest of the maxima of blocks is no larger than the k-th largest value, so every
    value of the answer is at least that, and few others are.
    """
    block = min(_LARGEST_BLOCK, values.size // (4 * k))
    if block > 1:
        whole = values.size // block * block
        maxima = values[:whole].reshape(-1, block).max(axis=1)
        bound = np.partition(maxima, maxima.size - k)[maxima.size - k]
        found = np.flatnonzero(values >= bound)
    else:
        found = np.arange(values.size)
    order = np.argsort(-values[found], kind="stable")[:k]
    top: NDArray[np.int64] = found[order]
    return top


def _typical(weights: NDArray[np.float32], mass: float) -> NDArray[np.int64]:
    """Places whose surprise is nearest its mean, the fewest that hold ``mass`` (Meister 2022)."""
    possible = np.flatnonzero(weights)
    shares = weights[possible].astype(np.float64)
    shares /= shares.sum()
    surprise = -np.log(shares)
    distance = np.abs(surprise - (shares * surprise).sum())
    order = np.argsort(distance, kind="stable")
    last = int((shares[order].cumsum() < mass).sum())
    places: NDArray[np.int64] = possible[distance <= distance[order[min(last, order.size - 1)]]]
    return places


def _check_words(words: object) -> None:
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise ValueError(f"bad_words_ids is {words!r}; it must be a list of lists of token ids")
    for word in words:
        if isinstance(word, str) or not isinstance(word, Sequence) or not word:
            raise ValueError(f"bad_words_ids holds {word!r}; it must hold lists of token ids")
        for token_id in word:
            whole("a token id in bad_words_ids", token_id, 0, 2**31)


GREEDY: Final = SamplingParams(temperature=0.0)
"""Always the most likely token."""
