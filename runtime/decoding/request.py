"""Request and RequestBuilder: turn a call's arguments into generations that are ready to decode."""

from collections import deque
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np

from gpt2edge._checks import argument_error, check_bool, check_int, check_list, check_optional
from gpt2edge.errors import Argument, ArgumentError, UnsupportedError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.arguments import GenerateArguments, check_names
from gpt2edge.runtime.context_window import Overflow, Policy
from gpt2edge.runtime.decoding.defaults import GenerationDefaults
from gpt2edge.runtime.decoding.generation import Generation, ResolvedArguments
from gpt2edge.runtime.results import Completion
from gpt2edge.runtime.sampling.merge import merge_sampling
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.processors import Ids, LogitsProcessor
from gpt2edge.runtime.text.stopping import StopParams
from gpt2edge.runtime.text.tokenizer import Tokenizer

MAX_SAMPLES: Final = 16_384
"""Maximum number of samples of one prompt in one call."""

UNTIL_THE_END: Final = -1
"""A token limit for a completion that only the model or the end of the context ends."""

_DRAWS: Final = {
    "temperature": (0, 1),
    "top_k": (0, 1),
    "top_p": (1,),
    "min_p": (0,),
    "typical_p": (1,),
}
"""Parameters that only sampling uses, and the values that turn them off."""

Prompt: TypeAlias = str | Sequence[int]
"""A text, or its token ids."""


class Request:
    """One prompt and its completions: queue it on a ``Scheduler``, read it, cancel it.

    ``Engine.request`` makes one. ``prompt`` is the text and ``prompt_ids`` the token ids.
    """

    def __init__(self, generations: Sequence[Generation]) -> None:
        self.generations = tuple(generations)
        self.prompt = generations[0].prompt
        self.prompt_ids = tuple(generations[0].prompt_ids)

    def __repr__(self) -> str:
        tokens = [len(generation.token_ids) for generation in self.generations]
        return f"Request({self.prompt[:40]!r}, tokens={tokens}, finished={self.is_finished})"

    @property
    def is_finished(self) -> bool:
        """Return whether all completions have ended."""
        return all(generation.finish_reason is not None for generation in self.generations)

    @property
    def has_begun(self) -> bool:
        """Return whether a completion has a token."""
        return any(generation.token_ids for generation in self.generations)

    def cancel(self) -> None:
        """End the request after the current token; safe from any thread or signal handler."""
        for generation in self.generations:
            generation.cancelled = True

    @property
    def completions(self) -> list[Completion]:
        """All completions, in order; reading them cancels those that have not ended."""
        for generation in self.generations:
            generation.cancel()
        return [generation.completion() for generation in self.generations]

    @property
    def completion(self) -> Completion:
        """The completion, where the request has only one."""
        (completion,) = self.completions
        return completion


