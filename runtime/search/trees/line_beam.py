"""The likeliest next lines of a text, by a beam over tokens."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_float, check_int, check_text
from gpt2edge.runtime.decoding.branching import Branch, common_length
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.sampling.log_probs import log_softmax
from gpt2edge.runtime.search.search_session import SearchSession


class ScoredLine(NamedTuple):
    """What a model would write next, and how likely."""

    text: str
    probability: float


class _GrowingLine(NamedTuple):
    """One line so far: of which prompt, and how likely. ``text`` once it has ended."""

    prompt: int
    token_ids: tuple[int, ...]
    logprob: float
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBeam:
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
        check_int("k", self.k, 1, 2**31)
        check_int("max_new_tokens", self.max_new_tokens, 1, 2**31)
        check_float("least", self.least, 0, math.nextafter(1, 0))
        check_text("end", self.end, empty=False)

    def __call__(self, prompts: Sequence[str], work: SearchSession) -> list[list[ScoredLine]]:
        """The lines of each prompt, the likeliest first. Raises OutOfBudget."""
        encoded = [work.engine.encode(prompt) for prompt in prompts]
        longest = max(map(len, encoded), default=1) + self.max_new_tokens
        longest = min(longest, work.engine.config.n_positions)
        together = max(1, work.engine.affordable_rows(longest) // self.k)
        found: list[list[ScoredLine]] = []
        for start in range(0, len(encoded), together):
            group = encoded[start : start + together]
            decoder = work.decoder(self.k * len(group), longest)
            search = _LineSearch(self, work, group, decoder.cache.max_length)
            scheduler = work.scheduler(decoder)
            scheduler.add_search(search)
            for _ in scheduler.run():
                pass
            found += search.lines()
        return found


class _LineSearch:
    """Some prompts whose lines grow together, on rows of a scheduler (``Branching``)."""

    def __init__(
        self,
        knobs: LineBeam,
        work: SearchSession,
        prompts: Sequence[Sequence[int]],
        max_length: int,
    ) -> None:
        self.prompts = prompts
        self.width = knobs.k * len(prompts)
        self.is_done = False
        self._knobs, self._work = knobs, work
        self._floor = math.log(knobs.least) if knobs.least else -math.inf
        self._eos_ids = sorted(work.engine.defaults.eos_ids)
        self._ended: list[_GrowingLine] = []
        self._steps_left = min(knobs.max_new_tokens, max_length - max(map(len, prompts)))

    def begin(self, logits: NDArray[np.float32], reused: Sequence[int]) -> list[Branch]:  # noqa: ARG002
        """Take the first step from ``logits`` [prompts, vocab_size]."""
        roots = [_GrowingLine(place, (), 0.0) for place in range(len(logits))]
        return self.advance(roots, logits)

    def advance(self, members: Sequence[_GrowingLine], logits: NDArray[np.float32]) -> list[Branch]:
        """Grow every line by a token, until all have ended or are too unlikely."""
        self._steps_left -= 1
        kept = self._likeliest(self._ended, members, logits)
        self._ended = [path for path, _ in kept if path.text is not None]
        growing = [Branch(path, parent) for path, parent in kept if path.text is None]
        self.is_done = not growing or self._steps_left < 1
        return growing

    def common(self, member: _GrowingLine, other: _GrowingLine) -> int:
        """Return how many tokens two lines have in common in the cache."""
        if member.prompt != other.prompt:
            return 0
        prompt_length = len(self.prompts[member.prompt])
        return prompt_length + common_length(member.token_ids, other.token_ids)

    def finish(self) -> Iterator[Generation]:
        """Return no generations: the result is in ``lines``."""
        return iter(())

    def lines(self) -> list[list[ScoredLine]]:
        """Return the lines of each prompt that have ended, the likeliest first."""
        found: list[list[ScoredLine]] = [[] for _ in self.prompts]
        for path in self._ended:
            found[path.prompt].append(ScoredLine(path.text or "", math.exp(path.logprob)))
        return found

    def _likeliest(
        self,
        ended: Sequence[_GrowingLine],
        growing: Sequence[_GrowingLine],
        logits: NDArray[np.float32],
    ) -> list[tuple[_GrowingLine, int]]:
        """The k likeliest of each prompt, ended or grown by a token, and the places of the
        latters' parents; ties by age."""
        options: list[list[tuple[float, int, int | None]]] = [[] for _ in self.prompts]
        for place, path in enumerate(ended):
            options[path.prompt].append((path.logprob, place, None))
        totals = log_softmax(logits) + np.array([[path.logprob] for path in growing])
        totals[:, self._eos_ids] = -math.inf
        for place, (path, row) in enumerate(zip(growing, totals, strict=True)):
            likely, logprobs = self._tokens(row)
            options[path.prompt] += zip(logprobs, repeat(place), likely, strict=False)
        kept = []
        for mine in options:
            mine.sort(key=itemgetter(0), reverse=True)
            for logprob, place, token_id in mine[: self._knobs.k]:
                if token_id is None:
                    kept.append((ended[place], -1))
                else:
                    kept.append((self._grown(growing[place], token_id, logprob), place))
        return kept

    def _tokens(self, logprobs: NDArray[np.float64]) -> tuple[list[int], list[float]]:
        """The tokens that leave a path likely enough, at most k, and what it is with each."""
        likely = np.flatnonzero(logprobs >= self._floor)
        if len(likely) > self._knobs.k:
            likely = likely[np.argpartition(-logprobs[likely], self._knobs.k - 1)[: self._knobs.k]]
        return likely.tolist(), logprobs[likely].tolist()

    def _grown(self, path: _GrowingLine, token_id: int, logprob: float) -> _GrowingLine:
        token_ids = (*path.token_ids, token_id)
        return path._replace(token_ids=token_ids, logprob=logprob, text=self._line_of(token_ids))

    def _line_of(self, token_ids: tuple[int, ...]) -> str | None:
        """The line, its special tokens spelled, where these tokens hold a whole one."""
        last = self._knobs.end[-1]
        if last.isascii() and last not in self._work.tokenizer.piece(token_ids[-1]):
            return None
        text, end, _ = self._work.tokenizer.spelled(token_ids).partition(self._knobs.end)
        return text + end if end else None
