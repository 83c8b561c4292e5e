"""The plugin for Simon Willison's ``llm``: ``llm -m gpt2edge "Once upon a time"``.

Models of the store are named ``gpt2edge/NAME:VARIANT``, and ``-o model`` accepts any folder. They
complete text: a continued conversation (``llm -c``, ``response.reply()``, ``messages=``) is the
text so far followed directly by the new prompt. Since llm 0.32 that text is in
``prompt.messages``, before in the conversation's responses.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final, Literal, NoReturn

import llm
from pydantic import Field

from gpt2edge.runtime.engine import Engine, load
from gpt2edge.runtime.results import Completion
from gpt2edge.runtime.sampling.merge import merge_sampling
from gpt2edge.runtime.sampling.params import GREEDY, SamplingParams
from gpt2edge.store import stored_models

_HAS_MESSAGES: Final = hasattr(llm.Prompt, "messages")
"""True if a prompt holds the whole conversation, as since llm 0.32."""


class Options(llm.Options):  # type: ignore[misc, unused-ignore]
    """The options of ``-o NAME VALUE``; None means the model's default."""

    model: str | None = Field(None, description="Model folder, instead of the bundled model")
    threads: int | None = Field(None, description="Threads that it runs on")
    max_new_tokens: int | None = Field(None, description="At most this many new tokens")
    temperature: float | None = Field(None, description="Sampling temperature; 0 is greedy")
    top_k: int | None = Field(None, description="Sample from the k most probable tokens; 0 is all")
    top_p: float | None = Field(
        None, description="Nucleus sampling: the smallest set of tokens with total probability p"
    )
    min_p: float | None = Field(
        None, description="Drop tokens below p times the probability of the most probable one"
    )
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
    """The common part of the synchronous and the asynchronous model."""

    can_stream = True

    def __init__(self, stored: str | None = None) -> None:
        self._stored = stored
        self.model_id = f"gpt2edge/{stored}" if stored else "gpt2edge"

    def _call(self, prompt: Any, past: str) -> tuple[Engine, str, Any]:
        """Return the engine, the whole text to complete, and the arguments of the completion.

        ``past`` is the conversation so far, if ``prompt`` does not hold it.
        """
        text = past + _own_text(prompt)
        options = prompt.options
        engine = _engine(options.model or self._stored, options.threads)
        arguments = {
            "max_new_tokens": options.max_new_tokens,
            "sampling": _sampling(options, engine.defaults.sampling),
            "stop": options.stop,
            "overflow": options.overflow,
        }
        return engine, text, arguments


class Gpt2Edge(_Shared, llm.Model):  # type: ignore[misc, unused-ignore]
    """The bundled model, or a model of the store."""

    Options = Options

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        """Yield the completion, in pieces where ``stream``."""
        past = "".join(
            _own_text(earlier.prompt) + earlier.text()
            for earlier in _responses_before(conversation)
        )
        engine, text, arguments = self._call(prompt, past)
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
    """The asynchronous form of ``Gpt2Edge``."""

    Options = Options

    async def execute(
        self, prompt: Any, stream: bool, response: Any, conversation: Any
    ) -> AsyncIterator[str]:
        """Yield the completion, in pieces where ``stream``."""
        past = ""
        for earlier in _responses_before(conversation):
            past += _own_text(earlier.prompt) + await earlier.text()
        engine, text, arguments = self._call(prompt, past)
        pieces = engine.stream(text, **arguments)
        async for chunk in pieces:
            if stream:
                yield chunk.text
        if not stream:
            yield pieces.completion.text
        _report(response, pieces.completion)


@llm.hookimpl  # type: ignore[untyped-decorator, unused-ignore]
def register_models(register: Callable[..., None]) -> None:
    """Register the bundled model and the models of the store with ``llm``."""
    for stored in (None, *(model.reference for model in stored_models())):
        register(Gpt2Edge(stored), AsyncGpt2Edge(stored))


def _responses_before(conversation: Any) -> Sequence[Any]:
    """Return a conversation's earlier responses; none if the prompt's messages hold them."""
    return () if _HAS_MESSAGES or conversation is None else tuple(conversation.responses)


def _own_text(prompt: Any) -> str:
    """Return the text of ``prompt``. Raises llm.ModelError if it holds anything else."""
    for name, value in (
        ("system prompt", prompt.system),
        ("attachments", prompt.attachments),
        ("tools", prompt.tools or prompt.tool_results),
    ):
        if value:
            _refuse(name)
    if not _HAS_MESSAGES:
        return prompt.prompt or ""
    return "".join(_message_text(message) for message in prompt.messages)


def _message_text(message: Any) -> str:
    """Return the text of one message. Raises llm.ModelError for other roles and parts."""
    if message.role not in ("user", "assistant"):
        _refuse("system prompt" if message.role == "system" else f"{message.role} messages")
    for part in message.parts:
        kind = part.to_dict()["type"]
        if kind != "text":
            _refuse(f"{kind} parts".replace("_", " "))
    return "".join(part.text for part in message.parts)


def _refuse(name: str) -> NoReturn:
    raise llm.ModelError(f"gpt2edge completes text and supports no {name}: send only text")


def _sampling(options: Any, defaults: SamplingParams) -> SamplingParams:
    """Return the model's own settings under those given; beams start from greedy ones instead."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "num_beams", "seed")
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value is not None}
    return merge_sampling(defaults if given.get("num_beams", 1) == 1 else GREEDY, given)[0]


def _report(response: Any, completion: Completion) -> None:
    timing = completion.timing
    response.set_usage(input=timing.prompt_tokens, output=timing.completion_tokens)
    response.response_json = {
        "finish_reason": completion.finish_reason,
        "truncated": completion.truncated,
        "seed": completion.seed,
    }
