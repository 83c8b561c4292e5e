"""Generation: the state of one completion while it is decoded."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from time import perf_counter

from gpt2edge._checks import shown
from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.context_window import Overflow
from gpt2edge.runtime.results import Chunk, Completion, FinishReason, Timing, TokenLogprob
from gpt2edge.runtime.sampling.log_probs import log_masses
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.processors import Ids, LogitsProcessor, Scope
from gpt2edge.runtime.sampling.sampler import Sampler, choose
from gpt2edge.runtime.sampling.truncation import top_k_indices
from gpt2edge.runtime.text.detokenizer import Detokenizer
from gpt2edge.runtime.text.stopping import StopParams
from gpt2edge.runtime.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedArguments:
    """The arguments of one call, checked and with the model's defaults filled in."""

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
    skip_special_tokens: bool = True
    truncated: bool = False
    unspelled: Ids | None = None
    started: float = field(default_factory=lambda: perf_counter())

    @property
    def silent_ids(self) -> frozenset[int]:
        """Ids of the tokens that end a text and are not part of it.

        With ``skip_special_tokens`` False the text includes the end-of-text token, as in
        transformers, but never a stop token.
        """
        stops = frozenset(self.stop.token_ids)
        return stops | self.eos_ids if self.skip_special_tokens else stops

    def is_late(self, now: float) -> bool:
        """Return whether ``max_time`` has passed at time ``now``."""
        return self.stop.max_time is not None and now - self.started >= self.stop.max_time


