"""Log-probabilities of given text: completions after a prompt, and losses over a long text."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.results import Score


def token_logprobs(
    logits: NDArray[np.float32], token_ids: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the log-probability of each of ``token_ids`` [n], and whether it is the argmax.

    ``logits`` are [n, vocab_size].
    """
    rows = np.arange(len(token_ids))
    shifted = logits - logits.max(axis=1, keepdims=True)  # [n, vocab_size]
    normalizer = np.log(np.exp(shifted).sum(axis=1, dtype=np.float64))  # [n]
    return shifted[rows, token_ids] - normalizer, logits.argmax(axis=1) == token_ids


def score_completions(
    decoder: Decoder,
    prompt_ids: Sequence[int],
    completions: Sequence[Sequence[int]],
    texts: Sequence[str],
) -> list[Score]:
    """Return the score of each of ``completions``, with ``texts``, after one prefill in row 0."""
    prompt_logits = decoder.prefill(0, prompt_ids)  # [vocab_size]
    scores = []
    for token_ids, text in zip(completions, texts, strict=True):
        values, greedy = score_completion(decoder, prompt_logits, token_ids)
        scores.append(
            Score(
                text=text,
                token_ids=tuple(token_ids),
                logprob=float(sum(values)),
                logprobs=tuple(values),
                is_greedy=greedy,
            )
        )
    return scores


def score_completion(
    decoder: Decoder, prompt_logits: NDArray[np.float32], token_ids: Sequence[int]
) -> tuple[list[float], bool]:
    """Return log-probabilities of ``token_ids`` after the prompt in row 0, and if all are greedy.

    ``prompt_logits`` [vocab_size] are the logits after the prompt's last token. Row 0 holds only
    the prompt again afterwards.
    """
    prompt_length = int(decoder.cache.lengths[0])
    pieces = [token_logprobs(prompt_logits[None], token_ids[:1])]  # of [1, vocab_size]
    done = 1
    if len(token_ids) > 1:
        for logits in decoder.prefill_all(0, token_ids[:-1]):  # [chunk, vocab_size]
            pieces.append(token_logprobs(logits, token_ids[done : done + len(logits)]))
            done += len(logits)
        decoder.cache.truncate(0, prompt_length)
    greedy = all(bool(matches.all()) for _, matches in pieces)
    return [float(value) for values, _ in pieces for value in values], greedy


def window_losses(
    decoder: Decoder,
    token_ids: Sequence[int],
    context: int,
    stride: int,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Return the negative log-likelihood in nats of every token but the first, [tokens - 1].

    A window of ``context`` tokens moves by ``stride``. Each token is scored once, given all tokens
    before it in its window: at least ``context - stride`` of them after the first window (the
    method of transformers' documentation, "Perplexity of fixed-length models"). Where the two are
    equal, the first token of each window is left out. ``progress`` is called with the tokens done
    and their total.
    """
    losses: list[NDArray[np.float64]] = []
    scored = 1
    for start in range(0, len(token_ids), stride):
        end = min(start + context, len(token_ids))
        if end > scored:
            count = min(end - scored, end - start - 1)
            if count:
                losses.extend(_last_losses(decoder, token_ids[start:end], count))
            scored = end
            if progress is not None:
                progress(scored - 1, len(token_ids) - 1)
        if end == len(token_ids):
            break
    return np.concatenate(losses)


def _last_losses(
    decoder: Decoder, token_ids: Sequence[int], count: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the negative log-likelihood of the last ``count`` tokens, given those before them."""
    decoder.cache.truncate(0, 0)
    head = len(token_ids) - count - 1
    if head > 0:
        decoder.prefill(0, token_ids[:head])
    targets = token_ids[len(token_ids) - count :]
    done = 0
    for logits in decoder.prefill_all(0, token_ids[head:-1]):  # [chunk, vocab_size]
        logprobs, _ = token_logprobs(logits, targets[done : done + len(logits)])
        yield -logprobs  # [chunk]
        done += len(logits)
