"""Simon Willison's ``llm``: ``llm -m gpt2edge "Once upon a time"``.

Models of the store are there as ``gpt2edge/NAME:VARIANT``, and ``-o model`` takes any folder. They
complete text: a conversation that goes on (``llm -c``, ``response.reply()``, ``messages=``) is the
text so far with the new prompt behind it, and nothing between them. Since llm 0.32 that text is in
``prompt.messages``, before it was in the conversation's responses.
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
"""Whether a prompt holds the whole conversation, as it does since llm 0.32."""


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

    def _call(self, prompt: Any, past: str) -> tuple[Engine, str, Any]:
        """The engine, the whole text to complete, and the arguments of the completion.

        ``past`` is what was said before where ``prompt`` does not hold it.
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
    """The bundled model, or one of the store."""

    Options = Options

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        """Yield the completion, in pieces where ``stream``."""
        past = "".join(
            _own_text(said.prompt) + said.text() for said in _responses_before(conversation)
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
    """The same for code that awaits."""

    Options = Options

    async def execute(
        self, prompt: Any, stream: bool, response: Any, conversation: Any
    ) -> AsyncIterator[str]:
        """Yield the completion, in pieces where ``stream``."""
        past = ""
        for said in _responses_before(conversation):
            past += _own_text(said.prompt) + await said.text()
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
    """Tell ``llm`` of the bundled model and of those in the store."""
    for stored in (None, *(model.reference for model in stored_models())):
        register(Gpt2Edge(stored), AsyncGpt2Edge(stored))


def _responses_before(conversation: Any) -> Sequence[Any]:
    """The earlier responses of a conversation, none where the prompt's messages hold them."""
    return () if _HAS_MESSAGES or conversation is None else tuple(conversation.responses)


def _own_text(prompt: Any) -> str:
    """The text that ``prompt`` holds. Raises llm.ModelError where it holds something else."""
    for name, given in (
        ("system prompt", prompt.system),
        ("attachments", prompt.attachments),
        ("tools", prompt.tools or prompt.tool_results),
    ):
        if given:
            _refuse(name)
    if not _HAS_MESSAGES:
        return prompt.prompt or ""
    return "".join(_message_text(message) for message in prompt.messages)


def _message_text(message: Any) -> str:
    """The text of one message. Raises llm.ModelError for another role or part than text."""
    if message.role not in ("user", "assistant"):
        _refuse("system prompt" if message.role == "system" else f"{message.role} messages")
    for part in message.parts:
        kind = part.to_dict()["type"]
        if kind != "text":
            _refuse(f"{kind} parts".replace("_", " "))
    return "".join(part.text for part in message.parts)


def _refuse(name: str) -> NoReturn:
    raise llm.ModelError(f"gpt2edge completes text and knows no {name}: send text alone")


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
