"""Beam search: find completions of high probability with a bounded number of hypotheses.

The definition is transformers' (``GenerationMixin._beam_search``). Log-probabilities pass through
the logits processors and are summed. Each step ranks the best ``max(2, 1 + end tokens) *
num_beams`` continuations: the best ``num_beams`` that have not ended continue. Ended ones among
the first ``num_beams`` are kept, scored by their sum divided by their length to the power of
``length_penalty``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Final

import numpy as np

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.decoding.branching import Branch, common_length
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.sampling.log_probs import log_softmax_float32
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.truncation import top_k_indices

_FEWEST_PER_BEAM: Final = 2


@dataclass(frozen=True, slots=True)
class _Beam:
    """A hypothesis: its tokens so far, and the sum of their log-probabilities."""

    generation: Generation
    score: float

    @property
    def token_ids(self) -> list[int]:
        """Token ids after the prompt."""
        return self.generation.token_ids


class BeamSearch:
    """The beams of one prompt, on rows of a scheduler (``Branching``)."""

    def __init__(self, group: Sequence[Generation]) -> None:
        self._group = group
        self._params: SamplingParams = group[0].sampling
        self._kept_per_beam = max(_FEWEST_PER_BEAM, 1 + len(group[0].end_ids))
        self._improvable = True
        self._ended: list[tuple[float, Generation]] = []
        self._beams = [_Beam(group[0].branch(), 0.0)]

    @property
    def width(self) -> int:
        """Number of cache rows that the search may use."""
        return self._params.num_beams

    @property
    def prompts(self) -> Sequence[Sequence[int]]:
        """Token ids of the prompt, as a sequence of one."""
        return (self._group[0].prompt_ids,)

    @property
    def is_done(self) -> bool:
        """Return whether no beam continues."""
        full = len(self._ended) == self.width
        return not (self._beams and self._improvable) or (
            full and self._params.early_stopping is True
        )

    def begin(self, logits: Logits, reused: Sequence[int]) -> list[Branch]:
        """Take the first step from ``logits`` [1, vocab_size], the logits after the prompt."""
        self._beams[0].generation.reused_tokens = reused[0]
        return self.advance(self._beams, logits)

    def advance(self, members: Sequence[_Beam], logits: Logits) -> list[Branch]:
        """Extend every beam by a token from ``logits`` [beams, vocab_size], after ``members``."""
        if all(generation.cancelled for generation in self._group):
            self._end_all()
            return []
        going: list[Branch] = []
        ended: list[_Beam] = []
        for rank, branch in enumerate(self._continuations(members, logits)):
            if branch.member.generation.finish_reason is None:
                going.append(branch)
            elif rank < self.width:
                ended.append(branch.member)
        self._keep(ended)
        going = going[: self.width]
        self._beams = [branch.member for branch in going]
        self._improvable = self._can_improve()
        return going

    def common(self, member: _Beam, other: _Beam) -> int:
        """Return how many tokens of two beams in the cache are the same, from the first on."""
        prompt_length = len(member.generation.prompt_ids)
        return prompt_length + common_length(member.token_ids, other.token_ids)

    def finish(self) -> Iterator[Generation]:
        """Give the best hypotheses to the group's generations; yield each once for every token."""
        if len(self._ended) < len(self._group) and not self._group[0].cancelled:
            raise ValueError(
                f"beam search found {len(self._ended)} completions, not {len(self._group)}: "
                "ask for fewer, or ban fewer tokens"
            )
        for generation, (score, winner) in zip(self._group, self._ended, strict=False):
            generation.adopt(winner, score)
            yield from repeat(generation, len(generation.token_ids))

    def _continuations(self, members: Sequence[_Beam], logits: Logits) -> Iterator[Branch]:
        """Yield the most likely continuations of all beams, best first."""
        count = self._kept_per_beam * self.width
        found = []
        for index, beam in enumerate(members):
            logprobs = log_softmax_float32(logits[index], np.float64)  # [vocab_size]
            beam.generation.process(logprobs)
            for token_id in top_k_indices(logprobs[None], min(count, logprobs.size))[0]:
                score = beam.score + float(logprobs[token_id])
                if np.isfinite(score):
                    found.append((-score, index, int(token_id)))
        for cost, index, token_id in islice(sorted(found), count):
            twin = members[index].generation.branch()
            twin.append(token_id, logits[index])
            yield Branch(_Beam(twin, -cost), index)

    def _keep(self, ended: Sequence[_Beam]) -> None:
        scored = [(self._scored(beam), beam.generation) for beam in ended]
        self._ended = sorted(self._ended + scored, key=lambda item: -item[0])[: self.width]

    def _scored(self, beam: _Beam, length: int = 0) -> float:
        length = length or len(beam.generation.token_ids)
        return float(beam.score / length**self._params.length_penalty)

    def _can_improve(self) -> bool:
        """Return whether the best beam may still beat the worst completion kept; an estimate."""
        if not self._beams or len(self._ended) < self.width:
            return bool(self._beams)
        best = max(self._beams, key=lambda beam: beam.score)
        patient = self._params.early_stopping == "never" and self._params.length_penalty > 0
        length = best.generation.max_new_tokens if patient else 0
        return self._scored(best, length) > self._ended[-1][0]

    def _end_all(self) -> None:
        """Cancel all beams, and keep them as they are among the completions."""
        begun = [beam for beam in self._beams if beam.generation.token_ids]
        for beam in begun:
            beam.generation.cancel()
        self._keep(begun)
        self._beams = []
