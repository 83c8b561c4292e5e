"""What several models predict on one text: the same windows, one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gpt2edge._progress import Progress
from gpt2edge.evaluate.divergence import in_step, token_divergences
from gpt2edge.evaluate.estimates import Array, Estimate, increase_of, mean_of, perplexity_of
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.scoring import Window, scored_spans
from gpt2edge.runtime.sampling.log_probs import log_softmax_float32

Ids = NDArray[np.int64]


@dataclass(slots=True)
class Predictions:
    """A model's figures, token by token, against those of a reference."""

    _losses: list[Array] = field(default_factory=list)
    _reference: list[Array] = field(default_factory=list)
    _kl: list[Array] = field(default_factory=list)
    _same: list[Array] = field(default_factory=list)

    def add(self, reference: FloatArray, logprobs: FloatArray, targets: Sequence[int]) -> None:
        """Add some tokens: the reference's and the model's log-probabilities, and the tokens.

        The log-probabilities are [n, vocab_size]; ``targets`` [n] are the tokens that came.
        """
        rows = np.arange(len(targets))
        self._losses.append(-logprobs[rows, targets].astype(np.float64))
        self._reference.append(-reference[rows, targets].astype(np.float64))
        self._kl.append(token_divergences(reference, logprobs))
        same = reference.argmax(axis=-1) == logprobs.argmax(axis=-1)
        self._same.append(same.astype(np.float64))

    @property
    def losses(self) -> Array:
        """Return the model's negative log-likelihood of every token in nats, [tokens]."""
        return np.concatenate(self._losses)

    @property
    def perplexity(self) -> Estimate:
        """Return the model's perplexity."""
        return perplexity_of(self.losses)

    @property
    def reference_perplexity(self) -> Estimate:
        """Return the reference's perplexity."""
        return perplexity_of(np.concatenate(self._reference))

    @property
    def perplexity_increase(self) -> Estimate:
        """Return the relative increase of perplexity, with the error of the paired difference."""
        return increase_of(self.losses, np.concatenate(self._reference))

    @property
    def kl(self) -> Estimate:
        """Return KL(reference || model) in nats a token."""
        return mean_of(np.concatenate(self._kl))

    @property
    def top1_agreement(self) -> Estimate:
        """Return the share of tokens where both have the same most probable token."""
        return mean_of(np.concatenate(self._same))


def predict(
    decoders: Sequence[Decoder], token_ids: Sequence[int], window: Window, tell: Progress
) -> list[Predictions]:
    """Run all decoders over ``token_ids``, window by window; the first one is the reference.

    ``tell`` hears of the tokens done.
    """
    found = [Predictions() for _ in decoders]
    for start, end, count in scored_spans(len(token_ids), window):
        span = np.asarray(token_ids[start:end], np.int64)
        for logits, targets in _scored(decoders, span, count):
            reference = log_softmax_float32(logits[0])
            for own, each in zip(found, logits, strict=True):
                same = each is logits[0]
                own.add(reference, reference if same else log_softmax_float32(each), targets)
        tell("predicting the text", end, len(token_ids))
    return found


def _scored(
    decoders: Sequence[Decoder], span: Ids, count: int
) -> Iterator[tuple[tuple[FloatArray, ...], list[int]]]:
    """Yield chunks: every decoder's logits [chunk, vocab_size], and the tokens that follow.

    Only the last ``count`` tokens of ``span`` are scored, given those before them.
    """
    head, done = len(span) - count - 1, len(span) - count
    for decoder in decoders:
        decoder.cache.truncate(0, 0)
        if head > 0:
            decoder.prefill(0, span[:head].tolist())
    streams = [decoder.prefill_all(0, span[head:-1].tolist()) for decoder in decoders]
    for logits in in_step(streams):
        yield logits, span[done : done + len(logits[0])].tolist()
        done += len(logits[0])
