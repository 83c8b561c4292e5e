"""Beam search: the likeliest completions that a search of bounded width finds.

The definition is transformers' (``GenerationMixin._beam_search``): log-probabilities go through the
logits processing and are summed; of the best ``max(2, 1 + end tokens) * num_beams`` continuations
the best ``num_beams`` that have not ended go on, and those among the first ``num_beams`` that have
ended are kept by their sum over their length to the power of ``length_penalty``.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.batching import enter_prompt
from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.draws import top_k_indices
from gpt2edge.runtime.generation import Generation
from gpt2edge.runtime.kv_cache import KVCache
from gpt2edge.runtime.prefix_cache import PrefixCache
from gpt2edge.runtime.sampling import SamplingParams

_FEWEST_PER_BEAM: Final = 2


@dataclass(frozen=True, slots=True)
class _Beam:
    """A hypothesis: its text so far, the sum of its log-probabilities, and the row it came from."""

    generation: Generation
    score: float
    row: int


class _Search:
    """The beams of one prompt."""

    def __init__(self, group: Sequence[Generation]) -> None:
        self._group = group
        self._params: SamplingParams = group[0].sampling
        self._kept_per_beam = max(_FEWEST_PER_BEAM, 1 + len(group[0].end_ids))
        self._improvable = True
        self._ended: list[tuple[float, Generation]] = []
        self._held: list[Generation | None] = [None] * self.width  # what each row has in the cache
        self.beams = [_Beam(group[0].branch(), 0.0, 0)]

    @property
    def width(self) -> int:
        """Rows of the cache that the search uses."""
        return self._params.num_beams

    @property
    def is_done(self) -> bool:
        """Whether no beam goes on."""
        full = len(self._ended) == self.width
        return not (self.beams and self._improvable) or (
            full and self._params.early_stopping is True
        )

    def start(self, decoder: Decoder, first: int, prefixes: PrefixCache | None) -> None:
        """Enter the prompt into row ``first`` and take the first step."""
        logits, reused = enter_prompt(decoder, first, self._group[0].prompt_ids, prefixes)
        self.beams[0].generation.reused_tokens = reused
        self.step(logits[None])
        self.settle(decoder.cache, first)

    def step(self, logits: NDArray[np.float32]) -> None:
        """Extend every beam; ``logits`` [rows, vocab_size] are those after the beams' rows."""
        if all(generation.cancelled for generation in self._group):
            self._end_all()
            return
        going: list[_Beam] = []
        ended: list[_Beam] = []
        for rank, beam in enumerate(self._continuations(logits)):
            if beam.generation.finish_reason is None:
                going.append(beam)
            elif rank < self.width:
                ended.append(beam)
        self._keep(ended)
        self.beams = going[: self.width]
        self._improvable = self._can_improve()

    def settle(self, cache: KVCache, first: int) -> None:
        """Bring every beam's tokens into a row of its own, from ``first`` on.

        A parent's first child stays where it is; the others take the rows of beams that ended,
        whose tokens up to the point where the two parted are there already.
        """
        if self.is_done:
            return
        parents = {beam.row for beam in self.beams}
        free = deque(row for row in range(self.width) if row not in parents)
        held: list[Generation | None] = [None] * self.width
        placed: list[_Beam | None] = [None] * self.width
        for beam in self._filled():
            row = beam.row
            if placed[row] is not None:
                row = free.popleft()
                common = _common_length(beam.generation, self._held[row])
                cache.fork(first + beam.row, [first + row], start=common)
            placed[row] = _Beam(beam.generation, beam.score, row)
            held[row] = beam.generation
        self._held = held
        self.beams = [beam for beam in placed if beam is not None]

    def finish(self) -> Iterator[Generation]:
        """Hand the best hypotheses to the generations of the group: each, for every token."""
        if len(self._ended) < len(self._group) and not self._group[0].cancelled:
            raise ValueError(
                f"beam search found {len(self._ended)} completions, not {len(self._group)}: "
                "ask for fewer, or forbid less"
            )
        for generation, (score, winner) in zip(self._group, self._ended, strict=False):
            generation.adopt(winner, score)
            yield from repeat(generation, len(generation.token_ids))

    def _continuations(self, logits: NDArray[np.float32]) -> Iterator[_Beam]:
        """The likeliest continuations of all beams, the best first."""
        count = self._kept_per_beam * self.width
        found = []
        for place, beam in enumerate(self._live()):
            logprobs = _log_softmax(logits[beam.row])
            beam.generation.process(logprobs)
            for token_id in top_k_indices(logprobs[None], min(count, logprobs.size))[0]:
                score = beam.score + float(logprobs[token_id])
                if np.isfinite(score):
                    found.append((-score, place, int(token_id), beam))
        for cost, _, token_id, beam in islice(sorted(found, key=lambda item: item[:3]), count):
            twin = beam.generation.branch()
            twin.append(token_id, logits[beam.row])
            yield _Beam(twin, -cost, beam.row)

    def _live(self) -> list[_Beam]:
        return list({id(beam.generation): beam for beam in self.beams}.values())

    def _filled(self) -> list[_Beam]:
        """The beams, the first repeated where they are too few: every row must take a token."""
        return self.beams + [self.beams[0]] * (self.width - len(self.beams))

    def _keep(self, ended: Sequence[_Beam]) -> None:
        scored = [(self._scored(beam), beam.generation) for beam in ended]
        self._ended = sorted(self._ended + scored, key=lambda item: -item[0])[: self.width]

    def _scored(self, beam: _Beam, length: int = 0) -> float:
        length = length or len(beam.generation.token_ids)
        return float(beam.score / length**self._params.length_penalty)

    def _can_improve(self) -> bool:
        """Whether the best beam may still beat the worst one kept; an estimate, as documented."""
        if not self.beams or len(self._ended) < self.width:
            return bool(self.beams)
        best = max(self.beams, key=lambda beam: beam.score)
        patient = self._params.early_stopping == "never" and self._params.length_penalty > 0
        length = best.generation.max_new_tokens if patient else 0
        return self._scored(best, length) > self._ended[-1][0]

    def _end_all(self) -> None:
        """A caller cancelled: what the beams hold counts as it is."""
        live = [beam for beam in self._live() if beam.generation.token_ids]
        for beam in live:
            beam.generation.cancel()
        self._keep(live)
        self.beams = []


