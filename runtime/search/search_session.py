"""SearchSession: the model, the budget and the cache of one search."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_optional, check_type
from gpt2edge.errors import UnsupportedError
from gpt2edge.runtime.cache.prefix_tree import PrefixTree
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.forward import Entered
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.decoding.scheduler import Scheduler
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.results import Completion
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.budget import Budget, Cost, Reading, StopReason
from gpt2edge.runtime.search.verifiers.verifier import reading_of
from gpt2edge.runtime.text.stopping import StopParams

Until: TypeAlias = Callable[[Generation], bool]
"""Tells whether a generation pauses after its newest token."""

_PROMPTS: Final = 256


class OutOfBudget(Exception):  # noqa: N818 - a signal that never leaves a search
    """The budget is spent; ``reason`` names the limit that was reached."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(f"the budget is spent: {reason}")
        self.reason = reason


class SearchSession:
    """Runs generations on one model within one budget, and caches every prefix.

    As a context manager it suppresses the end of the budget and Ctrl-C in its block; ``stopped``
    then holds the reason. A generation draws from its own random stream; in float32, in
    ``int8-block`` and where ``Decoder.batch_invariant`` its tokens depend neither on the other rows
    nor on the number of cache rows.
    """

    def __init__(self, engine: Engine, budget: Budget | None = None) -> None:
        check_type("engine", engine, Engine, "an Engine, such as load returns")
        check_optional("budget", budget, Budget, "a Budget")
        if engine.tokenizer is None:
            raise UnsupportedError(
                "a search reads texts, and this model has no tokenizer: use a model with one"
            )
        self.engine = engine
        self.tokenizer = engine.tokenizer
        self.budget = budget or Budget()
        self.stopped: StopReason = "done"
        self._started = self.budget.clock()
        self._prefilled = self._generated = self._calls = self._verified = 0
        self._read = Reading()
        self._prefixes = PrefixTree(engine.options.cache_bytes)
        self._prompt_logits: dict[tuple[int, ...], NDArray[np.float32]] = {}
        self._decoder: Decoder | None = None

    def __repr__(self) -> str:
        return f"SearchSession({self.engine!r}, {self.budget!r})"

    def __enter__(self) -> "SearchSession":
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
        """Return the cost so far."""
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
        """Count ``texts`` texts that a verifier or an evaluator has scored."""
        self._verified += texts

    @contextmanager
    def verifying(self, verifier: object, texts: int) -> Iterator[None]:
        """Count ``texts`` texts scored in the block, and the tokens that a model verifier reads."""
        before = reading_of(verifier)
        try:
            yield
            self.count_verified(texts)
        finally:
            self._read += reading_of(verifier) - before

    def check_time(self) -> None:
        """Raise OutOfBudget when the time is up; for searches that rarely call the model."""
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
        """Return ``n`` complete completions of each prompt, for evaluators and proposers."""
        requests = self.engine.requests(
            prompts,
            n=n,
            max_new_tokens=max_new_tokens,
            sampling=sampling or replace(self.engine.defaults.sampling, num_beams=1),
            stop=stop,
        )
        for _ in self.grow([item for request in requests for item in request.generations]):
            pass
        return [request.completions for request in requests]

    def grow(
        self, generations: Sequence[Generation], until: Until | None = None, *, keep: bool = True
    ) -> Iterator[Generation]:
        """Decode generations together; yield each one when it pauses or ends.

        Prompts and lengths may differ. With ``keep``, the cache of a paused generation is kept, so
        that it and its forks continue at the cost of their new tokens only. One call at a time: the
        rows are shared. Raises OutOfBudget.
        """
        waiting = [item for item in generations if item.finish_reason is None]
        scheduler = self.scheduler(self._decoder_for(waiting))
        for generation in waiting:
            scheduler.add_generations([generation])
        while scheduler.is_busy:
            resting = []
            for generation in scheduler.step():
                if _rests(generation, until):
                    if keep and generation.finish_reason is None:
                        token_ids = [*generation.prompt_ids, *generation.token_ids[:-1]]
                        row = scheduler.row_of(generation)
                        self._prefixes.store(scheduler.decoder.cache, row, token_ids)
                    scheduler.remove(generation)
                    resting.append(generation)
            yield from resting  # after all rows took their tokens: the caller may end other rows

    def scheduler(self, decoder: Decoder) -> Scheduler:
        """Return a scheduler over ``decoder`` whose calls are counted, within the budget."""
        return Scheduler(decoder, forward=_Metered(self, decoder))

    def decoder(self, rows: int, longest: int) -> Decoder:
        """Return the current decoder if it is large enough, else a larger one with empty rows."""
        decoder = self._decoder
        if decoder is not None:
            longest = max(longest, decoder.cache.max_length)
        if decoder is None or decoder.cache.max_length < longest or decoder.cache.rows < rows:
            self._decoder = decoder = self.engine.decoder(rows=rows, max_length=longest)
        return decoder

    def enter(
        self, decoder: Decoder, row: int, prompt_ids: Sequence[int], draws: int = 0
    ) -> tuple[NDArray[np.float32], int]:
        """Enter a prompt into ``row``, its known prefix from the cache.

        Returns logits [vocab_size] after it, from which ``draws`` tokens will be drawn, and the
        count of tokens taken from the cache. Raises OutOfBudget.
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
        self._check(tokens=draws, calls=0)
        self._generated += draws
        return logits, start

    def resume(
        self, decoder: Decoder, row: int, token_ids: Sequence[int]
    ) -> tuple[NDArray[np.float32], int]:
        """Enter the tokens of a paused generation into ``row``, a known prefix from the cache.

        Returns empty logits [0], because its last token enters at the next step, and the count of
        tokens taken from the cache. Raises OutOfBudget.
        """
        start = self._prefixes.restore(decoder.cache, row, token_ids)
        if start < len(token_ids):
            self._prefill(decoder, row, token_ids[start:])
            self._prefixes.store(decoder.cache, row, token_ids)
        return np.empty(0, np.float32), start

    def decode(self, decoder: Decoder, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Add one token to each of the first rows; return logits [rows, vocab_size].

        Raises OutOfBudget.
        """
        self._check(tokens=len(token_ids), calls=1)
        logits = decoder.decode(token_ids)
        self._calls += 1
        self._generated += len(token_ids)
        return logits

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

    def _decoder_for(self, generations: Sequence[Generation]) -> Decoder:
        """Return a decoder for as many of the generations as the cache budget allows."""
        longest = max((generation.cached_tokens for generation in generations), default=1)
        rows = max(1, min(len(generations), self.engine.affordable_rows(longest)))
        return self.decoder(rows, longest)

    def _check(self, *, tokens: int, calls: int) -> None:
        """Raise OutOfBudget if ``tokens`` more tokens or ``calls`` more calls would exceed it."""
        budget = self.budget
        if budget.tokens is not None and self._generated + tokens > budget.tokens:
            raise OutOfBudget("tokens")
        if budget.forward_calls is not None and self._calls + calls > budget.forward_calls:
            raise OutOfBudget("forward_calls")
        if budget.seconds is not None and budget.clock() - self._started >= budget.seconds:
            raise OutOfBudget("seconds")


class _Metered:
    """The forward calls of a scheduler, counted in a search session."""

    def __init__(self, work: SearchSession, decoder: Decoder) -> None:
        self._work = work
        self._decoder = decoder

    def enter(self, row: int, token_ids: Sequence[int], draws: int) -> Entered:
        """Enter a prompt, at once."""
        yield from ()
        return self._work.enter(self._decoder, row, token_ids, draws)

    def resume(self, row: int, token_ids: Sequence[int]) -> Entered:
        """Enter the tokens of a paused generation, at once."""
        yield from ()
        return self._work.resume(self._decoder, row, token_ids)

    def decode(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Add a token to each row."""
        return self._work.decode(self._decoder, token_ids)


def _rests(generation: Generation, until: Until | None) -> bool:
    return generation.finish_reason is not None or (until is not None and until(generation))
