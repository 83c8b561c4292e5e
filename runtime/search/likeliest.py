"""The likeliest next lines of a text, by a beam over tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.sampling import log_softmax
from gpt2edge.runtime.search.workspace import Workspace


class Line(NamedTuple):
    """What a model would write next, and how likely."""

    text: str
    probability: float


class _Path(NamedTuple):
    """One line so far; ``row`` holds all of its tokens but the last. ``text`` once it has ended."""

    prompt: int
    row: int
    token_ids: tuple[int, ...]
    logprob: float
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeliest:
    """The ``k`` likeliest texts up to ``end`` that follow a prompt, each with its probability.

    Unlike samples they all differ, as tokens, need no seed and cost a row each. A line below the
    probability ``least`` is dropped, and so is one that has not ended after ``max_new_tokens`` or
    that meets the end of text. All prompts advance in one batch, as far as the cache allows.
    """

    k: int = 8
    least: float = 0.0
    end: str = "\n"
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if self.k < 1 or self.max_new_tokens < 1:
            raise ValueError(
                f"k is {self.k} and max_new_tokens {self.max_new_tokens}; they must be 1 or more"
            )
        if not 0 <= self.least < 1 or not self.end:
            raise ValueError(
                f"least is {self.least} and end {self.end!r}; least must be from 0 to below 1, and "
                "end a text"
            )

    def __call__(self, prompts: Sequence[str], work: Workspace) -> list[list[Line]]:
        """The lines of each prompt, the likeliest first. Raises OutOfBudget."""
        encoded = [work.engine.encode(prompt) for prompt in prompts]
        longest = max(map(len, encoded), default=1) + self.max_new_tokens
        longest = min(longest, work.engine.config.n_positions)
        together = max(1, work.engine.affordable_rows(longest) // self.k)
        found: list[list[Line]] = []
        for start in range(0, len(encoded), together):
            group = encoded[start : start + together]
            found += _Beam(self, work, group, longest).lines()
        return found


class _Beam:
    """Some prompts whose lines grow together."""

    def __init__(
        self, knobs: Likeliest, work: Workspace, prompts: Sequence[Sequence[int]], longest: int
    ) -> None:
        self._knobs, self._work, self._prompts = knobs, work, prompts
        self._decoder = work.decoder(knobs.k * len(prompts), longest)
        self._floor = math.log(knobs.least) if knobs.least else -math.inf
        self._eos_ids = sorted(work.engine.defaults.eos_ids)

    def lines(self) -> list[list[Line]]:
        """Grow until every line has ended or is too unlikely; the likeliest of each come first."""
        logits = np.stack(
            [self._work.enter(self._decoder, row, ids) for row, ids in enumerate(self._prompts)]
        )  # [paths, vocab_size]
        growing = [_Path(at, at, (), 0.0) for at in range(len(logits))]
        ended: list[_Path] = []
        room = self._decoder.cache.max_length - max(map(len, self._prompts))
        steps = min(self._knobs.max_new_tokens, room)
        for step in range(steps):
            kept = self._likeliest(ended, growing, logits)
            ended = [path for path in kept if path.text is not None]
            growing = [path for path in kept if path.text is None]
            if not growing or step == steps - 1:
                break
            growing = self._placed(growing)
            newest = [path.token_ids[-1] for path in growing]
            logits = self._work.decode(self._decoder, newest)
        found: list[list[Line]] = [[] for _ in self._prompts]
        for path in ended:
            found[path.prompt].append(Line(path.text or "", math.exp(path.logprob)))
        return found

    def _likeliest(
        self, ended: Sequence[_Path], growing: Sequence[_Path], logits: NDArray[np.float32]
    ) -> list[_Path]:
        """The k likeliest of each prompt, ended or grown by a token; ties by age."""
        options: list[list[tuple[float, _Path, int | None]]] = [[] for _ in self._prompts]
        for path in ended:
            options[path.prompt].append((path.logprob, path, None))
        totals = log_softmax(logits) + np.array([[path.logprob] for path in growing])
        totals[:, self._eos_ids] = -math.inf
        for path, row in zip(growing, totals, strict=True):
            likely, logprobs = self._tokens(row)
            options[path.prompt] += zip(logprobs, repeat(path), likely, strict=False)
        kept = []
        for mine in options:
            mine.sort(key=itemgetter(0), reverse=True)
            kept += [
                path if token_id is None else self._grown(path, token_id, logprob)
                for logprob, path, token_id in mine[: self._knobs.k]
            ]
        return kept

    def _tokens(self, logprobs: NDArray[np.float64]) -> tuple[list[int], list[float]]:
        """The tokens that leave a path likely enough, at most k, and what it is with each."""
        likely = np.flatnonzero(logprobs >= self._floor)
        if len(likely) > self._knobs.k:
            likely = likely[np.argpartition(-logprobs[likely], self._knobs.k - 1)[: self._knobs.k]]
        return likely.tolist(), logprobs[likely].tolist()

    def _grown(self, path: _Path, token_id: int, logprob: float) -> _Path:
        token_ids = (*path.token_ids, token_id)
        return path._replace(token_ids=token_ids, logprob=logprob, text=self._ended(token_ids))

    def _ended(self, token_ids: tuple[int, ...]) -> str | None:
        """The line, where these tokens hold a whole one."""
        last = self._knobs.end[-1]
        if last.isascii() and last not in self._work.tokenizer.piece(token_ids[-1]):
            return None
        text, end, _ = self._work.tokenizer.decode(token_ids).partition(self._knobs.end)
        return text + end if end else None

    def _placed(self, paths: Sequence[_Path]) -> list[_Path]:
        """The paths in the order of their rows, into which their parents' caches have moved.

        A row that stays where it is costs no copy: the first child of a parent takes its place.
        """
        order: list[_Path | None] = [None] * len(paths)
        others = []
        for path in paths:
            if path.row < len(paths) and order[path.row] is None:
                order[path.row] = path
            else:
                others.append(path)
        waiting = iter(others)
        placed = [path if path is not None else next(waiting) for path in order]
        self._decoder.cache.select([path.row for path in placed])
        return [path._replace(row=row) for row, path in enumerate(placed)]
