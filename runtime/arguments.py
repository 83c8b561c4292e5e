"""The keyword arguments of a call that generates, typed once for all methods that take them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar

from gpt2edge._checks import check_int
from gpt2edge.runtime.sampling.params import MAX_BEAMS, SamplingParams

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpt2edge.runtime.decoding.context_window import Overflow, Policy
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

    ``max_new_tokens`` is the token limit. ``sampling`` replaces the model's default parameters;
    each argument of ``SamplingArguments`` overrides one of them. ``stop`` ends the completion at a
    stop string. ``logprobs`` adds the log-probability of each token, and of that many most likely
    tokens at each step. ``processors`` change the logits before each token is chosen. ``overflow``
    is the policy where prompt and completion do not fit the context. The text omits special tokens
    unless ``skip_special_tokens`` is False. Arguments left out, or None, take the model's defaults
    from ``generation_config.json``; without that file, decoding is greedy.
    """

    max_new_tokens: int | None
    sampling: SamplingParams | None
    stop: "StopParams | str | Sequence[str] | None"
    logprobs: int | None
    processors: "Sequence[LogitsProcessor]"
    overflow: "Overflow | Policy"
    skip_special_tokens: bool | None


SAMPLING_FIELDS: Final = tuple(field.name for field in fields(SamplingParams))
_ONLY_TO_SAMPLE: Final = ("top_k", "top_p", "min_p", "typical_p", "seed")
_NO_DRAW: Final = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}


def merge_sampling(
    defaults: SamplingParams, given: Mapping[str, Any]
) -> tuple[SamplingParams, dict[str, str]]:
    """Return ``defaults`` with the fields in ``given`` and the fields that they imply.

    A field that only sampling uses implies temperature 1 where the defaults are greedy. Beams imply
    the values that turn sampling off. The second result maps each implied field to the given field
    that implies it.
    """
    implied: dict[str, Any] = {}
    cause = next((name for name in _ONLY_TO_SAMPLE if name in given), "")
    if check_int("num_beams", given.get("num_beams", 1), 1, MAX_BEAMS) > 1:
        cause = "num_beams"
        implied = {name: value for name, value in _NO_DRAW.items() if name not in given}
        implied = {name: v for name, v in implied.items() if getattr(defaults, name) != v}
    elif cause and "temperature" not in given and defaults.temperature == 0:
        implied = {"temperature": 1.0}
    return replace(defaults, **{**implied, **given}), dict.fromkeys(implied, cause)


def check_names(method: str, given: Mapping[str, Any]) -> None:
    """Raise TypeError for an argument that ``GenerateArguments`` does not have."""
    unknown = next((name for name in given if name not in GenerateArguments.__annotations__), None)
    if unknown is not None:
        from difflib import get_close_matches

        alike = get_close_matches(unknown, GenerateArguments.__annotations__, n=1)
        hint = f"did you mean {alike[0]}?" if alike else "see gpt2edge.GenerateArguments"
        raise TypeError(f"{method}() has no argument {unknown!r}; {hint}")


CallableT = TypeVar("CallableT", bound="Callable[..., Any]")


def shows_arguments(method: CallableT) -> CallableT:
    """Replace ``**arguments`` in the signature of ``method`` by the arguments that it accepts."""
    own = [item for item in signature(method).parameters.values() if item.kind != item.VAR_KEYWORD]
    typed = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in GenerateArguments.__annotations__.items()
    ]
    result = signature(method).return_annotation
    method.__signature__ = Signature([*own, *typed], return_annotation=result)  # type: ignore[attr-defined]
    return method
