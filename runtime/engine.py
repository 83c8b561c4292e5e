"""Engine: a loaded model that generates, streams, batches and scores."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import (
    MODEL,
    check_bool,
    check_callable,
    check_int,
    check_optional,
    check_path,
)
from gpt2edge.errors import ContextLengthError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.arguments import GenerateArguments, check_names, shows_arguments
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.context_window import Overflow
from gpt2edge.runtime.decoding.concat_decoder import decoder_over
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.defaults import GenerationDefaults
from gpt2edge.runtime.decoding.forward import CachedForward
from gpt2edge.runtime.decoding.request import Prompt, Request, RequestBuilder, cache_needs
from gpt2edge.runtime.decoding.scheduler import Scheduler
from gpt2edge.runtime.decoding.scoring import Window, measure_perplexity, score_completions
from gpt2edge.runtime.decoding.stream import Stream
from gpt2edge.runtime.options import RuntimeArguments, RuntimeOptions
from gpt2edge.runtime.ort.background_load import BackgroundLoad
from gpt2edge.runtime.ort.session import ONNXRUNTIME, Session
from gpt2edge.runtime.pooling import Pooling, check_pooling, pooled
from gpt2edge.runtime.results import Completion, Perplexity, Score
from gpt2edge.runtime.system.cpu import warn_of_saturation

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gpt2edge.inside.scope import Inside
    from gpt2edge.runtime.cache.prompt_cache import PromptCache
    from gpt2edge.runtime.speculative.speculation import Speculator


@shows_arguments(RuntimeArguments, asdict(RuntimeOptions()))
def load(
    model: str | os.PathLike[str] | None = None,
    *,
    pull: bool = False,
    **options: "Unpack[RuntimeArguments]",
) -> "Engine":
    """Load a model folder, a stored model by its name, or the bundled storyteller model.

    With ``pull``, a model that is not there is fetched from the Hugging Face Hub, exported and
    stored, as by ``gpt2edge pull``; ``owner/name:recipe`` quantizes it. ``RuntimeOptions``
    describes the options. Raises ModelNotFoundError or another ModelDirError, HubError where the
    model cannot be fetched, ProviderError where the device or a provider cannot be used, TypeError
    for an unknown option, ValueError for a wrong value.
    """
    check_names("load", options, RuntimeArguments)
    check_bool("pull", pull)
    if pull and model is not None:
        check_path("model", model, MODEL)
        model = _fetched(Path(model)) or model
    return Engine(BUNDLED_MODEL if model is None else model, RuntimeOptions(**options))


def _fetched(model: Path) -> Path | None:
    """Return the folder of a model fetched from the Hub; None if it is on disk or stored."""
    from gpt2edge import pull  # through the face: it exports and quantizes, and both use engines
    from gpt2edge.store import to_fetch

    wanted = to_fetch(model.as_posix())
    return None if wanted is None else pull(wanted[0], recipe=wanted[1]).path


class Engine:
    """A loaded model. A prompt is text or token ids; an empty one becomes the begin-of-text token.

    Any number of threads may use one engine; each call has a separate cache. A stream is for one
    thread at a time. Pickling stores the folder and the options, and unpickling loads the model
    again; a forked process must load its own engine. ``close``, or the end of a ``with`` block,
    frees the memory once no stream uses it.
    """

    def __init__(
        self, model: str | os.PathLike[str] | BackgroundLoad, options: RuntimeOptions | None = None
    ) -> None:
        check_optional("options", options, RuntimeOptions, "RuntimeOptions")
        if not isinstance(model, BackgroundLoad):
            check_path("model", model, MODEL)
            model = BackgroundLoad(ModelDir.open(model), options or RuntimeOptions())
        self.model, self.options = model.model, (options := model.options)
        self.config = self.model.config
        with self.model.verified() if model.verifies else nullcontext():
            self.tokenizer, self._session = model.tokenizer(), model.session()
            self.defaults = GenerationDefaults.from_dict(self.model.generation_config, self.config)
            warn_of_saturation(self.model.path, self.model.manifest.recipe)
            self.prompt_cache = _prompt_cache(self.model, self._session, self.options)
            self._speculator = _speculator(self.model, self.options)
        self.load_s = perf_counter() - model.started
        self._builder = RequestBuilder(
            self.model, self.tokenizer, self.defaults, self.load_s, Overflow.of(options.overflow)
        )
        self._inside: Inside | None = None

    def __repr__(self) -> str:
        recipe, config = self.model.manifest.recipe_name, self.config
        sizes = f"n_positions={config.n_positions}, vocab_size={config.vocab_size}"
        return f"Engine({str(self.model.path)!r}, recipe={recipe!r}, {sizes})"

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type["Engine"], tuple[Path, RuntimeOptions]]:
        return type(self), (self.model.path.resolve(), self.options)

    def close(self) -> None:
        """Free the memory. Later calls, and streams that still run, raise Gpt2EdgeError."""
        self._session.close()
        if self._inside is not None:
            self._inside.close()
        self.prompt_cache = self._speculator = None

    @shows_arguments(GenerateArguments)
    def generate(self, prompt: Prompt, **arguments: "Unpack[GenerateArguments]") -> Completion:
        """Complete one prompt; ``GenerateArguments`` describes the arguments.

        Raises ContextLengthError where prompt and completion must fit the context and do not,
        TypeError for an unknown argument, ValueError for a wrong value.
        """
        requests = self._builder.build("generate", [prompt], 1, arguments)
        stream: Stream[Completion] = self._stream(requests, single=True)
        return stream.finish()

    @shows_arguments(GenerateArguments)
    def stream(
        self, prompt: Prompt, **arguments: "Unpack[GenerateArguments]"
    ) -> Stream[Completion]:
        """Complete one prompt as a stream of ``Chunk``, one a token, to iterate or to await.

        The joined texts equal the text that ``generate`` returns for the same arguments.
        """
        requests = self._builder.build("stream", [prompt], 1, arguments)
        return self._stream(requests, single=True)

    @shows_arguments(GenerateArguments)
    def generate_batch(
        self, prompts: Sequence[Prompt], *, n: int = 1, **arguments: "Unpack[GenerateArguments]"
    ) -> list[Completion]:
        """Return ``n`` completions of each prompt, in the order of the prompts.

        All are decoded as one batch on one cache; the samples of a prompt share one prefill. Sample
        ``i`` of a prompt draws from the random stream (seed, i). Its text is the same in any batch
        in float32, in ``int8-block``, and where ``Decoder.batch_invariant``.
        """
        requests = self._builder.build("generate_batch", prompts, n, arguments)
        stream: Stream[list[Completion]] = self._stream(requests, single=False)
        return stream.finish()

    @shows_arguments(GenerateArguments)
    def stream_batch(
        self, prompts: Sequence[Prompt], *, n: int = 1, **arguments: "Unpack[GenerateArguments]"
    ) -> Stream[list[Completion]]:
        """Stream the completions of ``generate_batch``; ``Chunk.index`` numbers the completion.

        Completion ``index`` is sample ``index % n`` of prompt ``index // n``.
        """
        requests = self._builder.build("stream_batch", prompts, n, arguments)
        return self._stream(requests, single=False)

    @shows_arguments(GenerateArguments)
    def request(
        self, prompt: Prompt, *, n: int = 1, **arguments: "Unpack[GenerateArguments]"
    ) -> Request:
        """Build a request for ``n`` completions of one prompt, to queue on a scheduler."""
        (request,) = self._builder.build("request", [prompt], n, arguments)
        return request

    @shows_arguments(GenerateArguments)
    def requests(
        self, prompts: Sequence[Prompt], *, n: int = 1, **arguments: "Unpack[GenerateArguments]"
    ) -> list[Request]:
        """Build a request for each prompt; where no seed is given, all share one random seed."""
        return self._builder.build("requests", prompts, n, arguments)

    def scheduler(
        self, *, rows: int, max_length: int | None = None, chunks_per_step: int | None = 1
    ) -> Scheduler:
        """Return a scheduler of ``rows`` sequences, for servers and custom decoding loops.

        A row holds ``max_length`` tokens, by default the model's context. Raises
        ContextLengthError where ``max_length`` exceeds the context.
        """
        decoder = self.decoder(rows=rows, max_length=max_length or self.config.n_positions)
        forward = CachedForward(decoder, self.prompt_cache)
        return Scheduler(decoder, forward=forward, chunks_per_step=chunks_per_step)

    def _stream(self, requests: Sequence[Request], *, single: bool) -> Stream[Any]:
        """Decode ``requests`` on as many rows as they fill and the cache budget allows."""
        wanted, beams, longest = cache_needs(requests, self.config.n_positions)
        affordable = self.affordable_rows(longest) // beams * beams
        decoder = self.decoder(rows=max(beams, min(wanted, affordable)), max_length=longest)
        forward = CachedForward(decoder, self.prompt_cache)
        scheduler = Scheduler(decoder, forward=forward, speculator=self._speculator)
        for request in requests:
            scheduler.add(request)
        return Stream(requests, scheduler.run(), decoder, single=single)

    def score(self, prompt: Prompt, completions: Sequence[Prompt]) -> list[Score]:
        """Return how likely each of ``completions`` is after ``prompt``, prefilled once."""
        prompt_ids, encoded, texts = self._builder.encode_pairs(prompt, completions)
        longest = len(prompt_ids) + max(map(len, encoded), default=1) - 1
        decoder = self.decoder(rows=1, max_length=longest)
        return score_completions(decoder, prompt_ids, encoded, texts)

    def perplexity(
        self,
        text: Prompt,
        *,
        stride: int | None = None,
        context: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Perplexity:
        """Measure the perplexity of a text by a window of ``context`` tokens, moved by ``stride``.

        ``context`` is the model's by default, ``stride`` half of it; where they are equal, the
        first token of a window has no context and is not scored. The text's first token follows the
        begin-of-text token; without one, or with ``add_special_tokens`` False, it is not scored.
        ``progress`` is called with the number of tokens scored and their total. Where the tokens
        do not decode to the whole text, bits per byte are None and a warning is logged.
        """
        window = Window.of(context, stride, self.config.n_positions)
        check_callable("progress", progress)
        token_ids, nbytes = self._builder.encode_to_score(text)
        decoder = self.decoder(rows=1, max_length=min(window.context, len(token_ids)))
        return measure_perplexity(decoder, token_ids, window, nbytes=nbytes, progress=progress)

    def logits(self, prompt: Prompt) -> NDArray[np.float32]:
        """Return the logits [tokens, vocab_size or labels] after every token of ``prompt``."""
        token_ids = self._builder.encode(prompt, ends=True)
        decoder = self.decoder(rows=1, max_length=len(token_ids))
        return np.concatenate(list(decoder.prefill_all(0, token_ids)))

    def embed(
        self, prompt: Prompt, *, pooling: Pooling = "mean", normalize: bool = True
    ) -> NDArray[np.float32]:
        """Return an embedding [n_embd] of a text: its pooled hidden states, as the head reads them.

        ``pooling`` is their mean, or the last token's. With ``normalize`` the vector has length 1.
        Raises UnsupportedError for a model of profile portable.
        """
        check_pooling(pooling, normalize)
        token_ids = self._builder.encode(prompt, ends=True)
        decoder = self.decoder(rows=1, max_length=len(token_ids))
        states = np.concatenate(list(decoder.hidden_states(0, token_ids)))  # [tokens, n_embd]
        return pooled(states, pooling, normalize=normalize)

    def inside(self) -> "Inside":
        """Return the values inside the model, to read and to change; loaded on first use.

        Raises InsideError for a graph that gpt2edge did not write.
        """
        from gpt2edge.inside.scope import Inside

        self._session.lifetime.check()
        if self._inside is None:
            self._inside = Inside(self.model, self.options, self._builder)
        return self._inside

    def encode(self, prompt: Prompt, *, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of a prompt; an empty one becomes the begin-of-text token.

        ``add_special_tokens`` False omits the begin-of-text token before a text. Raises ValueError
        for text where the model has no tokenizer, or for an id outside the vocabulary.
        """
        return self._builder.encode(prompt, begins=add_special_tokens)

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of token ids; bytes that are no UTF-8 become U+FFFD.

        Raises ValueError without a tokenizer, or for an id outside the vocabulary.
        """
        return self._builder.decode(token_ids, skip_special_tokens=skip_special_tokens)

    def decoder(self, *, rows: int, max_length: int) -> Decoder:
        """Return a decoder over a new cache of ``rows`` sequences of up to ``max_length`` tokens.

        It serves search, speculative decoding and research: see ``Decoder`` and ``KVCache``.
        Raises ContextLengthError where ``max_length`` exceeds the model's context.
        """
        _check_size(rows, max_length, self.config.n_positions)
        return decoder_over(self._session, rows, max_length, self.options.prefill_chunk)

    def affordable_rows(self, max_length: int) -> int:
        """Return how many rows of ``max_length`` tokens ``cache_bytes`` allows; at least 1."""
        check_int("max_length", max_length, 0, 2**63)
        row_bytes = self._session.cache_layout.row_bytes(max(1, max_length))
        return max(1, self.options.cache_bytes // row_bytes)


def _prompt_cache(
    model: ModelDir, session: Session, options: RuntimeOptions
) -> "PromptCache | None":
    """Return the prompt cache that the options ask for; its module is loaded only then."""
    if not (size := options.prompt_cache_bytes):
        return None
    from gpt2edge.runtime.cache.prompt_cache import PromptCache

    return PromptCache.of(model, session.cache_layout, size, ONNXRUNTIME)


def _speculator(model: ModelDir, options: RuntimeOptions) -> "Speculator | None":
    """Return the speculator that the options ask for; its module is loaded only then."""
    if options.speculation is None:
        return None
    from gpt2edge.runtime.speculative.speculation import Speculator

    plain = replace(options, speculation=None, prompt_cache_bytes=0)
    return Speculator.of(options.speculation, model, partial(Engine, options=plain))


def _check_size(rows: int, max_length: int, n_positions: int) -> None:
    """Raise ContextLengthError where ``max_length`` tokens are more than the model's context."""
    check_int("rows", rows, 1, 2**31)
    check_int("max_length", max_length, 0, 2**63)
    if max_length > n_positions:
        raise ContextLengthError(
            f"{max_length} tokens do not fit the model's context of {n_positions}: shorten the "
            "prompt or ask for fewer new tokens"
        )
