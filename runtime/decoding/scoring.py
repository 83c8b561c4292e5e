"""Log-probabilities of given text: completions after a prompt, and losses over a long text."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int
from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.results import Perplexity, Score
from gpt2edge.runtime.sampling.log_probs import token_logprobs


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
    decoder: Decoder, prompt_logits: Logits, token_ids: Sequence[int]
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


class Window(NamedTuple):
    """A window of ``context`` tokens that moves by ``stride`` over a text."""

    context: int
    stride: int

    @classmethod
    def of(cls, context: int | None, stride: int | None, n_positions: int) -> "Window":
        """From what a caller gives: at most ``n_positions`` tokens, moved by half of them.

        Raises ArgumentError for a wrong value.
        """
        context = n_positions if context is None else context
        check_int("context", context, 2, n_positions)
        stride = max(1, context // 2) if stride is None else stride
        check_int("stride", stride, 1, context)
        return cls(context, stride)


def measure_perplexity(
    decoder: Decoder,
    token_ids: Sequence[int],
    window: Window,
    *,
    nbytes: int | None,
    progress: Callable[[int, int], None] | None,
) -> Perplexity:
    """Return the perplexity of ``token_ids``, whose text has ``nbytes`` in UTF-8, if it has one."""
    context, stride = window
    losses = window_losses(decoder, token_ids, context, stride, progress)
    if losses.size < len(token_ids) - 1:
        nbytes = None  # windows side by side leave out the first token of each
    return Perplexity.of(losses, context=context, stride=stride, nbytes=nbytes)


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
    for start, end, count in scored_spans(len(token_ids), Window(context, stride)):
        losses.extend(_last_losses(decoder, token_ids[start:end], count))
        if progress is not None:
            progress(end - 1, len(token_ids) - 1)
    return np.concatenate(losses)


def scored_spans(length: int, window: Window) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, count) of each window over ``length`` tokens; its last count are scored.

    Every token but the first is scored once, except the first token of each window where the
    stride equals the context.
    """
    scored = 1
    for start in range(0, length, window.stride):
        end = min(start + window.context, length)
        count = min(end - scored, end - start - 1)
        if count > 0:
            yield start, end, count
        scored = max(scored, end)
        if end == length:
            break


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
