"""Scheduler: continuous batching. Requests join and leave a batch between its steps.

Every row of the cache holds one sequence. A step lets waiting requests join while there are free
rows, then decodes a token for all rows in one call. The rows in use are always the first ones: the
last one moves where a row is freed. (Yu et al. 2022, "Orca": iteration-level scheduling.)
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpt2edge._checks import check_int
from gpt2edge.errors import ContextLengthError
from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.decoding.beam_search import BeamSearch
from gpt2edge.runtime.decoding.branching import Branch, Branching
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.forward import (
    CachedForward,
    Forward,
    SequenceSpeculation,
    SpeculationSource,
)
from gpt2edge.runtime.decoding.generation import Generation, accept_all
from gpt2edge.runtime.decoding.request import Request
from gpt2edge.runtime.decoding.samples import Samples


class _Entry(NamedTuple):
    """Prompts being prefilled from row ``first`` on; ``steps`` is None where a row is copied."""

    item: "Samples | Branching[Any]"
    first: int
    steps: Generator[None, None, list[tuple[Logits, int]]] | None


class Scheduler:
    """Decodes sequences on the rows of one cache: ``add`` at any time, ``step``, ``remove``.

    In float32, in ``int8-block`` and where ``Decoder.batch_invariant`` the tokens of a sequence do
    not depend on the other sequences or the number of rows. Not for two threads at once.

    ``chunks_per_step`` is the number of prefill chunks between two decode steps; it bounds how long
    a long prompt delays the other sequences. None prefills all prompts that have a row first, which
    gives the highest throughput. A ``speculator`` may decode several tokens a step for a sequence
    that runs alone.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        forward: Forward | None = None,
        speculator: SpeculationSource | None = None,
        chunks_per_step: int | None = None,
    ) -> None:
        if chunks_per_step is not None:
            check_int("chunks_per_step", chunks_per_step, 1, 2**31)
        self.decoder = decoder
        self._forward = forward or CachedForward(decoder)
        self._speculator = speculator
        self._speculation: SequenceSpeculation | None = None
        self._chunks_per_step = chunks_per_step
        self._waiting: deque[Samples | Branching[Any]] = deque()
        self._entry: _Entry | None = None
        self._rows: list[Any] = []  # the sequence of each row; None is free until rows move up
        self._owners: list[Branching[Any] | None] = []  # the search of each row, or None
        self._searches: list[Branching[Any]] = []
        self._removed: set[Generation] = set()
        self._slides = False
        """Whether a sequence that was added may fill its row and slide."""

    def __repr__(self) -> str:
        return (
            f"Scheduler(rows={self.decoder.cache.rows}, in_use={len(self._rows)}, "
            f"waiting={len(self._waiting)})"
        )

    @property
    def is_busy(self) -> bool:
        """Return whether any sequence is decoding, being prefilled, or waiting."""
        return bool(self._rows or self._entry or self._waiting)

    @property
    def running(self) -> int:
        """Number of rows in use."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Number of queued prompts whose prefill has not begun."""
        return len(self._waiting)

    def add(self, request: Request) -> None:
        """Queue a request; with beams, all its completions come from one beam search.

        Raises ContextLengthError where it does not fit a row of the cache, ValueError where its
        beams need more rows than the cache has.
        """
        first = request.generations[0]
        if first.sampling.num_beams > 1:
            self._check_length(first)
            self.add_search(BeamSearch(request.generations))
        else:
            self.add_generations(request.generations)

    def add_generations(self, generations: Sequence[Generation]) -> None:
        """Queue generations of one prompt without tokens, or one generation that was removed.

        Raises ValueError where they have beams: queue these as one request.
        """
        self._check_length(generations[0])
        if generations[0].sampling.num_beams > 1:
            raise ValueError(
                f"num_beams is {generations[0].sampling.num_beams}; it must be 1 for single "
                "generations: add a request instead"
            )
        self._waiting.append(Samples(generations))

    def _check_length(self, generation: Generation) -> None:
        needed, longest = generation.cached_tokens, self.decoder.cache.max_length
        self._slides |= needed > longest
        if needed > longest and not generation.may_slide:
            raise ContextLengthError(
                f"the request needs {needed} tokens of cache and a row has {longest}: ask for "
                "fewer new tokens, or for longer rows"
            )

    def add_search(self, search: Branching[Any]) -> None:
        """Queue a search. Raises ValueError where it needs more rows than the cache has."""
        rows = self.decoder.cache.rows
        if search.width > rows:
            raise ValueError(
                f"the search needs {search.width} rows and the cache has {rows}: use fewer beams, "
                "or more rows"
            )
        self._waiting.append(search)

    def remove(self, generation: Generation) -> None:
        """Remove a generation as it is; its row is free from the next step on."""
        for item in self._waiting:
            if isinstance(item, Samples) and generation in item.waiting:
                item.waiting.remove(generation)
                return
        self._removed.add(generation)

    def row_of(self, generation: Generation) -> int:
        """Return the row of a running generation. Raises ValueError for any other."""
        return self._rows.index(generation)

    def run(self) -> Iterator[Generation]:
        """Step until all sequences have ended; yield each generation at every token it takes."""
        while self._rows or self._entry is not None or self._waiting:
            yield from self.step()

    def step(self) -> Iterator[Generation]:
        """Prefill waiting prompts, then decode a token for every row.

        Yields each generation at every token that it takes; those of a beam search at its end.
        """
        self._free_rows()
        if self._waiting or self._entry is not None:
            yield from self._join()
        if not self._rows:
            return
        if self._slides:
            self._slide()
        if self._searches:
            yield from self._step_searches()
        elif self._speculator is not None and len(self._rows) == 1 and self._entry is None:
            yield from self._speculate(self._speculator)
        else:
            logits = self._forward.decode([member.token_ids[-1] for member in self._rows])
            yield from accept_all(self._rows, logits)
        self._free_rows()

    def _join(self) -> Iterator[Generation]:
        """Prefill waiting prompts, ``chunks_per_step`` at most, and draw their first tokens."""
        left = self._chunks_per_step
        while self._entry is not None or self._begin_entry():
            entry, self._entry = self._entry, None
            assert entry is not None
            if isinstance(entry.item, Samples) and entry.item.is_over:
                continue
            found: list[tuple[Logits, int]] = []
            if entry.steps is not None:
                if left == 0:
                    self._entry = entry
                    return
                left = None if left is None else left - 1
                try:
                    next(entry.steps)
                    self._entry = entry
                    continue
                except StopIteration as stopped:
                    found = stopped.value
            if isinstance(entry.item, Samples):
                yield from self._start_samples(entry.item, entry.first, found)
            else:
                yield from self._start_search(entry.item, entry.first, found)
            self._free_rows()

    def _begin_entry(self) -> bool:
        """Begin to prefill the first in the queue, if it has rows; return whether it began."""
        while self._waiting:
            item, first = self._waiting[0], self._reserved
            free = self.decoder.cache.rows - first
            if isinstance(item, Samples):
                if item.is_over:
                    self._waiting.popleft()
                    continue
                if not free:
                    return False
                if len(item.waiting) <= free:
                    self._waiting.popleft()
                steps = (
                    None if self._sibling(item) is not None else self._enter_samples(item, first)
                )
            else:
                if free < item.width:
                    return False
                self._waiting.popleft()
                steps = self._enter_prompts(item.prompts, first)
            self._entry = _Entry(item, first, steps)
            return True
        return False

    @property
    def _reserved(self) -> int:
        """Number of rows in use, including rows that searches may still take."""
        own = sum(owner is None for owner in self._owners)
        return own + sum(search.width for search in self._searches)

    def _sibling(self, samples: Samples) -> int | None:
        """Return the last row that still begins with the prompt of ``samples``, or None."""
        if samples.logits is None:
            return None
        rows = reversed(range(len(self._rows)))
        return next((row for row in rows if samples.has_prompt(self._rows[row])), None)

    def _enter_samples(
        self, samples: Samples, row: int
    ) -> Generator[None, None, list[tuple[Logits, int]]]:
        if samples.is_paused:
            found = yield from self._forward.resume(row, samples.held_ids)
        else:
            draws = min(len(samples.waiting), self.decoder.cache.rows - row)
            found = yield from self._forward.enter(row, samples.prompt_ids, draws)
        return [found]

    def _enter_prompts(
        self, prompts: Sequence[Sequence[int]], first: int
    ) -> Generator[None, None, list[tuple[Logits, int]]]:
        found = []
        for index, prompt_ids in enumerate(prompts):
            if index:
                yield
            found.append((yield from self._forward.enter(first + index, prompt_ids, 0)))
        return found

    def _start_samples(
        self, samples: Samples, row: int, found: Sequence[tuple[Logits, int]]
    ) -> Iterator[Generation]:
        """Give samples the rows after those in use, and draw their first tokens."""
        first, cache = len(self._rows), self.decoder.cache
        begun = samples.take(cache.rows - self._reserved)
        if not begun:
            return
        forked, source = begun, self._sibling(samples)
        self._rows += begun
        self._owners += [None] * len(begun)
        if found:
            ((samples.logits, begun[0].reused_tokens),) = found
            self._move(row, first)  # rows before it may have been freed during the prefill
            forked, source = begun[1:], first
        if begun[0].token_ids:
            return  # a paused generation: its last token enters at the next step
        assert source is not None
        assert samples.logits is not None
        for generation in forked:
            generation.reused_tokens = len(samples.prompt_ids)
        rows = range(len(self._rows) - len(forked), len(self._rows))
        cache.fork(source, rows, stop=len(samples.prompt_ids))
        # [vocab_size] -> [begun, vocab_size], without a copy
        logits = np.broadcast_to(samples.logits, (len(begun), samples.logits.size))
        yield from accept_all(begun, logits)

    def _start_search(
        self, search: Branching[Any], row: int, found: Sequence[tuple[Logits, int]]
    ) -> Iterator[Generation]:
        """Give a search the rows after those in use, and let it take its first step."""
        rows = range(len(self._rows), len(self._rows) + len(found))
        for index, target in enumerate(rows):
            self._move(row + index, target)
        self._rows += [None] * len(found)
        self._owners += [search] * len(found)
        self._searches.append(search)
        logits, reused = zip(*found, strict=True)  # prompts times [vocab_size], stacked
        yield from self._branch(search, rows, search.begin(np.stack(logits), reused))

    def _step_searches(self) -> Iterator[Generation]:
        """Decode a token for every row, and let each search choose the sequences that continue."""
        # [rows, vocab_size]
        logits = self._forward.decode([member.token_ids[-1] for member in self._rows])
        plain = [row for row, owner in enumerate(self._owners) if owner is None]
        searched = [
            [row for row, owner in enumerate(self._owners) if owner is search]
            for search in self._searches
        ]
        if plain:
            yield from accept_all([self._rows[row] for row in plain], logits[plain])
        for search, rows in zip(tuple(self._searches), searched, strict=True):
            members = [self._rows[row] for row in rows]
            # [members, vocab_size]; a copy only where other sequences share the batch
            search_logits = logits if len(rows) == len(logits) else logits[rows]
            yield from self._branch(search, rows, search.advance(members, search_logits))

    def _branch(
        self, search: Branching[Any], rows: Sequence[int], branches: Sequence[Branch]
    ) -> Iterator[Generation]:
        """Give each continuing sequence of a search its own row, and free the other rows.

        The first sequence that continues a member keeps its row. The others take rows of members
        that end, and copy only the tokens after the common prefix of the two.
        """
        if search.is_done:
            branches = ()
        placed: dict[int, Any] = {}
        moving = []
        for member, parent in branches:
            row = rows[parent]
            if row in placed:
                moving.append((member, row))
            else:
                placed[row] = member
        free = deque(row for row in rows if row not in placed)
        for member, source in moving:
            target = self._free_row(search, free)
            before = self._rows[target]
            start = 0 if before is None else search.common(member, before)
            self.decoder.cache.fork(source, [target], start=start)
            placed[target] = member
        for row in (*rows, *placed):
            self._rows[row] = placed.get(row)
        if search.is_done:
            self._searches.remove(search)
            yield from search.finish()

    def _free_row(self, search: Branching[Any], free: deque[int]) -> int:
        """Return a row of ``free``, or a new one after those in use."""
        if free:
            return free.popleft()
        self._rows.append(None)
        self._owners.append(search)
        return len(self._rows) - 1

    def _speculate(self, speculator: SpeculationSource) -> Iterator[Generation]:
        """Take a speculative step of a sequence that runs alone."""
        speculation, (generation,) = self._speculation, self._rows
        if speculation is None or speculation.generation is not generation:
            speculation = self._speculation = speculator.begin(generation)
        yield from speculation.step(self.decoder)

    def _slide(self) -> None:
        """Prefill full rows again with the tokens to keep; only rows that may slide get full."""
        cache = self.decoder.cache
        context = cache.max_length
        for row, length in enumerate(cache.lengths[: len(self._rows)].tolist()):
            if length == context:
                cache.truncate(row, 0)
                self.decoder.prefill(row, self._rows[row].slide(context))

    def _free_rows(self) -> None:
        """Free the rows of ended sequences, and move the last rows into their places."""
        rows, owners, removed = self._rows, self._owners, self._removed
        for row in reversed(range(len(rows))):
            member = rows[row]
            if member is not None:
                if owners[row] is not None:
                    continue
                if member.cancelled:
                    member.cancel()
                if member.finish_reason is None and not (removed and member in removed):
                    continue
            last, owner = rows.pop(), owners.pop()
            if row < len(rows):
                rows[row], owners[row] = last, owner
                self._move(len(rows), row)
            else:
                self.decoder.cache.truncate(row, 0)
        if removed:
            removed.clear()

    def _move(self, row: int, target: int) -> None:
        """Move a row of the cache to ``target``, and leave nothing behind."""
        if row != target:
            self.decoder.cache.fork(row, [target])
            self.decoder.cache.truncate(row, 0)