class Generation:
    """One completion: draws tokens from logits, and checks the end conditions.

    A batch of a tiny model spends as much time here as in its matrix products. So taking a token
    costs two list appends and a few comparisons; ``Detokenizer`` decodes text on demand.
    """

    def __init__(
        self,
        prompt: str,
        prompt_ids: Sequence[int],
        arguments: ResolvedArguments,
        *,
        index: int,
        row: int,
    ) -> None:
        self.prompt = prompt
        self.prompt_ids = list(prompt_ids)
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.cancelled = False
        self.reused_tokens = self.guessed_tokens = self.accepted_tokens = 0
        self.history = list(prompt_ids)
        """Token ids of prompt and completion; always the same list object."""
        self.truncated = arguments.truncated
        self.has_slid = False
        self.end_ids = arguments.eos_ids | frozenset(arguments.stop.token_ids)
        """Ids of the tokens that end the completion."""
        self._arguments = arguments
        self._sampler = self._new_sampler((arguments.seed or 0, index))
        self._score: float | None = None
        self._index = index
        self._row = row
        self._shown = 0
        self._spelled: Detokenizer | None = None
        self._logprobs: list[float] = []
        self._top_logprobs: list[tuple[TokenLogprob, ...]] = []
        self._first_token = self._last_token = arguments.started

    def __repr__(self) -> str:
        return (
            f"Generation({shown(self.prompt)}, tokens={len(self.token_ids)}, "
            f"finish_reason={self.finish_reason!r})"
        )

    def sibling(self, index: int) -> "Generation":
        """Return sample ``index`` of the same prompt; call before either has a token."""
        twin = self.branch()
        twin._index, twin._row = index, self._row + index
        twin._sampler = self._sampler.fork((self._arguments.seed or 0, index))
        return twin

    @property
    def cached_tokens(self) -> int:
        """Number of tokens that enter the cache at most: all but the last new token."""
        return len(self.prompt_ids) + self.max_new_tokens - 1

    @property
    def may_slide(self) -> bool:
        """Return whether the completion may continue past the model's context."""
        return self._arguments.overflow.policy == "slide"

    @property
    def sampling(self) -> SamplingParams:
        """Sampling parameters of the completion."""
        return self._arguments.sampling

    @property
    def max_new_tokens(self) -> int:
        """Limit of new tokens."""
        assert self._arguments.max_new_tokens is not None
        return self._arguments.max_new_tokens

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probability of each token so far; empty unless requested."""
        return tuple(self._logprobs)

    def accept(self, logits: Logits) -> int:
        """Draw the next token from ``logits`` [vocab_size], append it, and return its id."""
        token_id = self._sampler(logits, self.history, self._banned())
        self.append(token_id, logits)
        return token_id

    def process(self, logits: Logits) -> None:
        """Apply the logits processors and bans to ``logits`` [vocab_size] in place."""
        self._sampler.process(logits, self.history, self._banned())

    def append(self, token_id: int, logits: Logits) -> None:
        """Append ``token_id``; ``logits`` [vocab_size] are the model's logits for its position."""
        if self._arguments.logprobs is not None:
            self._record(token_id, logits, log_masses(logits[None])[0])  # [1, vocab_size] -> [1]
        self._take(token_id, perf_counter())

    def chunk(self) -> Chunk:
        """Return the next token as a chunk; the joined texts equal the completion's text."""
        index = self._shown
        self._shown += 1
        return Chunk(
            text=self._transcript(each=True).pieces[index],
            token_id=self.token_ids[index],
            index=self._row,
            logprob=self._logprobs[index] if self._logprobs else None,
            top_logprobs=self._top_logprobs[index] if self._top_logprobs else (),
            finish_reason=self.finish_reason if index + 1 == len(self.token_ids) else None,
        )

    def cancel(self) -> None:
        """End the completion with the tokens so far."""
        if self.finish_reason is None:
            self.finish_reason = "cancelled"

    def end_early(self) -> bool:
        """End where the caller cancelled or the time is over; return whether it has ended."""
        if self.cancelled:
            self.cancel()
        elif self.finish_reason is None and self._arguments.is_late(perf_counter()):
            self.finish_reason = "time"
        return self.finish_reason is not None

    def slide(self, context: int) -> list[int]:
        """Return the tokens to keep when a cache of ``context`` tokens is full.

        The last token is left out, because it enters at the next step.
        """
        self.truncated = self.has_slid = True
        return self._arguments.overflow.window(self.history, context)[:-1]

    def fork(
        self, stream_key: Sequence[int] | None = None, *, sampling: SamplingParams | None = None
    ) -> "Generation":
        """Return an independent copy at this point.

        The copy draws the same tokens as this generation would, or from the random stream
        (seed, *stream_key) if given, or with the parameters of ``sampling`` if given.
        """
        twin = self.branch()
        if sampling is not None:
            twin._arguments = replace(self._arguments, sampling=sampling)
            twin._sampler = twin._new_sampler((self._arguments.seed or 0, *(stream_key or ())))
        else:
            key = None if stream_key is None else (self._arguments.seed or 0, *stream_key)
            twin._sampler = self._sampler.fork(key)
        return twin

    def rehearsal(self) -> "Generation":
        """Return a copy that draws the same tokens and records no log-probabilities."""
        twin = self.fork()
        twin._arguments = replace(twin._arguments, logprobs=None)
        twin._logprobs, twin._top_logprobs = [], []
        return twin

    def branch(self) -> "Generation":
        """Return a copy that shares the random stream, for callers that choose the tokens."""
        twin = copy(self)
        twin.token_ids, twin.history = list(self.token_ids), list(self.history)
        twin._logprobs, twin._top_logprobs = list(self._logprobs), list(self._top_logprobs)
        twin._spelled = copy(self._spelled)
        return twin

    def adopt(self, other: "Generation", score: float) -> None:
        """Take over the state of ``other``, a branch of the same prompt, and set ``score``."""
        index, row = self._index, self._row
        vars(self).update(vars(other.branch()), _index=index, _row=row, _score=score)

    def completion(self) -> Completion:
        """Return the completion; the generation must have ended."""
        assert self.finish_reason is not None
        arguments = self._arguments
        return Completion(
            prompt=self.prompt,
            text="".join(self._transcript().pieces),
            token_ids=tuple(self.token_ids),
            finish_reason=self.finish_reason,
            timing=Timing(
                load_s=arguments.load_s,
                prompt_tokens=len(self.prompt_ids),
                completion_tokens=len(self.token_ids),
                ttft_s=self._first_token - arguments.started,
                decode_s=self._last_token - self._first_token,
                reused_tokens=self.reused_tokens,
                guessed_tokens=self.guessed_tokens,
                accepted_tokens=self.accepted_tokens,
            ),
            seed=arguments.seed,
            index=self._index,
            truncated=self.truncated,
            score=self._score,
            logprobs=tuple(self._logprobs),
            top_logprobs=tuple(self._top_logprobs),
        )

    def _new_sampler(self, stream_key: Sequence[int]) -> Sampler:
        arguments = self._arguments
        scope = Scope(
            prompt_length=len(self.prompt_ids),
            eos_ids=arguments.eos_ids,
            max_new_tokens=arguments.max_new_tokens,
            unspelled=arguments.unspelled,
        )
        return Sampler(arguments.sampling, arguments.processors, stream_key, scope)

    def _banned(self) -> Sequence[int]:
        stop = self._arguments.stop
        if len(self.token_ids) < stop.min_new_tokens:
            return [*self._arguments.eos_ids, *stop.token_ids]
        return tuple(self._arguments.eos_ids) if stop.ignore_eos else ()

    def _take(self, token_id: int, now: float) -> None:
        """Append a token, and set ``finish_reason`` where it is the last one."""
        arguments, token_ids = self._arguments, self.token_ids
        token_ids.append(token_id)
        self.history.append(token_id)
        self._last_token = now
        if len(token_ids) == 1:
            self._first_token = now
        if token_id in self.end_ids:
            self.finish_reason = "eos" if token_id in arguments.eos_ids else "stop"
        elif arguments.stop.strings and self._transcript().has_stopped:
            self.finish_reason = "stop"
        elif len(token_ids) == arguments.max_new_tokens:
            self.finish_reason = "length"
        elif arguments.is_late(now):
            self.finish_reason = "time"

    def _transcript(self, *, each: bool = False) -> Detokenizer:
        """Decode the new tokens, in one piece or one piece for ``each``; return all the text."""
        spelled = self._spelled
        if spelled is None:
            arguments = self._arguments
            spelled = self._spelled = Detokenizer(
                arguments.tokenizer,
                self.prompt_ids,
                arguments.stop.strings,
                arguments.silent_ids,
                special=not arguments.skip_special_tokens,
            )
        fresh = self.token_ids[spelled.tokens :]
        size = 1 if each else max(1, len(fresh))
        for first in range(0, len(fresh), size):
            spelled.push(fresh[first : first + size])
        if self.finish_reason is not None:
            spelled.finish()
        return spelled

    def _record(self, token_id: int, logits: Logits, log_mass: float) -> None:
        """Store the log-probabilities that were requested."""
        self._logprobs.append(float(logits[token_id]) - float(log_mass))
        tokenizer, count = self._arguments.tokenizer, self._arguments.logprobs
        if count:
            self._top_logprobs.append(
                tuple(
                    TokenLogprob(
                        token_id=other,
                        text=tokenizer.piece(other) if tokenizer else "",
                        logprob=float(logits[other]) - float(log_mass),
                    )
                    for other in top_k_indices(logits[None], count)[0].tolist()
                )
            )


def accept_all(generations: Sequence[Generation], logits: Logits) -> Iterator[Generation]:
    """Draw the next token of each generation from its row of ``logits`` [rows, vocab_size].

    All tokens are drawn together. Each generation is yielded when it takes its token; one that the
    caller ended meanwhile takes none.
    """
    if len(generations) == 1:
        (alone,) = generations
        if alone.finish_reason is None:
            alone.accept(logits[0])
            yield alone
        return
    token_ids = choose(
        [generation._sampler for generation in generations],
        logits,
        [generation.history for generation in generations],
        [generation._banned() for generation in generations],
    )
    recorded = any(generation._arguments.logprobs is not None for generation in generations)
    masses = log_masses(logits) if recorded else None  # [rows]
    now = perf_counter()
    for row, (generation, token_id) in enumerate(zip(generations, token_ids, strict=True)):
        if generation.finish_reason is None:
            if masses is not None and generation._arguments.logprobs is not None:
                generation._record(token_id, logits[row], masses[row])
            generation._take(token_id, now)
            yield generation
