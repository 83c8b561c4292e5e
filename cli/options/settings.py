"""Generation options merged over a model's own defaults."""

from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gpt2edge.cli.options.common import checked, parse_ids
from gpt2edge.cli.options.sampling import EndFlags, ExtentFlags, SamplingFlags

if TYPE_CHECKING:
    from gpt2edge.runtime.context_window import Overflow
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.sampling.params import SamplingParams
    from gpt2edge.runtime.text.stopping import StopParams

_EARLY_STOPPING: Final = {"true": True, "false": False, "never": "never"}


_USUAL: Final = {"temperature": 0.8, "top_p": 0.95}
"""Sampling of ``generate`` where the model's config chooses none."""
_IN_A_SEARCH: Final = {"temperature": 0.8}
"""As ``runtime/search/candidates.py`` has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings of a generation, and where each came from."""

    sampling: "SamplingParams"
    stop: "StopParams"
    overflow: "Overflow"
    max_new_tokens: int | None
    values: Mapping[str, Any]
    origins: Mapping[str, str]
    is_unchosen: bool
    """Whether greedy decoding is nobody's choice: neither an option's nor the model's."""

    def lines(self) -> list[str]:
        """Explain the settings, by where they come from; those at their defaults are counted."""
        found: dict[str, list[str]] = {}
        for name, value in self.values.items():
            found.setdefault(self.origins[name], []).append(f"{name} {value}")
        usual = len(found.pop("default", ()))
        head = {"flag": "by your options", "generation_config.json": "by the model's config"}
        lines = [f"{head.get(origin, origin)}: {', '.join(of)}" for origin, of in found.items()]
        return [*lines, f"at their defaults: {usual} other settings, which --json lists"]


def resolve(
    sampling: SamplingFlags,
    ending: EndFlags,
    engine: "Engine",
    extent: ExtentFlags | None = None,
    *,
    sample: str = "",
) -> Settings:
    """Resolve the settings: flags, then the model's generation_config.json, then our defaults.

    A command without beams and overflow gives no ``extent``. ``sample`` is the reason to sample
    where neither the flags nor the model say how to decode.
    """
    from gpt2edge.runtime.context_window import Overflow

    read = partial(checked, escape=ending.escape)
    given = _given(sampling, extent, engine, read)
    params, origins = _merged(given, engine, beams=extent is not None, sample=sample)
    values = {name: getattr(params, name) for name in origins}
    stop = _stop(ending, extent, engine, read)
    ends, end_origins = _ends(stop, ending, extent, engine)
    values |= ends
    origins |= end_origins
    overflow = Overflow()
    if extent is not None:
        policy: Any = extent.overflow
        overflow = Overflow(policy=policy, keep=extent.keep)
        for name, usual in (("overflow", "error"), ("keep", 0)):
            values[name] = getattr(extent, name)
            origins[name] = "flag" if values[name] != usual else "default"
    return Settings(
        sampling=params,
        stop=stop,
        overflow=overflow,
        max_new_tokens=ending.max_new_tokens,
        values=values,
        origins=origins,
        is_unchosen=_is_silent(engine) and params.is_greedy and origins["temperature"] == "default",
    )


def _stop(
    ending: EndFlags,
    extent: ExtentFlags | None,
    engine: "Engine",
    read: Callable[[str], str],
) -> "StopParams":
    """Merge the flags over the model's own end conditions."""
    given: dict[str, Any] = {"ignore_eos": ending.ignore_eos}
    if ending.stop:
        given["strings"] = tuple(map(read, ending.stop))
    if ending.min_new_tokens is not None:
        given |= {"min_new_tokens": ending.min_new_tokens, "min_length": 0}
    if extent is not None and extent.max_time is not None:
        given["max_time"] = extent.max_time
    return replace(engine.defaults.stop, **given)


