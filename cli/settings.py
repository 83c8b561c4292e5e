"""Options of generation, and what they become over a model's own defaults."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.options import checked

if TYPE_CHECKING:
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.sampling import SamplingParams
    from gpt2edge.runtime.stopping import StopParams

_SAMPLES_ONLY: Final = ("top_k", "top_p", "min_p", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingFlags:
    """What the command line says about sampling; None where it says nothing."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFlags:
    """What the command line says about where a completion ends."""

    max_new_tokens: int | None
    min_new_tokens: int
    stop: tuple[str, ...]
    ignore_eos: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective settings of a generation, and where each came from."""

    sampling: "SamplingParams"
    stop: "StopParams"
    max_new_tokens: int | None
    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def lines(self) -> list[tuple[str, str, str]]:
        """Name, value and origin of every setting."""
        return [(name, str(value), self.origins[name]) for name, value in self.values.items()]


SAMPLING_OPTIONS: Final = (
    click.option(
        "--temperature",
        "--temp",
        type=float,
        metavar="T",
        help="Spread of the draw; 0 is greedy. Where the model's default is greedy, --top-k, "
        "--top-p, --min-p or --seed without this mean 1.",
    ),
    click.option("--top-k", type=int, metavar="K", help="Draw from the K likeliest; 0 is all."),
    click.option(
        "--top-p", type=float, metavar="P", help="Draw from the likeliest that make up P."
    ),
    click.option(
        "--min-p", type=float, metavar="P", help="Drop those under P times the likeliest."
    ),
    click.option(
        "--repeat-penalty",
        "--repetition-penalty",
        "repetition_penalty",
        type=float,
        metavar="X",
        help="Make tokens seen before less likely; 1 changes nothing.",
    ),
    click.option("-s", "--seed", type=int, metavar="N", help="The same seed, the same text."),
)

END_OPTIONS: Final = (
    click.option("-n", "--max-new-tokens", type=int, metavar="N", help="At most N new tokens."),
    click.option(
        "--min-new-tokens",
        type=int,
        default=0,
        metavar="N",
        help="No end before N new tokens.",
    ),
    click.option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        help="End before TEXT; may be given more than once.",
    ),
    click.option("--ignore-eos", is_flag=True, help="Go on past the end-of-text token."),
)


def resolve(sampling: SamplingFlags, ending: EndFlags, engine: "Engine") -> Settings:
    """Effective settings: a flag wins over the model's generation_config.json, that over ours."""
    from gpt2edge.runtime.sampling import SamplingParams
    from gpt2edge.runtime.stopping import StopParams

    values, origins = _sampling(sampling, engine)
    keys = engine.model.generation_config
    values["max_new_tokens"] = ending.max_new_tokens or engine.defaults.max_new_tokens
    origins["max_new_tokens"] = _origin(ending.max_new_tokens, "max_new_tokens", keys)
    for name in ("min_new_tokens", "stop", "ignore_eos"):
        values[name] = value = getattr(ending, name)
        origins[name] = "flag" if value else "default"
    names = {field.name for field in fields(SamplingFlags)}
    return Settings(
        sampling=SamplingParams(**{name: values[name] for name in names}),
        stop=StopParams(
            strings=tuple(map(checked, ending.stop)),
            min_new_tokens=ending.min_new_tokens,
            ignore_eos=ending.ignore_eos,
        ),
        max_new_tokens=ending.max_new_tokens,
        values=values,
        origins=origins,
    )


def _sampling(flags: SamplingFlags, engine: "Engine") -> tuple[dict[str, Any], dict[str, str]]:
    given = {name: value for name, value in asdict(flags).items() if value is not None}
    keys = engine.model.generation_config
    defaults = engine.defaults.sampling
    read = keys if keys.get("do_sample") else {"repetition_penalty": keys.get("repetition_penalty")}
    values = {name: given.get(name, getattr(defaults, name)) for name in asdict(flags)}
    origins = {name: _origin(given.get(name), name, read) for name in values}
    implied = next((name for name in _SAMPLES_ONLY if name in given), None)
    if defaults.temperature == 0 and "temperature" not in given and implied:
        values["temperature"] = 1.0
        origins["temperature"] = f"implied by --{implied.replace('_', '-')}"
    return values, origins


def _origin(given: object, name: str, keys: Mapping[str, Any]) -> str:
    if given is not None:
        return "flag"
    return "generation_config.json" if keys.get(name) is not None else "default"
