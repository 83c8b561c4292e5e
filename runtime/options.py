"""Options of an engine: how a model runs, where, and how speculative decoding guesses tokens.

Speculative decoding changes the speed and nothing else: the sampler draws each token from the
model's own logits, and a guess that differs from the token drawn is rejected. Text,
log-probabilities and random stream are those of plain decoding, up to the rounding of a call with
more tokens.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from gpt2edge._checks import (
    MODEL,
    argument_error,
    check_bool,
    check_int,
    check_list,
    check_path,
    check_text,
    check_type,
)
from gpt2edge._repr import changed_fields
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.runtime.context_window import Overflow, Policy

_WIDEST = 15
KV_CACHES = ("float32", "float16", "int8")
"""Types of the elements of a KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLookup:
    """Guess the tokens that followed an earlier occurrence of the last tokens (Saxena 2023).

    Use it for texts that repeat their prompt: quotes, summaries, edits of code. ``min_ngram`` to
    ``max_ngram`` tokens must match; the longest match wins, and the last of several occurrences.
    At most ``max_tokens`` are guessed at once.
    """

    max_tokens: int = _WIDEST
    min_ngram: int = 2
    max_ngram: int = 5

    def __post_init__(self) -> None:
        check_int("max_tokens", self.max_tokens, 1, _WIDEST)
        check_int("min_ngram", self.min_ngram, 1, 64)
        check_int("max_ngram", self.max_ngram, self.min_ngram, 64)


@dataclass(frozen=True, slots=True)
class DraftModel:
    """Guess tokens with a smaller model that has the same tokenizer (Leviathan et al. 2023).

    The draft model draws with the target's sampling parameters and with the same random numbers,
    so that similar models often draw the same token. At most ``max_tokens`` are guessed at once.
    """

    model: str | os.PathLike[str]
    max_tokens: int = 7

    def __post_init__(self) -> None:
        check_path("model", self.model, MODEL)
        check_int("max_tokens", self.max_tokens, 1, _WIDEST)


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider: onnxruntime's name, or a short one ("openvino"), and its options."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("name", self.name, empty=False)
        check_type("options", self.options, Mapping, "a mapping of names to texts")

    @classmethod
    def of(cls, text: str) -> "Provider":
        """Parse ``NAME`` or ``NAME:key=value,key=value``. Raises ValueError for another form."""
        name, colon, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",")] if colon else []
        if not name or not all(key and equals for key, equals, _ in pairs):
            raise ArgumentError(
                Argument("providers"),
                f" holds {text!r}; write NAME or NAME:key=value,key=value, such as "
                "'openvino:device_type=CPU'",
            )
        return cls(name, {key.strip(): value.strip() for key, _, value in pairs})

    @property
    def device_id(self) -> int:
        """Number of the device among several of its kind, from 0."""
        number = str(self.options.get("device_id", 0))
        if not (number.isascii() and number.isdecimal()):
            raise ValueError(f"device_id is {number!r}; it must be a whole number from 0 on")
        return int(number)


class RuntimeArguments(TypedDict, total=False):
    """The fields of ``RuntimeOptions``, each as an argument of ``load``."""

    device: str
    providers: Sequence[Provider | str]
    threads: int | None
    spinning: bool
    prefill_chunk: int
    cache_bytes: int
    kv_cache: str | None
    huge_pages: bool
    verify: bool
    prompt_cache_bytes: int
    speculation: PromptLookup | DraftModel | None
    overflow: Overflow | Policy
    add_special_tokens: bool | None
    tensors: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How a model runs.

    ``providers`` are onnxruntime's execution providers, in order of preference, by name, as text
    with options ("openvino:device_type=CPU") or as ``Provider``; without them ``device`` is
    "cpu" or "cuda". Providers other than the CPU's need a model of profile portable, or an export
    by Optimum. ``threads`` None uses all cores that CPU affinity and cgroup allow. With
    ``spinning`` the threads wait for the next operator in a busy loop for half a millisecond
    before they sleep. Prefill processes a prompt in chunks of ``prefill_chunk`` tokens.
    ``cache_bytes`` limits the KV cache of one batched call, in bytes. ``kv_cache`` is the type of
    its elements where the kernels of gpt2edge attend: "float32", "float16" or "int8"; None takes
    int8 where the model's folder asks for it, else float16 for a quantized model and float32 for
    one in float32. ``huge_pages`` moves the
    weights to huge pages when decoding begins, where the system allows it (Linux). With
    ``verify`` the checksum of every file is compared with the manifest while the model loads,
    unless an earlier start found the file intact and it has not changed since
    (``ModelDir.damaged_files`` always hashes every file). ``prompt_cache_bytes`` is the size of a
    cache of prompts' keys and values: a prompt that shares a prefix with an earlier one computes
    only its new tokens. ``speculation`` guesses tokens of a generation that is decoded alone.
    ``overflow`` is the policy where a prompt and its completion do not fit the context, for calls
    that give none. ``add_special_tokens`` sets whether each text prompt begins with the
    begin-of-text token; None follows the template in ``tokenizer.json``, as in transformers. Tokens
    that the template puts after a text are used by classifiers only, because a prompt is to be
    continued. ``tensors`` are used in place of the folder's float32 tensors of these names, such as
    biases that steer (``gpt2edge.inside.steered``).
    """

    device: str = "cpu"
    providers: Sequence[Provider | str] = ()
    threads: int | None = None
    spinning: bool = True
    prefill_chunk: int = 256
    cache_bytes: int = 1 << 30
    kv_cache: str | None = None
    huge_pages: bool = True
    verify: bool = True
    prompt_cache_bytes: int = 0
    speculation: PromptLookup | DraftModel | None = None
    overflow: Overflow | Policy = "error"
    add_special_tokens: bool | None = None
    tensors: Mapping[str, Any] | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return changed_fields(self)

    def __post_init__(self) -> None:
        if self.threads is not None:
            check_int("threads", self.threads, 1, 1024)
        check_text("device", self.device)
        for provider in check_list("providers", self.providers, "a list of names or Provider"):
            check_type("providers", provider, (str, Provider), "a list of names or Provider")
            if isinstance(provider, str):
                Provider.of(provider)
        check_int("prefill_chunk", self.prefill_chunk, 1, 2**31)
        check_int("cache_bytes", self.cache_bytes, 1, 2**63)
        if self.kv_cache is not None and self.kv_cache not in KV_CACHES:
            allowed = f"{', '.join(map(repr, KV_CACHES))} or None"
            raise argument_error("kv_cache", self.kv_cache, allowed)
        check_int("prompt_cache_bytes", self.prompt_cache_bytes, 0, 2**63)
        for name in ("spinning", "huge_pages", "verify"):
            check_bool(name, getattr(self, name))
        if self.speculation is not None:
            kinds = "PromptLookup, DraftModel or None"
            check_type("speculation", self.speculation, (PromptLookup, DraftModel), kinds)
        Overflow.of(self.overflow)
        if self.add_special_tokens is not None:
            check_bool("add_special_tokens", self.add_special_tokens)
        if self.tensors is not None:
            check_type("tensors", self.tensors, Mapping, "a mapping of names to arrays, or None")