def search_all(
    decoder: Decoder,
    groups: Sequence[Sequence[Generation]],
    prefixes: PrefixCache | None = None,
) -> Iterator[Generation]:
    """Search for the completions of groups of generations, one prompt a group.

    Each prompt has ``num_beams`` rows of the cache. When its search has ended its generations come
    back, each once for every token.
    """
    waiting = deque(group for group in groups if group)
    active: list[_Search] = []
    while waiting or active:
        while (
            waiting and (len(active) + 1) * waiting[0][0].sampling.num_beams <= decoder.cache.rows
        ):
            search = _Search(waiting.popleft())
            search.start(decoder, len(active) * search.width, prefixes)
            active.append(search)
        yield from _release(decoder, active)
        if active:
            beams = [beam for search in active for beam in search.beams]
            logits = decoder.decode([beam.generation.token_ids[-1] for beam in beams])
            first = 0
            for search in active:
                search.step(logits[first : first + search.width])
                search.settle(decoder.cache, first)
                first += search.width


def _release(decoder: Decoder, active: list[_Search]) -> Iterator[Generation]:
    """Free the rows of searches that have ended; the last moves into such a place."""
    for place in reversed(range(len(active))):
        search = active[place]
        if search.is_done:
            last = active.pop()
            if last is not search:
                active[place] = last
                for row in range(search.width):
                    target = place * search.width + row
                    decoder.cache.fork(len(active) * search.width + row, [target])
            yield from search.finish()


def _common_length(generation: Generation, other: Generation | None) -> int:
    """Tokens in the cache that two beams of one prompt have in common; 0 where one is unknown."""
    if other is None:
        return 0
    pairs = zip(generation.token_ids[:-1], other.token_ids, strict=False)
    alike = next((at for at, (one, two) in enumerate(pairs) if one != two), None)
    cached = min(len(generation.token_ids) - 1, len(other.token_ids))
    return len(generation.prompt_ids) + (cached if alike is None else alike)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities [n] in float32, their normalizer summed in float64."""
    shifted: NDArray[np.float32] = logits - logits.max()
    shifted -= np.float32(np.log(np.exp(shifted).sum(dtype=np.float64)))
    return shifted