def cache_needs(requests: Sequence[Request], n_positions: int) -> tuple[int, int, int]:
    """Return the rows that ``requests`` fill, the rows of one's beams, and the tokens of a row.

    A row holds the longest, but at most ``n_positions``, past which they slide.
    """
    generations = [item for request in requests for item in request.generations]
    longest = max((generation.cached_tokens for generation in generations), default=1)
    beams = generations[0].sampling.num_beams if generations else 1
    rows = len(requests) * beams if beams > 1 else len(generations)
    return rows, beams, min(longest, n_positions)


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Checks the arguments of calls against a model, and fills in the model's defaults."""

    model: ModelDir
    tokenizer: Tokenizer | None
    defaults: GenerationDefaults
    load_s: float
    overflow: Overflow = field(default_factory=Overflow)
    _known: deque[SamplingParams] = field(default_factory=lambda: deque(maxlen=8), repr=False)
    """Sampling parameters of recent calls, without their seeds."""

    def build(
        self, method: str, prompts: Sequence[Prompt], n: int, arguments: Mapping[str, Any]
    ) -> list[Request]:
        """Return a request for ``n`` completions of each prompt.

        Raises TypeError for an unknown argument of ``method``, ValueError for a wrong value.
        """
        check_names(method, arguments, GenerateArguments)
        resolved = self.resolve(**arguments)
        beams = resolved.sampling.num_beams
        check_int("n", n, 1, MAX_SAMPLES if beams == 1 else beams)
        requests: list[Request] = []
        for prompt in check_list("prompts", prompts, "a list of prompts"):
            first = self._first(prompt, resolved, n * len(requests))
            others = [first.sibling(index) for index in range(1, n)]
            requests.append(Request([first, *others]))
        return requests

    def _first(self, prompt: Prompt, resolved: ResolvedArguments, row: int) -> Generation:
        """Return the first generation of a prompt, which is cut to fit the context."""
        given_ids = self.encode(prompt)
        overflow = self._overflow(resolved.overflow, prompt)
        prompt_ids, limit = overflow.fit(
            given_ids,
            None if resolved.max_new_tokens == UNTIL_THE_END else resolved.max_new_tokens,
            self._default_limit(len(given_ids), resolved.max_new_tokens),
            self.model.config.n_positions,
        )
        truncated = len(prompt_ids) < len(given_ids)
        stop = resolved.stop.after(len(prompt_ids))
        fitted = replace(
            resolved, max_new_tokens=limit, stop=stop, overflow=overflow, truncated=truncated
        )
        text = self.text_of(prompt, given_ids)
        return Generation(text, prompt_ids, fitted, index=0, row=row)

    def resolve(
        self,
        *,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] | None = None,
        overflow: Overflow | Policy | None = None,
        skip_special_tokens: bool | None = None,
        **fields: Any,
    ) -> ResolvedArguments:
        """Return the checked arguments of one call, with a random seed where none is given.

        ``fields`` are fields of ``SamplingParams``; None keeps the default.
        """
        self.model.require_language_model()
        if max_new_tokens is not None:
            least = UNTIL_THE_END if max_new_tokens == UNTIL_THE_END else 1
            check_int("max_new_tokens", max_new_tokens, least, 2**31)
        if logprobs is not None:
            check_int("logprobs", logprobs, 0, self.model.config.vocab_size)
        skip = True if skip_special_tokens is None else skip_special_tokens
        check_bool("skip_special_tokens", skip)
        check_optional("sampling", sampling, SamplingParams, "SamplingParams")
        sampling = sampling or self.defaults.sampling
        given = {name: value for name, value in fields.items() if value is not None}
        if given:
            sampling, _ = merge_sampling(sampling, given)
        seed, sampling = _seed(sampling), self._shared(sampling)
        stop = self._with_special_tokens(StopParams.of(stop, self.defaults.stop))
        self._check_ids([*sampling.named_ids(), *stop.token_ids])
        overflow = self.overflow if overflow is None else Overflow.of(overflow)
        _check_beams(sampling, overflow)
        return ResolvedArguments(
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop=stop,
            seed=seed,
            logprobs=logprobs,
            processors=_checked(processors),
            eos_ids=self.defaults.eos_ids,
            tokenizer=self.tokenizer,
            load_s=self.load_s,
            overflow=overflow,
            unspelled=self._unspelled(),
            skip_special_tokens=skip,
        )

    def _shared(self, sampling: SamplingParams) -> SamplingParams:
        """Return parameters that equal ``sampling`` but for the seed, one object for many calls.

        Tokens of rows that share their parameters are chosen together (``sampler.choose``).
        """
        seedless = replace(sampling, seed=None)
        for known in tuple(self._known):  # another thread may add one
            if known == seedless:
                return known
        self._known.append(seedless)
        return seedless

    def _unspelled(self) -> Ids | None:
        if self.tokenizer is None:
            return None
        return self.tokenizer.unspelled(self.model.config.vocab_size, self.defaults.eos_ids)

    def _overflow(self, overflow: Overflow, prompt: Prompt) -> Overflow:
        """Return the policy for one prompt, which also keeps the template's first tokens."""
        if self.tokenizer is None or not isinstance(prompt, str) or not self.tokenizer.begin_ids:
            return overflow
        return replace(overflow, keep=overflow.keep + len(self.tokenizer.begin_ids))

    def encode(self, prompt: Prompt, *, begins: bool = True, ends: bool = False) -> list[int]:
        """Return the token ids of a prompt; an empty one becomes the begin-of-text token.

        ``begins`` adds the tokens that the tokenizer's template puts before a text; ``ends`` adds
        those after it, where the model is a classifier. Raises ValueError for text where the model
        has no tokenizer, or for an id outside the vocabulary.
        """
        token_ids = self._token_ids(prompt)
        if begins and isinstance(prompt, str) and self.tokenizer is not None:
            reads_all = ends and self.model.manifest.task != "text-generation"
            before, after = self.tokenizer.begin_ids, self.tokenizer.end_ids if reads_all else ()
            self._check_ids([*before, *after])
            token_ids = [*before, *token_ids, *after]
        if not token_ids and self.model.config.bos_token_id is not None:
            return [self.model.config.bos_token_id]
        if not token_ids:
            raise ValueError("the prompt is empty and the model has no begin-of-text token")
        return token_ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of token ids.

        Raises UnsupportedError without a tokenizer, ValueError for an id outside the vocabulary.
        """
        if self.tokenizer is None:
            raise UnsupportedError("this model has no tokenizer; it has token ids only")
        check_bool("skip_special_tokens", skip_special_tokens)
        checked = _whole_ids(token_ids, "token_ids", "a list of token ids")
        self._check_ids(checked)
        return self.tokenizer.decode(checked, skip_special_tokens=skip_special_tokens)

    def _default_limit(self, prompt_length: int, max_new_tokens: int | None) -> int:
        """Return the limit of new tokens for a call that gives none, or ``UNTIL_THE_END``."""
        if max_new_tokens == UNTIL_THE_END:
            return 2**31
        longest = self.defaults.max_length
        if max_new_tokens is not None or longest is None:
            return self.defaults.max_new_tokens
        if prompt_length >= longest:
            raise ArgumentError(
                f"the prompt has {prompt_length} tokens and the model's generation_config.json "
                f"says max_length {longest}: give ",
                Argument("max_new_tokens"),
            )
        return longest - prompt_length

    def _with_special_tokens(self, stop: StopParams) -> StopParams:
        """Add the ids of stop strings that are special tokens, which the text may not show."""
        if self.tokenizer is None:
            return stop
        found = [self.tokenizer.special_id(string) for string in stop.strings]
        special = tuple(token_id for token_id in found if token_id is not None)
        return replace(stop, token_ids=(*stop.token_ids, *special)) if special else stop

    def _token_ids(self, prompt: Prompt, name: str = "prompt") -> list[int]:
        """Return the token ids of ``prompt`` without the template's; the list may be empty."""
        if isinstance(prompt, str):
            if self.tokenizer is None:
                raise UnsupportedError("this model has no tokenizer; give the prompt as token ids")
            token_ids = self.tokenizer.encode(prompt)
        else:
            token_ids = _whole_ids(prompt, name)
        self._check_ids(token_ids)
        return token_ids

    def _check_ids(self, token_ids: Sequence[int]) -> None:
        vocab_size = self.model.config.vocab_size
        for token_id in {min(token_ids, default=0), max(token_ids, default=0)}:
            if not 0 <= token_id < vocab_size:
                raise ValueError(f"token id {token_id} is outside the vocabulary of {vocab_size}")

    def encode_text(self, text: Prompt, name: str = "text") -> list[int]:
        """Return the token ids of a text without the template's.

        Raises ValueError where there is none.
        """
        if isinstance(text, Sized) and not len(text):
            raise ValueError("the text is empty; it must have at least one token")
        token_ids = self._token_ids(text, name)
        if not token_ids:
            raise ValueError(f"the tokenizer has no token for any character of {text[:40]!r}")
        return token_ids

    def encode_pairs(
        self, prompt: Prompt, completions: Sequence[Prompt]
    ) -> tuple[list[int], list[list[int]], list[str]]:
        """Token ids of a prompt and of each completion to score after it, and their texts."""
        self.model.require_language_model()
        completions = check_list("completions", completions, "a list of texts or of token ids")
        prompt_ids = self.encode(prompt)
        encoded = [self.encode_text(each, "completions") for each in completions]
        texts = [self.text_of(*pair) for pair in zip(completions, encoded, strict=True)]
        return prompt_ids, encoded, texts

    def nbytes(self, text: Prompt, token_ids: Sequence[int]) -> int | None:
        """Return the bytes of ``text`` in UTF-8, or None.

        None for token ids, and, with a warning, where the tokens do not decode to the text.
        """
        if not isinstance(text, str) or self.tokenizer is None:
            return None
        from gpt2edge.runtime.text.spelling import spells

        if spells(self.tokenizer.spelled(token_ids), text):
            return len(text.encode())
        import logging

        logging.getLogger("gpt2edge").warning(
            "the tokens do not spell the whole text: bits per byte would be wrong and are left out"
        )
        return None

    def encode_to_score(self, text: Prompt) -> tuple[list[int], int | None]:
        """Return the token ids of a text with the begin-of-text token before it, and ``nbytes``.

        A model without that token adds none. Raises ValueError for fewer than two tokens.
        """
        self.model.require_language_model()
        token_ids = self.encode_text(text)
        nbytes = self.nbytes(text, token_ids)
        token_ids = [*self._begin_of(text), *token_ids]
        if len(token_ids) < 2:
            raise ValueError("perplexity needs at least two tokens")
        return token_ids, nbytes

    def _begin_of(self, text: Prompt) -> Sequence[int]:
        """Return the tokens to put before a text that is scored, perhaps none."""
        if self.tokenizer is not None and self.tokenizer.add_special_tokens is False:
            return ()
        if isinstance(text, str) and self.tokenizer is not None and self.tokenizer.begin_ids:
            self._check_ids(self.tokenizer.begin_ids)
            return self.tokenizer.begin_ids
        bos = self.model.config.bos_token_id
        return () if bos is None else (bos,)

    def text_of(self, prompt: Prompt, token_ids: Sequence[int]) -> str:
        """Return the text of a prompt; empty for token ids where the model has no tokenizer."""
        if isinstance(prompt, str):
            return prompt
        return self.tokenizer.decode(token_ids) if self.tokenizer else ""


