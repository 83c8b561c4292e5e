"""Generation of many rows by continuous batching: a row that ends makes room for the next one."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, ClassVar, Final

from gpt2edge.batches.rows import Row
from gpt2edge.batches.tasks import ROW_ERRORS, Columns, Result
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.decoding.request import Request, cache_needs
from gpt2edge.runtime.decoding.scheduler import Scheduler
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.results import Completion

OPTIONS: Final = "options"
"""The field of a row that overrides arguments for this row."""
_WINDOW: Final = 8
"""Rows of the input that are read at once, for each row of the cache."""


def row_seed(seed: int, key: Any) -> int:
    """Return the random seed of the row that ``key`` names: the same in any file, order or split.

    The key is hashed as JSON, so that 1 and "1" are two rows.
    """
    text = json.dumps([seed, key], sort_keys=True)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(slots=True)
class _Open:
    """A row that is being decoded: it is finished when ``left`` completions have ended."""

    row: Row
    request: Request
    left: int


@dataclass(slots=True, kw_only=True)
class Generating:
    """Completes the field ``prompt`` of each row, ``n`` times, on ``rows`` rows of a cache.

    ``arguments`` are those of ``Engine.generate``; the field ``options`` of a row overrides them,
    and ``n``. Row seeds come of ``seed`` and the row's key. Prompts of about the same length, and
    with the same beginning, follow each other: rows are sorted within a window.
    """

    INPUTS: ClassVar = ("prompt",)
    engine: Engine
    columns: Columns
    arguments: Mapping[str, Any]
    n: int = 1
    seed: int = 0
    rows: int = 32

    def run(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Result]]:
        """Yield every row once with its result, in the order in which they end."""
        source = iter(rows)
        scheduler: Scheduler | None = None
        opened: dict[Generation, _Open] = {}
        while True:
            if scheduler is None or scheduler.waiting < self.rows:
                yield from self._ended_in_the_queue(opened)
                window = list(islice(source, _WINDOW * self.rows))
                requests: list[Request] = []
                for row in window:
                    try:
                        request = self._request(row)
                    except ROW_ERRORS as error:
                        yield row, str(error)
                        continue
                    requests.append(request)
                    entry = _Open(row, request, len(request.generations))
                    opened |= dict.fromkeys(request.generations, entry)
                needs = cache_needs(requests, self.engine.config.n_positions)
                if scheduler is not None and not _fits(scheduler, needs):
                    for generation in scheduler.run():
                        yield from self._ended(generation, opened)
                    scheduler = None
                if scheduler is None and requests:
                    scheduler = self._scheduler(needs)
                for request in sorted(requests, key=lambda item: item.prompt_ids):
                    assert scheduler is not None
                    scheduler.add(request)
                if not window and (scheduler is None or not scheduler.is_busy):
                    yield from self._ended_in_the_queue(opened)
                    return
            if scheduler is not None:
                for generation in scheduler.step():
                    yield from self._ended(generation, opened)

    def _request(self, row: Row) -> Request:
        """Build a row's request. Raises one of ``ROW_ERRORS`` for what is wrong with the row."""
        prompt = self.columns.prompt(row, "prompt")
        options = row.fields.get(OPTIONS) or {}
        if not isinstance(options, dict):
            raise ValueError(f"{OPTIONS!r} is {options!r:.40}; it must be an object of arguments")
        arguments = {"n": self.n, "seed": row_seed(self.seed, row.key), **self.arguments, **options}
        return self.engine.request(prompt, **arguments)

    def _scheduler(self, needs: tuple[int, int, int]) -> Scheduler:
        """Return a scheduler whose rows hold the longest request, with room for longer ones."""
        _, beams, longest = needs
        length = min(1 << (longest - 1).bit_length(), self.engine.config.n_positions)
        rows = min(max(self.rows, beams), self.engine.affordable_rows(length))
        return self.engine.scheduler(rows=max(rows, beams), max_length=length, chunks_per_step=None)

    def _ended_in_the_queue(self, opened: dict[Generation, _Open]) -> Iterator[tuple[Row, Result]]:
        """Yield rows that ended before they had a row of the cache, which no step yields."""
        for generation in list(opened):
            yield from self._ended(generation, opened)

    def _ended(
        self, generation: Generation, opened: dict[Generation, _Open]
    ) -> Iterator[tuple[Row, Result]]:
        """Yield the row of a generation that has ended, where it was the row's last."""
        if generation.finish_reason is None:
            return
        entry = opened.pop(generation, None)
        if entry is None:
            return
        entry.left -= 1
        if not entry.left:
            yield entry.row, _result(entry.request.completions)


def _fits(scheduler: Scheduler, needs: tuple[int, int, int]) -> bool:
    _, beams, longest = needs
    cache = scheduler.decoder.cache
    return longest <= cache.max_length and beams <= cache.rows


def _result(completions: list[Completion]) -> dict[str, Any]:
    found = [_fields(completion) for completion in completions]
    return found[0] if len(found) == 1 else {"completions": found}


def _fields(completion: Completion) -> dict[str, Any]:
    """Return what depends on the row alone: no time."""
    fields: dict[str, Any] = {
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens": len(completion.token_ids),
    }
    if completion.truncated:
        fields["truncated"] = True
    if completion.score is not None:
        fields["score"] = completion.score
    if completion.logprobs:
        fields["token_ids"] = list(completion.token_ids)
        fields["logprobs"] = list(completion.logprobs)
    return fields
