"""Workspace: the model, the budget and the cache of one search."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.generation import Generation, accept_all
from gpt2edge.runtime.prefix_cache import PrefixCache
from gpt2edge.runtime.requests import Prompt
from gpt2edge.runtime.sampling import SamplingParams
from gpt2edge.runtime.search.types import Budget, Cost, Reading, StopReason
from gpt2edge.runtime.search.verifier import reading_of
from gpt2edge.runtime.stopping import StopParams
from gpt2edge.runtime.types import Completion

Until: TypeAlias = Callable[[Generation], bool]
"""Whether a generation pauses where it is now."""

_PROMPTS: Final = 256


class OutOfBudget(Exception):  # noqa: N818 - it is a signal, and never leaves a search
    """The budget is spent; ``reason`` says what of it."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(f"the budget is spent: {reason}")
        self.reason = reason


class Workspace:
    """Grows generations on one model, within one budget, and forgets no prefix.

    As a context manager it ends the block quietly where the budget is spent or Ctrl-C is pressed;
    ``stopped`` then says so. A generation draws from its random stream alone; in float32 and
    ``int8-block`` its tokens depend neither on its company nor on the number of cache rows.
    """

    def __init__(self, engine: Engine, budget: Budget | None = None) -> None:
        if engine.tokenizer is None:
            raise ValueError("a search reads texts, and this model has no tokenizer")
        self.engine = engine
        self.tokenizer = engine.tokenizer
        self.budget = budget or Budget()
        self.stopped: StopReason = "done"
        self._started = self.budget.clock()
        self._prefilled = self._generated = self._calls = self._verified = 0
        self._read = Reading()
        self._prefixes = PrefixCache(engine.options.cache_bytes)
        self._prompt_logits: dict[tuple[int, ...], NDArray[np.float32]] = {}
        self._decoder: Decoder | None = None

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, KeyboardInterrupt):
            self.stopped = "interrupted"
        elif isinstance(error, OutOfBudget):
            self.stopped = error.reason
        else:
            return False
        return True

    @property
    def cost(self) -> Cost:
        """What was spent so far."""
        return Cost(
            prefilled_tokens=self._prefilled,
            generated_tokens=self._generated,
            forward_calls=self._calls,
            verifier_calls=self._verified,
            verifier_tokens=self._read.tokens,
            verifier_forward_calls=self._read.forward_calls,
            wall_s=self.budget.clock() - self._started,
        )

    def count_verified(self, texts: int) -> None:
        """Count ``texts`` that a verifier or an evaluator has scored."""
        self._verified += texts

    @contextmanager
    def verifying(self, verifier: object, texts: int) -> Iterator[None]:
        """Count ``texts`` scored in the block, and what a verifier that is a model reads in it."""
        before = reading_of(verifier)
        try:
            yield
            self.count_verified(texts)
        finally:
            self._read += reading_of(verifier) - before

    def check_time(self) -> None:
        """Raise OutOfBudget where the time is over; for searches that call no model for long."""
        self._check(tokens=0, calls=0)

    def sample(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
    ) -> list[list[Completion]]:
        """``n`` whole completions of each prompt, for evaluators and proposers."""
        groups = self.engine.generations(
            prompts, n=n, max_new_tokens=max_new_tokens, sampling=sampling, stop=stop
        )
        for _ in self.grow([generation for group in groups for generation in group]):
            pass
        return [[generation.completion() for generation in group] for group in groups]

    def grow(
        self, generations: Sequence[Generation], until: Until | None = None, *, keep: bool = True
    ) -> Iterator[Generation]:
        """Let generations grow together; each comes back where it pauses or ends.

        They may be of any prompts and at any length. With ``keep`` a paused one's cache is kept,
        so that it and its forks go on for nothing but their new tokens. One call at a time: the
        rows are shared. Raises OutOfBudget.
        """
        waiting = deque(item for item in generations if item.finish_reason is None)
        decoder = self._decoder_for(waiting)
        active: list[Generation] = []
        while waiting or active:
            while waiting and len(active) < decoder.cache.rows:
                generation = waiting.popleft()
                active.append(generation)
                if self._enter(decoder, len(active) - 1, generation) and _rests(generation, until):
                    yield self._take(decoder, active, len(active) - 1, keep=keep)
            if active:
                logits = self.decode(decoder, [item.token_ids[-1] for item in active])
                for _ in accept_all(active, logits):
                    pass
                resting = [row for row, item in enumerate(active) if _rests(item, until)]
                for row in reversed(resting):
                    yield self._take(decoder, active, row, keep=keep)

    def decoder(self, rows: int, longest: int) -> Decoder:
        """The decoder at hand where it is large enough, else a larger one, its rows empty."""
        decoder = self._decoder
        if decoder is not None:
            longest = max(longest, decoder.cache.max_length)
        if decoder is None or decoder.cache.max_length < longest or decoder.cache.rows < rows:
            self._decoder = decoder = self.engine.decoder(rows=rows, max_length=longest)
        return decoder

    def enter(self, decoder: Decoder, row: int, prompt_ids: Sequence[int]) -> NDArray[np.float32]:
        """Bring a prompt into ``row``, from memory as far as it is known: logits after it.

        Raises OutOfBudget.
        """
        key = tuple(prompt_ids)
        logits = self._prompt_logits.get(key)
        known = key if logits is not None else key[:-1]
        start = self._prefixes.restore(decoder.cache, row, known)
        if start < len(key):
            logits = self._prefill(decoder, row, key[start:])
            self._prefixes.store(decoder.cache, row, key)
        assert logits is not None
        self._remember(key, logits)
        return logits

    def decode(self, decoder: Decoder, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """A token more in each of the first rows: logits [rows, vocab_size]. Raises OutOfBudget."""
        self._check(tokens=len(token_ids), calls=1)
        logits = decoder.decode(token_ids)
        self._calls += 1
        self._generated += len(token_ids)
        return logits

    def _enter(self, decoder: Decoder, row: int, generation: Generation) -> bool:
        """Bring a generation's tokens into ``row``, from memory as far as they are known.

        A fresh one draws its first token, which is what the answer says. In all others the last
        token has not entered the cache: the next decode brings it.
        """
        if not generation.token_ids:
            logits = self.enter(decoder, row, generation.prompt_ids)
            self._check(tokens=1, calls=0)
            generation.accept(logits)
            self._generated += 1
            return True
        token_ids = [*generation.prompt_ids, *generation.token_ids[:-1]]
        start = self._prefixes.restore(decoder.cache, row, token_ids)
        if start < len(token_ids):
            self._prefill(decoder, row, token_ids[start:])
            self._prefixes.store(decoder.cache, row, token_ids)
        return False

    def _prefill(self, decoder: Decoder, row: int, token_ids: Sequence[int]) -> NDArray[np.float32]:
        calls = -(-len(token_ids) // self.engine.options.prefill_chunk)
        self._check(tokens=0, calls=calls)
        logits = decoder.prefill(row, token_ids)
        self._calls += calls
        self._prefilled += len(token_ids)
        return logits

    def _remember(self, prompt_ids: tuple[int, ...], logits: NDArray[np.float32]) -> None:
        """Keep the logits after a prompt for its next generation."""
        self._prompt_logits[prompt_ids] = logits
        if len(self._prompt_logits) > _PROMPTS:
            del self._prompt_logits[next(iter(self._prompt_logits))]

    def _take(
        self, decoder: Decoder, active: list[Generation], row: int, *, keep: bool
    ) -> Generation:
        """Free ``row``, into which the last row moves."""
        generation = active[row]
        if keep and generation.finish_reason is None:
            token_ids = [*generation.prompt_ids, *generation.token_ids[:-1]]
            self._prefixes.store(decoder.cache, row, token_ids)
        last = active.pop()
        if row < len(active):
            active[row] = last
            decoder.cache.fork(len(active), [row])
        return generation

    def _decoder_for(self, generations: Sequence[Generation]) -> Decoder:
        """A decoder for as many generations as the cache budget allows."""
        longest = max((generation.cached_tokens for generation in generations), default=1)
        rows = max(1, min(len(generations), self.engine.affordable_rows(longest)))
        return self.decoder(rows, longest)

    def _check(self, *, tokens: int, calls: int) -> None:
        """Raise OutOfBudget where so many more tokens or calls would exceed it."""
        budget = self.budget
        if budget.tokens is not None and self._generated + tokens > budget.tokens:
            raise OutOfBudget("tokens")
        if budget.forward_calls is not None and self._calls + calls > budget.forward_calls:
            raise OutOfBudget("forward_calls")
        if budget.seconds is not None and budget.clock() - self._started >= budget.seconds:
            raise OutOfBudget("seconds")


def _rests(generation: Generation, until: Until | None) -> bool:
    return generation.finish_reason is not None or (until is not None and until(generation))
