"""Simon Willison's ``llm``: ``llm -m gpt2edge "Once upon a time"``.

Models of the store are there as ``gpt2edge/NAME:VARIANT``, and ``-o model`` takes any folder. They
complete text: a conversation that goes on (``llm -c``) is the text so far with the new prompt
behind it.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from typing import Any, Literal

import llm
from pydantic import Field

from gpt2edge.runtime.engine import Engine, load
from gpt2edge.runtime.results import Completion
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.store import stored_models


class Options(llm.Options):  # type: ignore[misc, unused-ignore]
    """What ``-o NAME VALUE`` sets; what is None comes from the model's own settings."""

    model: str | None = Field(None, description="Model folder, instead of the bundled model")
    threads: int | None = Field(None, description="Threads that it runs on")
    max_new_tokens: int | None = Field(None, description="At most this many new tokens")
    temperature: float | None = Field(None, description="Spread of the draw; 0 is greedy")
    top_k: int | None = Field(None, description="Draw from the k likeliest; 0 is all")
    top_p: float | None = Field(None, description="Draw from the likeliest that make up p")
    min_p: float | None = Field(None, description="Drop those under p times the likeliest")
    repetition_penalty: float | None = Field(
        None, description="Make tokens seen before less likely; 1 changes nothing"
    )
    num_beams: int | None = Field(None, description="Beam search of this width")
    seed: int | None = Field(None, description="The same seed and prompt, the same text")
    stop: str | None = Field(None, description="End before this text")
    overflow: Literal["error", "truncate-left", "slide"] = Field(
        "error", description="Past the context: error, truncate-left or slide"
    )


@cache
def _engine(model: str | None, threads: int | None) -> Engine:
    return load(model, threads=threads)


class _Shared:
    """What the waiting and the awaiting model have in common."""

    can_stream = True

    def __init__(self, stored: str | None = None) -> None:
        self._stored = stored
        self.model_id = f"gpt2edge/{stored}" if stored else "gpt2edge"

    def _call(self, prompt: Any, conversation: Any, texts: list[str]) -> tuple[Engine, str, Any]:
        """The engine, the whole text to complete, and the arguments of the completion."""
        if prompt.system:
            raise llm.ModelError("gpt2edge completes text and knows no system prompt: leave it out")
        before = "".join(
            said.prompt.prompt + text
            for said, text in zip(
                conversation.responses if conversation else [], texts, strict=True
            )
        )
        options = prompt.options
        engine = _engine(options.model or self._stored, options.threads)
        arguments = {
            "max_new_tokens": options.max_new_tokens,
            "sampling": _sampling(options, engine.defaults.sampling),
            "stop": options.stop,
            "overflow": options.overflow,
        }
        return engine, before + (prompt.prompt or ""), arguments


class Gpt2Edge(_Shared, llm.Model):  # type: ignore[misc, unused-ignore]
    """The bundled model, or one of the store."""

    Options = Options

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        """Yield the completion, in pieces where ``stream``."""
        texts = [said.text() for said in conversation.responses] if conversation else []
        engine, text, arguments = self._call(prompt, conversation, texts)
        if not stream:
            completion = engine.generate(text, **arguments)
            yield completion.text
        else:
            pieces = engine.stream(text, **arguments)
            for chunk in pieces:
                yield chunk.text
            completion = pieces.completion
        _report(response, completion)


class AsyncGpt2Edge(_Shared, llm.AsyncModel):  # type: ignore[misc, unused-ignore]
    """The same for code that awaits."""

    Options = Options

    async def execute(
        self, prompt: Any, stream: bool, response: Any, conversation: Any
    ) -> AsyncIterator[str]:
        """Yield the completion, in pieces where ``stream``."""
        texts = [await said.text() for said in conversation.responses] if conversation else []
        engine, text, arguments = self._call(prompt, conversation, texts)
        pieces = engine.stream(text, **arguments)
        async for chunk in pieces:
            if stream:
                yield chunk.text
        if not stream:
            yield pieces.completion.text
        _report(response, pieces.completion)


@llm.hookimpl  # type: ignore[untyped-decorator, unused-ignore]
def register_models(register: Callable[..., None]) -> None:
    """Tell ``llm`` of the bundled model and of those in the store."""
    for stored in (None, *(model.reference for model in stored_models())):
        register(Gpt2Edge(stored), AsyncGpt2Edge(stored))


def _sampling(options: Any, defaults: SamplingParams) -> SamplingParams:
    """The model's own settings under those given; a draw without a temperature has 1."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "num_beams", "seed")
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    draws = given.keys() & {"top_k", "top_p", "min_p", "seed"}
    if draws and "temperature" not in given and defaults.is_greedy:
        given["temperature"] = 1.0
    base = defaults if given.get("num_beams", 1) == 1 else SamplingParams(temperature=0.0)
    values = {name: getattr(base, name) for name in SamplingParams.__dataclass_fields__}
    return SamplingParams(**{**values, **given})


def _report(response: Any, completion: Completion) -> None:
    timing = completion.timing
    response.set_usage(input=timing.prompt_tokens, output=timing.completion_tokens)
    response.response_json = {
        "finish_reason": completion.finish_reason,
        "truncated": completion.truncated,
        "seed": completion.seed,
    }
