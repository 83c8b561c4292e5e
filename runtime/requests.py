"""From a caller's arguments to generations that are ready to decode."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from gpt2edge._checks import whole
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.defaults import GenerationDefaults
from gpt2edge.runtime.generation import Generation, Request
from gpt2edge.runtime.overflow import Overflow, Policy
from gpt2edge.runtime.processors import LogitsProcessor
from gpt2edge.runtime.sampling import SamplingParams
from gpt2edge.runtime.stopping import StopParams
from gpt2edge.runtime.tokenizer import Tokenizer

MAX_SAMPLES: Final = 16_384
"""The most samples of one prompt in one call."""

_DRAWS: Final = {
    "temperature": (0, 1),
    "top_k": (0, 1),
    "top_p": (1,),
    "min_p": (0,),
    "typical_p": (1,),
}
"""What only a draw uses, and the values that change nothing."""

Prompt: TypeAlias = str | Sequence[int]
"""A text, or its token ids."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Checks arguments against one model and fills in its defaults."""

    model: ModelDir
    tokenizer: Tokenizer | None
    defaults: GenerationDefaults
    load_s: float

    def request(
        self,
        max_new_tokens: int | None,
        sampling: SamplingParams | None,
        stop: StopParams | str | Sequence[str] | None,
        logprobs: int | None,
        processors: Sequence[LogitsProcessor],
        overflow: Overflow | Policy = "error",
    ) -> Request:
        """The checked arguments of one call, its seed drawn."""
        self.require_language_model()
        if max_new_tokens is not None:
            whole("max_new_tokens", max_new_tokens, 1, 2**31)
        if logprobs is not None:
            whole("logprobs", logprobs, 0, self.model.config.vocab_size)
        sampling = sampling or self.defaults.sampling
        stop = self._with_special_tokens(StopParams.of(stop))
        bad_ids = [token_id for word in sampling.bad_words_ids for token_id in word]
        self._check_ids([*sampling.logit_bias, *stop.token_ids, *bad_ids])
        overflow = Overflow.of(overflow)
        _check_beams(sampling, overflow)
        return Request(
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop=stop,
            seed=_seed(sampling),
            logprobs=logprobs,
            processors=processors,
            eos_ids=self.defaults.eos_ids,
            tokenizer=self.tokenizer,
            load_s=self.load_s,
            overflow=overflow,
        )

    def groups(self, prompts: Sequence[Prompt], n: int, request: Request) -> list[list[Generation]]:
        """``n`` generations for each prompt, a list a prompt."""
        beams = request.sampling.num_beams
        whole("n", n, 1, MAX_SAMPLES if beams == 1 else beams)
        if isinstance(prompts, str):
            raise ValueError("prompts is one text; it must be a list of them")
        groups: list[list[Generation]] = []
        for prompt in prompts:
            given_ids = self.encode(prompt)
            text = prompt if isinstance(prompt, str) else self.decode(given_ids)
            prompt_ids, limit = request.overflow.fit(
                given_ids,
                request.max_new_tokens,
                self.defaults.max_new_tokens,
                self.model.config.n_positions,
            )
            limited = replace(
                request, max_new_tokens=limit, truncated=len(prompt_ids) < len(given_ids)
            )
            first_row = n * len(groups)
            first = Generation(text, prompt_ids, limited, index=0, row=first_row)
            others = [first.sibling(index, first_row + index) for index in range(1, n)]
            groups.append([first, *others])
        return groups

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt; an empty one becomes the begin-of-text token.

        Raises ValueError for text without a tokenizer, or an id outside the vocabulary.
        """
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise ValueError("this model has no tokenizer; give the prompt as token ids")
            token_ids = self.tokenizer.encode(prompt)
        else:
            token_ids = [whole("a token id", token_id, -(2**63), 2**63) for token_id in prompt]
        if not token_ids and self.model.config.bos_token_id is not None:
            return [self.model.config.bos_token_id]
        if not token_ids:
            raise ValueError("the prompt is empty and the model has no begin-of-text token")
        self._check_ids(token_ids)
        return token_ids

    def require_language_model(self) -> None:
        """Raise Gpt2EdgeError for a model whose logits are not those of tokens."""
        task = self.model.manifest.task
        if task != "text-generation":
            raise Gpt2EdgeError(
                f"this model's task is {task}: it has no vocabulary to generate from or to score; "
                "Engine.logits reads its head"
            )

    def _with_special_tokens(self, stop: StopParams) -> StopParams:
        """``stop`` with the ids of strings that are special tokens, which no text ever shows."""
        if self.tokenizer is None:
            return stop
        found = [self.tokenizer.special_id(string) for string in stop.strings]
        special = tuple(token_id for token_id in found if token_id is not None)
        return replace(stop, token_ids=(*stop.token_ids, *special)) if special else stop

    def _check_ids(self, token_ids: Sequence[int]) -> None:
        vocab_size = self.model.config.vocab_size
        for token_id in {min(token_ids, default=0), max(token_ids, default=0)}:
            if not 0 <= token_id < vocab_size:
                raise ValueError(f"token id {token_id} is outside the vocabulary of {vocab_size}")

    def encode_text(self, text: Prompt) -> list[int]:
        """Token ids of a text that must not be empty."""
        if not len(text):
            raise ValueError("the text is empty; it must have at least one token")
        return self.encode(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, empty without a tokenizer."""
        return self.tokenizer.decode(token_ids) if self.tokenizer else ""


def _seed(sampling: SamplingParams) -> int | None:
    """The seed asked for, a fresh one where sampling needs one, None for greedy decoding."""
    if sampling.seed is not None or not sampling.is_random:
        return sampling.seed
    return int(np.random.SeedSequence().generate_state(1)[0])


def _check_beams(sampling: SamplingParams, overflow: Overflow) -> None:
    """Raise ValueError where beams are asked to sample or to slide, which they cannot."""
    drawn = [name for name, neutral in _DRAWS.items() if getattr(sampling, name) not in neutral]
    if sampling.num_beams > 1 and drawn:
        raise ValueError(
            f"num_beams is {sampling.num_beams} and {drawn[0]} is {getattr(sampling, drawn[0])}: "
            f"beam search does not sample; leave {drawn[0]} out, or num_beams"
        )
    if sampling.num_beams > 1 and overflow.policy == "slide":
        raise ValueError("beam search cannot slide past the context: choose truncate-left")
