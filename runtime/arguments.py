"""The keyword arguments of a call that generates, typed once for all methods that take them."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpt2edge.runtime.context_window import Overflow, Policy
    from gpt2edge.runtime.sampling.params import SamplingParams
    from gpt2edge.runtime.sampling.processors import LogitsProcessor
    from gpt2edge.runtime.text.stopping import StopParams


class SamplingArguments(TypedDict, total=False):
    """The fields of ``SamplingParams``, each as a separate argument."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    bad_words_ids: Sequence[Sequence[int]]
    logit_bias: Mapping[int, float]
    sequence_bias: Sequence[tuple[Sequence[int], float]]
    suppress_tokens: Sequence[int]
    begin_suppress_tokens: Sequence[int]
    forced_bos_token_id: int | None
    forced_eos_token_id: int | Sequence[int] | None
    exponential_decay_length_penalty: tuple[int, float] | None
    encoder_repetition_penalty: float
    encoder_no_repeat_ngram_size: int
    num_beams: int
    length_penalty: float
    early_stopping: bool | Literal["never"]
    seed: int | None


class GenerateArguments(SamplingArguments, total=False):
    """Arguments of ``Engine.generate``, ``stream``, their batches and ``request`` after a prompt.

    ``max_new_tokens`` is the token limit; -1 generates until the text or the context ends, and with
    the overflow policy ``slide`` until the text ends. ``sampling`` replaces the model's default
    parameters; each argument of ``SamplingArguments`` overrides one of them. ``stop`` ends the
    completion at a stop string. ``logprobs`` adds the log-probability of each token, and of that
    many most likely tokens at each step. ``processors`` change the logits before each token is
    chosen. ``overflow`` is the policy where prompt and completion do not fit the context. The text
    omits special tokens unless ``skip_special_tokens`` is False. Arguments left out, or None, take
    the model's defaults from ``generation_config.json``; without that file, decoding is greedy.
    """

    max_new_tokens: int | None
    sampling: "SamplingParams | None"
    stop: "StopParams | str | Sequence[str] | None"
    logprobs: int | None
    processors: "Sequence[LogitsProcessor]"
    overflow: "Overflow | Policy"
    skip_special_tokens: bool | None


def check_names(function: str, given: Mapping[str, Any], arguments: type) -> None:
    """Raise TypeError for an argument of ``function`` that the TypedDict ``arguments`` lacks."""
    known = arguments.__annotations__
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        from difflib import get_close_matches

        alike = get_close_matches(unknown, known, n=1)
        hint = f"did you mean {alike[0]}?" if alike else f"see gpt2edge.{arguments.__name__}"
        raise TypeError(f"{function}() has no argument {unknown!r}; {hint}")


CallableT = TypeVar("CallableT", bound="Callable[..., Any]")


def shows_arguments(
    arguments: type, defaults: Mapping[str, Any] | None = None
) -> "Callable[[CallableT], CallableT]":
    """Give a function that ends in ``**arguments``, a TypedDict, the signature it has in fact.

    ``defaults`` are the values of arguments left out, None where not given.
    """
    values = defaults or {}

    def show(function: CallableT) -> CallableT:
        shown = signature(function)
        own = [item for item in shown.parameters.values() if item.kind != item.VAR_KEYWORD]
        typed = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=values.get(name), annotation=annotation)
            for name, annotation in arguments.__annotations__.items()
        ]
        function.__signature__ = shown.replace(parameters=[*own, *typed])  # type: ignore[attr-defined]
        return function

    return show
