"""LineBeam: the most probable next lines of a text, by a beam search over tokens."""

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
    """A line that a model may write next, and its probability."""

    text: str
    probability: float


class _GrowingLine(NamedTuple):
    """A line so far: its prompt's index and log-probability; ``text`` once it has ended."""

    prompt: int
    token_ids: tuple[int, ...]
    logprob: float
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBeam:
    """The ``k`` most probable texts up to ``end`` that follow a prompt, with probabilities.

    Unlike samples, they all differ as tokens, need no seed and cost one row each. A line is
    dropped when its probability falls below ``least``, when it has not ended after
    ``max_new_tokens``, or at an end-of-text token. All prompts advance in one batch, as far as the
    cache allows.
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
        """Return the lines of each prompt, the most probable first. Raises OutOfBudget."""
        encoded = [work.engine.encode(prompt) for prompt in prompts]
        longest = max(map(len, encoded), default=1) + self.max_new_tokens
        longest = min(longest, work.engine.config.n_positions)
        together = max(1, work.engine.affordable_rows(longest) // self.k)
        results: list[list[ScoredLine]] = []
        for start in range(0, len(encoded), together):
            group = encoded[start : start + together]
            decoder = work.decoder(self.k * len(group), longest)
            search = _LineSearch(self, work, group, decoder.cache.max_length)
            scheduler = work.scheduler(decoder)
            scheduler.add_search(search)
            for _ in scheduler.run():
                pass
            results += search.lines()
        return results


class _LineSearch:
    """The search for several prompts together, on rows of a scheduler (``Branching``)."""

    def __init__(
        self,
        options: LineBeam,
        work: SearchSession,
        prompts: Sequence[Sequence[int]],
        max_length: int,
    ) -> None:
        self.prompts = prompts
        self.width = options.k * len(prompts)
        self.is_done = False
        self._options, self._work = options, work
        self._floor = math.log(options.least) if options.least else -math.inf
        self._eos_ids = sorted(work.engine.defaults.eos_ids)
        self._ended: list[_GrowingLine] = []
        self._steps_left = min(options.max_new_tokens, max_length - max(map(len, prompts)))

    def begin(self, logits: NDArray[np.float32], reused: Sequence[int]) -> list[Branch]:  # noqa: ARG002
        """Take the first step from ``logits`` [prompts, vocab_size]."""
        roots = [_GrowingLine(prompt, (), 0.0) for prompt in range(len(logits))]
        return self.advance(roots, logits)

    def advance(self, members: Sequence[_GrowingLine], logits: NDArray[np.float32]) -> list[Branch]:
        """Grow every line by a token, until all have ended or are too improbable.

        ``logits`` [members, vocab_size].
        """
        self._steps_left -= 1
        best = self._most_probable(self._ended, members, logits)
        self._ended = [line for line, _ in best if line.text is not None]
        growing = [Branch(line, parent) for line, parent in best if line.text is None]
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
        """Return the lines of each prompt that have ended, the most probable first."""
        results: list[list[ScoredLine]] = [[] for _ in self.prompts]
        for line in self._ended:
            results[line.prompt].append(ScoredLine(line.text or "", math.exp(line.logprob)))
        return results

    def _most_probable(
        self,
        ended: Sequence[_GrowingLine],
        growing: Sequence[_GrowingLine],
        logits: NDArray[np.float32],
    ) -> list[tuple[_GrowingLine, int]]:
        """Return the k most probable lines of each prompt, with the index of each one's parent.

        A line has ended before (parent -1) or is grown by one token; of equals the older is first.
        """
        # per prompt: log-probability, index into ended or growing, next token (None: ended)
        candidates: list[list[tuple[float, int, int | None]]] = [[] for _ in self.prompts]
        for index, line in enumerate(ended):
            candidates[line.prompt].append((line.logprob, index, None))
        # [growing, vocab_size] + [growing, 1]
        totals = log_softmax(logits) + np.array([[line.logprob] for line in growing])
        totals[:, self._eos_ids] = -math.inf
        for index, (line, row) in enumerate(zip(growing, totals, strict=True)):
            token_ids, logprobs = self._tokens(row)
            candidates[line.prompt] += zip(logprobs, repeat(index), token_ids, strict=False)
        best = []
        for group in candidates:
            group.sort(key=itemgetter(0), reverse=True)
            for logprob, index, token_id in group[: self._options.k]:
                if token_id is None:
                    best.append((ended[index], -1))
                else:
                    best.append((self._grown(growing[index], token_id, logprob), index))
        return best

    def _tokens(self, logprobs: NDArray[np.float64]) -> tuple[list[int], list[float]]:
        """Return at most k tokens that keep a line above ``least``, and its total with each.

        ``logprobs`` [vocab_size] are the line's totals with each token.
        """
        k = self._options.k
        likely = np.flatnonzero(logprobs >= self._floor)
        if len(likely) > k:
            likely = likely[np.argpartition(-logprobs[likely], k - 1)[:k]]  # [k], in no order
        return likely.tolist(), logprobs[likely].tolist()

    def _grown(self, line: _GrowingLine, token_id: int, logprob: float) -> _GrowingLine:
        token_ids = (*line.token_ids, token_id)
        return line._replace(token_ids=token_ids, logprob=logprob, text=self._line_of(token_ids))

    def _line_of(self, token_ids: tuple[int, ...]) -> str | None:
        """Return the line with special tokens spelled if these tokens complete one, else None."""
        last = self._options.end[-1]
        if last.isascii() and last not in self._work.tokenizer.piece(token_ids[-1]):
            return None
        text, end, _ = self._work.tokenizer.spelled(token_ids).partition(self._options.end)
        return text + end if end else None