def _whole_ids(
    prompt: Sequence[int], name: str, allowed: str = "a text, or a list of token ids"
) -> list[int]:
    """Return the ids of a prompt given as ids. Raises ArgumentError unless it is a list of ids."""
    token_ids = check_list(name, prompt, allowed)
    if any(isinstance(item, str) for item in token_ids):
        raise argument_error(name, prompt, f"{allowed}; generate_batch takes several prompts")
    return [check_int(name, item, -(2**63), 2**63, part="a token id in ") for item in token_ids]


def _checked(processors: Sequence[LogitsProcessor] | None) -> Sequence[LogitsProcessor]:
    """Return the processors, none for None. Raises ArgumentError unless all can be called."""
    allowed = "a list of functions"
    found = [] if processors is None else check_list("processors", processors, allowed)
    if not all(map(callable, found)):
        raise argument_error("processors", processors, allowed)
    return found


def _seed(sampling: SamplingParams) -> int | None:
    """Return the seed given, a random one where sampling needs one, or None where it does not."""
    if sampling.seed is not None or not sampling.is_random:
        return sampling.seed
    return int(np.random.SeedSequence().generate_state(1)[0])


def _check_beams(sampling: SamplingParams, overflow: Overflow) -> None:
    """Raise ValueError where beam search is combined with sampling or sliding."""
    drawn = [name for name, neutral in _DRAWS.items() if getattr(sampling, name) not in neutral]
    if sampling.num_beams > 1 and drawn:
        beams, other = Argument("num_beams"), Argument(drawn[0])
        raise ArgumentError(
            *(beams, f" is {sampling.num_beams} and ", other, f" is {getattr(sampling, drawn[0])}"),
            *(": beam search does not sample; leave ", other, " out, or ", beams),
        )
    if sampling.num_beams > 1 and overflow.policy == "slide":
        raise ValueError("beam search cannot slide past the context: choose truncate-left")
