"""One completion in the making."""

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.overflow import Overflow
from gpt2edge.runtime.processors import Logits, LogitsProcessor, Scope
from gpt2edge.runtime.sampling import Sampler, SamplingParams, log_softmax, top_k_indices
from gpt2edge.runtime.stopping import StopMatcher, StopParams
from gpt2edge.runtime.tokenizer import Tokenizer
from gpt2edge.runtime.types import Chunk, Completion, FinishReason, Timing, TokenLogprob


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every completion of one call has in common."""

    max_new_tokens: int | None
    sampling: SamplingParams
    stop: StopParams
    seed: int | None
    logprobs: int | None
    processors: Sequence[LogitsProcessor]
    eos_ids: frozenset[int]
    tokenizer: Tokenizer | None
    load_s: float
    overflow: Overflow = field(default_factory=Overflow)
    truncated: bool = False
    started: float = field(default_factory=lambda: perf_counter())

    def is_late(self, now: float) -> bool:
        """Whether its time is over."""
        return self.stop.max_time is not None and now - self.started >= self.stop.max_time


class Generation:
    """One completion: takes logits, draws tokens, lets text out, knows when it is done."""

    def __init__(
        self, prompt: str, prompt_ids: Sequence[int], request: Request, *, index: int, row: int
    ) -> None:
        self.prompt = prompt
        self.prompt_ids = list(prompt_ids)
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.cancelled = False
        self.reused_tokens = self.guessed_tokens = self.accepted_tokens = 0
        self._history = list(prompt_ids)
        self._request = request
        self._sampler = self._new_sampler((request.seed or 0, index))
        self._score: float | None = None
        self.truncated = request.truncated
        self.has_slid = False
        self._index = index
        self._row = row
        self._decoder = (
            request.tokenizer.stream_decoder(self.prompt_ids) if request.tokenizer else None
        )
        self._matcher = StopMatcher(request.stop.strings)
        self._pieces: list[str] = []
        self._logprobs: list[float] = []
        self._top_logprobs: list[tuple[TokenLogprob, ...]] = []
        self._first_token = self._last_token = request.started

    @property
    def cached_tokens(self) -> int:
        """Tokens that enter the cache: all but the last, which nothing follows."""
        return len(self.prompt_ids) + self.max_new_tokens - 1

    @property
    def history(self) -> list[int]:
        """Prompt and completion, the same list at all times."""
        return self._history

    @property
    def sampling(self) -> SamplingParams:
        """How its tokens are chosen."""
        return self._request.sampling

    @property
    def max_new_tokens(self) -> int:
        """Its token limit."""
        assert self._request.max_new_tokens is not None
        return self._request.max_new_tokens

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end it."""
        return self._request.eos_ids | frozenset(self._request.stop.token_ids)

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probability of each token so far, where they were asked for."""
        return tuple(self._logprobs)

    def accept(self, logits: NDArray[np.float32]) -> Chunk:
        """Draw the next token from ``logits`` [vocab_size]."""
        return self.append(self._sampler(logits, self._history, self._banned()), logits)

    def process(self, logits: Logits) -> None:
        """Change ``logits`` [vocab_size] in place as its parameters and end conditions say."""
        self._sampler.process(logits, self._history, self._banned())

    def append(self, token_id: int, logits: Logits) -> Chunk:
        """Take ``token_id`` as the next token; ``logits`` [vocab_size] are the model's for it."""
        request = self._request
        self._history.append(token_id)
        self.token_ids.append(token_id)
        self._last_token = perf_counter()
        if len(self.token_ids) == 1:
            self._first_token = self._last_token
        if request.logprobs is not None:
            self._record(logits, token_id, request.logprobs)
        self._pieces.append(self._advance(token_id))
        return self._chunk(len(self.token_ids) - 1)

    def chunks(self) -> list[Chunk]:
        """The chunks of all its tokens."""
        return [self._chunk(at) for at in range(len(self.token_ids))]

    def _chunk(self, at: int) -> Chunk:
        return Chunk(
            text=self._pieces[at],
            token_id=self.token_ids[at],
            index=self._row,
            logprob=self._logprobs[at] if self._logprobs else None,
            top_logprobs=self._top_logprobs[at] if self._top_logprobs else (),
            finish_reason=self.finish_reason if at + 1 == len(self.token_ids) else None,
        )

    def cancel(self) -> None:
        """End here, with what there is."""
        if self.finish_reason is None:
            self.finish_reason = "cancelled"
            self._pieces.append(self._flush())

    def end_early(self) -> bool:
        """End here where a caller cancelled it or its time is over; whether it has ended."""
        if self.cancelled:
            self.cancel()
        elif self.finish_reason is None and self._request.is_late(perf_counter()):
            self.finish_reason = "time"
            self._pieces.append(self._flush())
        return self.finish_reason is not None

    def slide(self, context: int) -> list[int]:
        """What of the text stays in a cache of ``context`` tokens that is full.

        The last token is left out: it is the next to enter.
        """
        self.truncated = self.has_slid = True
        return self._request.overflow.window(self._history, context)[:-1]

    def fork(
        self, stream_key: Sequence[int] | None = None, *, sampling: SamplingParams | None = None
    ) -> "Generation":
        """An independent twin at this point.

        It draws what this one would have drawn, or from the random stream (seed, *stream_key),
        or as ``sampling`` says.
        """
        twin = self.branch()
        twin._request = replace(self._request, sampling=sampling or self._request.sampling)
        if stream_key is None and sampling is None:
            twin._sampler = deepcopy(self._sampler)
        else:
            twin._sampler = twin._new_sampler((self._request.seed or 0, *(stream_key or ())))
        return twin

    def rehearsal(self) -> "Generation":
        """A twin that draws what this one would have drawn, and notes nothing of it."""
        twin = self.fork()
        twin._request = replace(twin._request, logprobs=None)
        twin._logprobs, twin._top_logprobs = [], []
        return twin

    def branch(self) -> "Generation":
        """A twin at this point for a caller who chooses the tokens: both draw from one stream."""
        twin = copy(self)
        twin.token_ids, twin._history = list(self.token_ids), list(self._history)
        twin._pieces, twin._logprobs = list(self._pieces), list(self._logprobs)
        twin._top_logprobs = list(self._top_logprobs)
        twin._decoder, twin._matcher = copy(self._decoder), copy(self._matcher)
        return twin

    def adopt(self, other: "Generation", score: float) -> None:
        """Become what ``other`` is, a branch of a sample of the same prompt, and take ``score``."""
        index, row = self._index, self._row
        vars(self).update(vars(other.branch()), _index=index, _row=row, _score=score)

    def completion(self) -> Completion:
        """The finished completion."""
        assert self.finish_reason is not None
        request = self._request
        return Completion(
            prompt=self.prompt,
            text="".join(self._pieces),
            token_ids=tuple(self.token_ids),
            finish_reason=self.finish_reason,
            timing=Timing(
                load_s=request.load_s,
                prompt_tokens=len(self.prompt_ids),
                completion_tokens=len(self.token_ids),
                ttft_s=self._first_token - request.started,
                decode_s=self._last_token - self._first_token,
                reused_tokens=self.reused_tokens,
                guessed_tokens=self.guessed_tokens,
                accepted_tokens=self.accepted_tokens,
            ),
            seed=request.seed,
            index=self._index,
            truncated=self.truncated,
            score=self._score,
            logprobs=tuple(self._logprobs),
            top_logprobs=tuple(self._top_logprobs),
        )

    def _new_sampler(self, stream_key: Sequence[int]) -> Sampler:
        request = self._request
        scope = Scope(prompt_length=len(self.prompt_ids), eos_ids=request.eos_ids)
        return Sampler(request.sampling, request.processors, stream_key, scope)

    def _banned(self) -> Sequence[int]:
        stop = self._request.stop
        if len(self.token_ids) < stop.min_new_tokens:
            return [*self._request.eos_ids, *stop.token_ids]
        return tuple(self._request.eos_ids) if stop.ignore_eos else ()

    def _advance(self, token_id: int) -> str:
        """The text that token lets out; sets ``finish_reason`` where it is the last one."""
        request = self._request
        if token_id in request.eos_ids:
            self.finish_reason = "eos"
            return self._flush()
        if token_id in request.stop.token_ids:
            self.finish_reason = "stop"
            return self._flush()
        text = self._matcher.push(self._decoder.push(token_id) if self._decoder else "")
        if self._matcher.matched is not None:
            self.finish_reason = "stop"
        elif len(self.token_ids) == request.max_new_tokens:
            self.finish_reason = "length"
            text += self._flush()
        elif request.is_late(self._last_token):
            self.finish_reason = "time"
            text += self._flush()
        return text

    def _flush(self) -> str:
        tail = self._matcher.push(self._decoder.finish() if self._decoder else "")
        return tail + self._matcher.finish()

    def _record(self, logits: NDArray[np.float32], token_id: int, count: int) -> None:
        logprobs = log_softmax(logits)
        self._logprobs.append(float(logprobs[token_id]))
        tokenizer = self._request.tokenizer
        if count:
            self._top_logprobs.append(
                tuple(
                    TokenLogprob(
                        token_id=int(other),
                        text=tokenizer.piece(int(other)) if tokenizer else "",
                        logprob=float(logprobs[other]),
                    )
                    for other in top_k_indices(logits, count)
                )
            )