def _ends(
    stop: "StopParams", ending: EndFlags, extent: ExtentFlags | None, engine: "Engine"
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return values and origins of the end conditions, without lengths that have no effect."""
    defaults, limit = engine.defaults, ending.max_new_tokens
    longest = defaults.max_length if limit is None else None
    values: dict[str, Any] = {
        "max_new_tokens": limit or (defaults.max_new_tokens if longest is None else None),
        "min_new_tokens": stop.min_new_tokens,
        "stop": stop.strings,
        "ignore_eos": stop.ignore_eos,
        "max_time": stop.max_time,
    }
    given: dict[str, Any] = {
        "max_new_tokens": limit,
        "min_new_tokens": ending.min_new_tokens,
        "stop": ending.stop or None,
        "ignore_eos": ending.ignore_eos or None,
        "max_time": extent.max_time if extent else None,
    }
    if longest is not None:
        values["max_length"] = longest
    if stop.min_length:
        values["min_length"] = stop.min_length
    if extent is None:
        del values["max_time"]
    keys = {**engine.model.generation_config}
    keys["stop"] = keys.pop("stop_strings", None)
    return values, {name: _origin(name, values, keys, given.get(name)) for name in values}


def _given(
    sampling: SamplingFlags,
    extent: ExtentFlags | None,
    engine: "Engine",
    read: Callable[[str], str],
) -> dict[str, Any]:
    """Return the given flags by field of ``SamplingParams``; ``read`` unescapes texts."""
    given = {name: value for name, value in asdict(sampling).items() if value not in (None, ())}
    words = [_word(read(text), engine) for text in given.pop("bad_word", ())]
    words += [parse_ids(text) for text in given.pop("bad_words_ids", ())]
    if words:
        given["bad_words_ids"] = words
    if "logit_bias" in given:
        given["logit_bias"] = dict(map(_bias, given["logit_bias"]))
    for name in ("num_beams", "length_penalty", "early_stopping") if extent else ():
        value = getattr(extent, name)
        if value is not None:
            given[name] = _EARLY_STOPPING.get(value, value)
    return given


def _merged(
    given: Mapping[str, Any], engine: "Engine", *, beams: bool, sample: str
) -> "tuple[SamplingParams, dict[str, str]]":
    """Merge the given fields over the model's sampling; return it with every field's origin."""
    from gpt2edge.runtime.decoding.defaults import READ_ALWAYS, READ_TO_SAMPLE
    from gpt2edge.runtime.sampling.merge import merge_sampling

    keys = engine.model.generation_config
    read = [*READ_ALWAYS, *(READ_TO_SAMPLE if keys.get("do_sample") else ())]
    defaults = engine.defaults.sampling
    defaults = defaults if beams else replace(defaults, num_beams=1)
    usual, reason = _usual(given, engine, beams=beams, sample=sample)
    params, implied = merge_sampling(defaults, {**usual, **given})
    names = [field.name for field in fields(params)]
    origins = {name: _origin(name, read, keys, given.get(name)) for name in names}
    causes = {name: f"implied by {_option(cause)}" for name, cause in implied.items()}
    return params, origins | causes | dict.fromkeys(usual, reason)


def _usual(
    given: Mapping[str, Any], engine: "Engine", *, beams: bool, sample: str
) -> tuple[dict[str, Any], str]:
    """Return the sampling to use where the model chooses none, and the reason to sample."""
    from gpt2edge.runtime.sampling.merge import ONLY_TO_SAMPLE

    cause = next((name for name in ONLY_TO_SAMPLE if name in given), None)
    reason = f"implied by {_option(cause)}" if cause else sample
    if not reason or not _is_silent(engine) or {"temperature", "num_beams"} & given.keys():
        return {}, ""
    usual = _USUAL if beams else _IN_A_SEARCH
    return {name: value for name, value in usual.items() if name not in given}, reason


def _is_silent(engine: "Engine") -> bool:
    """Tell whether the model's generation_config.json does not say how to decode."""
    no_beams = engine.defaults.sampling.num_beams == 1
    return no_beams and engine.model.generation_config.get("do_sample") is None


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _origin(name: str, read: Container[str], keys: Mapping[str, Any], given: object) -> str:
    if given is not None:
        return "flag"
    from_file = keys.get(name) is not None and name in read
    return "generation_config.json" if from_file else "default"


def _word(text: str, engine: "Engine") -> list[int]:
    if not text:
        raise ValueError("--bad-word is empty; give the text that must not be written")
    if engine.tokenizer and not engine.tokenizer.encode(text):
        raise ValueError(f"--bad-word is {text[:40]!r}; the tokenizer has no token for it")
    return engine.encode(text, add_special_tokens=False)


def _bias(text: str) -> tuple[int, float]:
    """Parse a token id and its logit bias, in llama.cpp's notation."""
    for sign in "+-":
        token_id, found, number = text.partition(sign)
        if found and token_id.isascii() and token_id.isdecimal():
            try:
                return int(token_id), float(sign + number)
            except ValueError:
                break
    raise ValueError(f"--logit-bias is {text[:40]!r}; give a token id and a number: 13+2.5")
