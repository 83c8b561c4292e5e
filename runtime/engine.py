"""Engine: a loaded model that generates, streams, batches and scores."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import whole
from gpt2edge.errors import ContextLengthError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.async_stream import AsyncStream
from gpt2edge.runtime.batching import decode_all
from gpt2edge.runtime.beam import search_all
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.cpu_features import warn_of_saturation
from gpt2edge.runtime.decoder import Decoder
from gpt2edge.runtime.defaults import GenerationDefaults
from gpt2edge.runtime.generation import Generation
from gpt2edge.runtime.growing import GrowingCache, GrowingDecoder
from gpt2edge.runtime.kv_cache import KVCache
from gpt2edge.runtime.opening import Opening
from gpt2edge.runtime.overflow import Overflow, Policy
from gpt2edge.runtime.processors import LogitsProcessor
from gpt2edge.runtime.providers import Provider
from gpt2edge.runtime.requests import Prompt, Requests
from gpt2edge.runtime.sampling import SamplingParams
from gpt2edge.runtime.scoring import score_completions, window_losses
from gpt2edge.runtime.session import RuntimeOptions
from gpt2edge.runtime.stopping import StopParams
from gpt2edge.runtime.stream import Stream
from gpt2edge.runtime.tokenizer import Tokenizer
from gpt2edge.runtime.types import Completion, Perplexity, Score

if TYPE_CHECKING:
    from gpt2edge.runtime.prompt_cache import PromptCache
    from gpt2edge.runtime.speculation import DraftModel, PromptLookup
    from gpt2edge.runtime.speculator import Speculator


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    device: str = "cpu",
    providers: Sequence[Provider | str] = (),
    threads: int | None = None,
    verify: bool = True,
) -> "Engine":
    """Load a model folder, or the bundled storyteller where none is given.

    Raises ModelDirError where the folder is none of ours or damaged, ProviderError where the
    device or a provider cannot be used.
    """
    path = BUNDLED_MODEL if model is None else model
    options = RuntimeOptions(device=device, providers=providers, threads=threads, verify=verify)
    return Engine(path, options)


class Engine:
    """A loaded model. ``prompt`` is text or token ids everywhere; an empty one starts afresh.

    Any number of threads may use one engine; each call has a cache of its own. A stream is for one
    thread at a time. Pickled, an engine is its folder and options, and is loaded anew; a process
    that was forked must load its own. ``close``, or the end of a ``with`` block, gives the memory
    back, once no stream of it is left.
    """

    def __init__(
        self, model: str | os.PathLike[str] | Opening, options: RuntimeOptions | None = None
    ) -> None:
        if not isinstance(model, Opening):
            model = Opening(ModelDir.open(model), options or RuntimeOptions())
        self.model, self.options = model.model, model.options
        self.config = self.model.config
        with self.model.verified() if model.verifies else nullcontext():
            self._take_over(model)
        self.load_s = perf_counter() - model.started
        self._requests = Requests(self.model, self.tokenizer, self.defaults, self.load_s)

    def _take_over(self, opening: Opening) -> None:
        """Read the folder's other files while the session is made."""
        path = self.model.tokenizer_path
        self.tokenizer = Tokenizer(path) if path else None
        self._session = opening.session()
        self.defaults = GenerationDefaults.from_dict(self.model.generation_config, self.config)
        warn_of_saturation(self.model.path, self.model.manifest.recipe)
        self._open_shortcuts(self.options.prefix_cache_bytes, self.options.speculation)

    def _open_shortcuts(
        self, cache_bytes: int, speculation: "PromptLookup | DraftModel | None"
    ) -> None:
        """What the options ask for; most commands ask for none, and do not load them."""
        self.prefixes: PromptCache | None = None
        self._speculator: Speculator | None = None
        if cache_bytes:
            from gpt2edge.runtime import prompt_cache

            layout = self._session.cache_layout
            self.prefixes = prompt_cache.PromptCache.of(self.model, layout, cache_bytes)
        if speculation is not None:
            from gpt2edge.runtime import speculator

            self._speculator = speculator.Speculator(self, speculation)

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type["Engine"], tuple[Path, RuntimeOptions]]:
        return type(self), (self.model.path.resolve(), self.options)

    def close(self) -> None:
        """Give the memory back. Every later call, and every stream that still runs, is an error."""
        self._session.close()
        self.prefixes = self._speculator = None

    def generate(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
        overflow: Overflow | Policy = "error",
    ) -> Completion:
        """Complete one prompt.

        What is None comes from the model's ``generation_config.json``; without one, decoding is
        greedy. ``logprobs`` adds each token's log-probability and those of that many likeliest
        tokens. ``overflow`` is the policy where prompt and completion do not fit the context.
        Raises ContextLengthError where they must, ValueError for bad arguments.
        """
        (completion,) = self.generate_batch(
            [prompt],
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop=stop,
            logprobs=logprobs,
            processors=processors,
            overflow=overflow,
        )
        return completion

    def stream(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
        overflow: Overflow | Policy = "error",
    ) -> Stream:
        """Complete one prompt, token by token: an iterator of ``Chunk``.

        The pieces of text join to what ``generate`` returns for the same arguments.
        """
        return self.stream_batch(
            [prompt],
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop=stop,
            logprobs=logprobs,
            processors=processors,
            overflow=overflow,
        )

    def stream_batch(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
        overflow: Overflow | Policy = "error",
    ) -> Stream:
        """What ``generate_batch`` does, token by token: ``Chunk.index`` says whose each one is.

        Completion ``index`` is sample ``index % n`` of prompt ``index // n``.
        """
        request = self._requests.request(
            max_new_tokens, sampling, stop, logprobs, processors, overflow
        )
        groups = self._requests.groups(prompts, n, request)
        beams = request.sampling.num_beams
        decoder = self._decoder_for(groups, beams)
        if beams == 1:
            tokens = decode_all(decoder, groups, self.prefixes, self._speculator)
        else:
            tokens = search_all(decoder, groups, self.prefixes)
        return Stream([generation for group in groups for generation in group], tokens, decoder)

    def generate_batch(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
        overflow: Overflow | Policy = "error",
    ) -> list[Completion]:
        """``n`` completions of each prompt, in the order of the prompts.

        All are decoded together on one cache; a prompt's samples share one prefill. Sample ``i``
        of a prompt draws from the random stream (seed, i). In float32 and ``int8-block`` it is the
        same text in any batch; in other recipes the logits depend on the number of rows, and the
        same text comes from the same call alone.
        """
        return self.stream_batch(
            prompts,
            n=n,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop=stop,
            logprobs=logprobs,
            processors=processors,
            overflow=overflow,
        ).finish()

    async def agenerate(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
        overflow: Overflow | Policy = "error",
    ) -> Completion:
        """``generate`` for code that awaits: cancelling its task ends it within one token."""
        stream = self.astream(
            prompt,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            stop=stop,
            logprobs=logprobs,
            processors=processors,
            overflow=overflow,
        )
        async for _ in stream:
            pass
        return stream.completion

    def astream(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
        overflow: Overflow | Policy = "error",
    ) -> AsyncStream:
        """``stream`` for code that awaits: an asynchronous iterator of ``Chunk``."""
        return AsyncStream(
            self.stream(
                prompt,
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                stop=stop,
                logprobs=logprobs,
                processors=processors,
                overflow=overflow,
            )
        )

    def generations(
        self,
        prompts: Sequence[Prompt],
        *,
        n: int = 1,
        max_new_tokens: int | None = None,
        sampling: SamplingParams | None = None,
        stop: StopParams | str | Sequence[str] | None = None,
        logprobs: int | None = None,
    ) -> list[list[Generation]]:
        """What ``generate_batch`` would decode, not yet begun: ``n`` for each prompt.

        This is the door for loops of one's own over a decoder, such as ``runtime.search``.
        """
        if sampling is None:
            sampling = replace(self.defaults.sampling, num_beams=1)
        if sampling.num_beams > 1:
            raise ValueError("num_beams is for generate: a loop of one's own has beams of its own")
        request = self._requests.request(max_new_tokens, sampling, stop, logprobs, ())
        return self._requests.groups(prompts, n, request)

    def score(self, prompt: Prompt, completions: Sequence[Prompt]) -> list[Score]:
        """Log-probability of each of ``completions`` after ``prompt``, which is prefilled once."""
        self._requests.require_language_model()
        if isinstance(completions, str):
            raise ValueError("completions is one text; it must be a list of them")
        prompt_ids = self.encode(prompt)
        encoded = [self._requests.encode_text(completion) for completion in completions]
        longest = len(prompt_ids) + max(map(len, encoded), default=1) - 1
        decoder = self.decoder(rows=1, max_length=longest)
        texts = [
            completion if isinstance(completion, str) else self._requests.decode(token_ids)
            for completion, token_ids in zip(completions, encoded, strict=True)
        ]
        return score_completions(decoder, prompt_ids, encoded, texts)

    def perplexity(
        self,
        text: Prompt,
        *,
        stride: int | None = None,
        context: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Perplexity:
        """Perplexity of a text by a sliding window of ``context`` tokens, moved by ``stride``.

        The window is as long as the model's context and moves by half of it where not given. The
        first token is conditioned on the begin-of-text token where the model has one.
        ``progress`` is called with the tokens done and their total. Where ``stride`` equals
        ``context``, the first token of each window has nothing before it and is left out.
        """
        context = self.config.n_positions if context is None else context
        stride = max(1, context // 2) if stride is None else stride
        whole("context", context, 2, self.config.n_positions)
        whole("stride", stride, 1, context)
        self._requests.require_language_model()
        token_ids = self._requests.encode_text(text)
        if self.config.bos_token_id is not None:
            token_ids = [self.config.bos_token_id, *token_ids]
        if len(token_ids) < 2:
            raise ValueError("perplexity needs at least two tokens")
        nbytes = len(text.encode()) if isinstance(text, str) else None
        decoder = self.decoder(rows=1, max_length=min(context, len(token_ids)))
        losses = window_losses(decoder, token_ids, context, stride, progress)
        if losses.size < len(token_ids) - 1:
            nbytes = None  # windows side by side leave out the first token of each
        return Perplexity.of(losses, context=context, stride=stride, nbytes=nbytes)

    def logits(self, prompt: Prompt) -> NDArray[np.float32]:
        """Logits [tokens, vocab_size or labels] after every token of ``prompt``."""
        token_ids = self.encode(prompt)
        decoder = self.decoder(rows=1, max_length=len(token_ids))
        return np.concatenate(list(decoder.prefill_all(0, token_ids)))

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt; an empty one becomes the begin-of-text token.

        Raises ValueError for text without a tokenizer, or an id outside the vocabulary.
        """
        return self._requests.encode(prompt)

    def decoder(self, *, rows: int, max_length: int) -> Decoder:
        """A fresh cache of ``rows`` sequences, with the forward calls over it.

        This is the door for search, speculation and research: see ``Decoder`` and ``KVCache``.
        Raises ContextLengthError where ``max_length`` exceeds the model's context.
        """
        if max_length > self.config.n_positions:
            raise ContextLengthError(
                f"{max_length} tokens do not fit the model's context of "
                f"{self.config.n_positions}: shorten the prompt or ask for fewer new tokens"
            )
        session, chunk = self._session, self.options.prefill_chunk
        session.lifetime.check()
        if session.in_place:
            cache = KVCache(rows, max_length, session.cache_layout, session.spare)
            return Decoder(session, cache, prefill_chunk=chunk)
        growing = GrowingCache(rows, max_length, session.cache_layout, session)
        return GrowingDecoder(session, growing, prefill_chunk=chunk)

    def affordable_rows(self, max_length: int) -> int:
        """Rows of ``max_length`` tokens that ``RuntimeOptions.cache_bytes`` allows, at least 1."""
        row_bytes = max(1, max_length) * self._session.cache_layout.token_bytes
        return max(1, self.options.cache_bytes // row_bytes)

    def _decoder_for(self, groups: Sequence[Sequence[Generation]], num_beams: int) -> Decoder:
        """A decoder with as many rows as there is work for and the cache budget allows."""
        generations = [generation for group in groups for generation in group]
        longest = max((generation.cached_tokens for generation in generations), default=1)
        longest = min(longest, self.config.n_positions)  # past which they slide
        wanted = len(groups) * num_beams if num_beams > 1 else len(generations)
        affordable = self.affordable_rows(longest) // num_beams * num_beams
        rows = max(num_beams, min(wanted, affordable))
        return self.decoder(rows=rows, max_length=longest)
