"""Likelihood of given text: completions after a prompt, and perplexity over a long text."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.types import Perplexity


def token_logprobs(
    logits: NDArray[np.float32], token_ids: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-probability of ``token_ids`` [n] under ``logits`` [n, vocab]; which are the argmax."""
    rows = np.arange(len(token_ids))
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalizer = np.log(np.exp(shifted).sum(axis=1, dtype=np.float64))
    return shifted[rows, token_ids] - normalizer, logits.argmax(axis=1) == token_ids


def score_completion(
    decoder: Decoder, prompt_logits: NDArray[np.float32], token_ids: Sequence[int]
) -> tuple[list[float], bool]:
    """Log-probabilities of ``token_ids`` after the prompt in row 0, and whether all are greedy.

    ``prompt_logits`` [vocab] are those after the prompt's last token; row 0 is left as it was.
    """
    prompt_length = int(decoder.cache.lengths[0])
    pieces = [token_logprobs(prompt_logits[None], token_ids[:1])]
    done = 1
    if len(token_ids) > 1:
        for logits in decoder.prefill_all(0, token_ids[:-1]):
            pieces.append(token_logprobs(logits, token_ids[done : done + len(logits)]))
            done += len(logits)
        decoder.cache.truncate(0, prompt_length)
    greedy = all(bool(matches.all()) for _, matches in pieces)
    return [float(value) for values, _ in pieces for value in values], greedy


def perplexity(
    decoder: Decoder, token_ids: Sequence[int], *, context: int, stride: int, nbytes: int | None
) -> Perplexity:
    """Perplexity of ``token_ids`` by a window of ``context`` tokens that moves by ``stride``.

    Every token but the first is scored once, with all tokens before it in its window: at least
    ``context - stride`` of them after the first window (the method of transformers'
    documentation, "Perplexity of fixed-length models"). ``nbytes`` is the UTF-8 size of the text.
    """
    losses = []
    scored = 1
    for start in range(0, len(token_ids), stride):
        end = min(start + context, len(token_ids))
        if end > scored:
            losses.append(_window_losses(decoder, token_ids[start:end], end - scored))
            scored = end
        if end == len(token_ids):
            break
    nll = np.concatenate(losses)
    mean = float(nll.mean())
    value = math.exp(mean) if mean < 700 else math.inf
    error = float(nll.std(ddof=1)) / math.sqrt(len(nll)) if len(nll) > 1 else math.nan
    return Perplexity(
        perplexity=value,
        standard_error=value * error,
        mean_nll=mean,
        tokens=len(nll),
        context=context,
        stride=stride,
        bits_per_byte=float(nll.sum()) / math.log(2) / nbytes if nbytes else None,
    )


def _window_losses(decoder: Decoder, token_ids: Sequence[int], count: int) -> NDArray[np.float64]:
    """Negative log-likelihood of the last ``count`` of ``token_ids``, given those before."""
    decoder.cache.truncate(0, 0)
    head = len(token_ids) - count - 1
    if head > 0:
        decoder.prefill(0, token_ids[:head])
    targets = token_ids[len(token_ids) - count :]
    losses, done = [], 0
    for logits in decoder.prefill_all(0, token_ids[max(head, 0) : -1]):
        logprobs, _ = token_logprobs(logits, targets[done : done + len(logits)])
        losses.append(-logprobs)
        done += len(logits)
    return np.concatenate(losses)
