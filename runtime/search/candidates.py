"""The parts that the methods share: a prompt, scoring, and choosing among candidates."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gpt2edge._checks import check_type
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.answers import Extract
from gpt2edge.runtime.search.budget import Candidate
from gpt2edge.runtime.search.steps import StepEnd, split_steps
from gpt2edge.runtime.search.verifiers.verifier import (
    Aggregate,
    AnyVerifier,
    StepVerifier,
    aggregate_steps,
    score_all,
    score_all_steps,
)
from gpt2edge.runtime.text.stopping import StopParams

TEMPERATURE: Final = 0.8
"""The default of a search over a model whose default is greedy: greedy samples are all equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPrompt:
    """A prompt and how to complete it, as ``Engine.generate`` takes them."""

    prompt: Prompt
    sampling: SamplingParams | None = None
    max_new_tokens: int | None = None
    stop: StopParams | str | Sequence[str] | None = None

    def begin(self, engine: Engine, n: int, *, logprobs: int | None = None) -> list[Generation]:
        """Return ``n`` generations, not yet started; without ``sampling``, ``default_sampling``."""
        sampling = default_sampling(engine) if self.sampling is None else self.sampling
        check_type("sampling", sampling, SamplingParams, "SamplingParams, or None")
        if sampling.num_beams > 1:
            raise ValueError(
                f"num_beams is {sampling.num_beams}; a search needs num_beams 1, as it has its "
                "own beams"
            )
        request = engine.request(
            self.prompt,
            n=n,
            max_new_tokens=self.max_new_tokens,
            sampling=sampling,
            stop=self.stop,
            logprobs=logprobs,
        )
        return list(request.generations)


@dataclass(frozen=True, slots=True)
class CandidateScorer:
    """A verifier, the end of a step, and the aggregate of step scores."""

    verifier: AnyVerifier
    aggregate: Aggregate = "last"
    step: StepEnd = "\n\n"

    def __call__(self, prompt: str, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with their scores."""
        texts = [candidate.text for candidate in candidates]
        if not isinstance(self.verifier, StepVerifier):
            scores = score_all(self.verifier, prompt, texts)
            return [replace(c, score=s) for c, s in zip(candidates, scores, strict=True)]
        solutions = [split_steps(text, self.step) for text in texts]
        return [
            replace(
                candidate,
                score=aggregate_steps(step_scores, self.aggregate),
                step_scores=tuple(step_scores),
            )
            for candidate, step_scores in zip(
                candidates, score_all_steps(self.verifier, prompt, solutions), strict=True
            )
        ]


def default_sampling(engine: Engine) -> SamplingParams:
    """Return the model's default sampling, or temperature 0.8 where that is greedy."""
    default = engine.defaults.sampling
    if not default.is_greedy:
        return replace(default, num_beams=1)
    return replace(default, temperature=TEMPERATURE, top_k=0, num_beams=1)


def candidates_of(group: Iterable[Generation], extract: Extract) -> list[Candidate]:
    """Return candidates of the started generations; cancel the unfinished ones.

    If none has started, the first is the only candidate.
    """
    members = list(group)
    begun = [generation for generation in members if generation.token_ids] or members[:1]
    candidates = []
    for generation in begun:
        generation.cancel()
        completion = generation.completion()
        candidates.append(Candidate(completion=completion, answer=extract(completion.text)))
    return candidates


def whole_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the complete candidates, or all if none is complete."""
    return [candidate for candidate in candidates if candidate.is_whole] or list(candidates)


def highest(candidates: Sequence[Candidate]) -> Candidate:
    """Return the first candidate of the highest score; one without a score ranks last."""
    return max(candidates, key=lambda c: (c.score is not None, c.score or 0.0))
