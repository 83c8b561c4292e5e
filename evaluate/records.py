"""Rows of an evaluation: what was measured of each model, and how."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from gpt2edge._checks import check_type
from gpt2edge.evaluate.estimates import Estimate
from gpt2edge.evaluate.quality import Quality


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and the least and the largest of what it is taken from."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, median: float, values: Sequence[float]) -> "Spread":
        """Return ``median`` with the ends of ``values``."""
        return cls(median, min(values), max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedModel:
    """A row: what was measured of one model; None for what was not.

    ``digest`` is the sha256 over those of the graph and the weights: the same in every folder that
    holds the same model. Of ``quality``, see ``Quality``. ``lambada`` and ``blimp`` are shares of
    right answers. ``prefill_ts`` and ``decode_ts`` are tokens per second, ``first_token_ms`` the
    milliseconds from the call to the first token, each with the least and the largest repetition.
    """

    name: str
    path: str
    recipe: str
    digest: str
    nbytes: int
    quality: Quality | None = None
    lambada: Estimate | None = None
    blimp: Estimate | None = None
    prefill_ts: Spread | None = None
    decode_ts: Spread | None = None
    first_token_ms: Spread | None = None
    peak_rss_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The processor, the threads and the onnxruntime that speeds were measured with."""

    cpu: str
    threads: int
    onnxruntime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The rows of several models, the first being the reference, and how they were measured.

    ``text`` is the name of the text and ``text_sha256`` its digest; ``prefill`` and ``decode`` are
    the tests in llama-bench's terms; ``passages`` and ``pairs`` count LAMBADA's and BLiMP's.
    """

    models: tuple[EvaluatedModel, ...]
    machines: tuple[Machine, ...]
    text: str | None = None
    text_sha256: str | None = None
    context: int | None = None
    stride: int | None = None
    passages: int | None = None
    pairs: int | None = None
    prefill: str | None = None
    decode: str | None = None
    repetitions: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and texts, for JSON; ``from_dict`` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Evaluation":
        """Return what ``to_dict`` was made of. Raises ValueError for anything else."""
        check_type("values", values, dict, "a dict, as of to_dict")
        try:
            given = dict(values)
            models = tuple(_model(dict(row)) for row in given.pop("models"))
            machines = tuple(Machine(**each) for each in given.pop("machines"))
            found = cls(models=models, machines=machines, **given)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"these are no rows of evaluate: {error}") from None
        if not models or not machines:
            raise ValueError("these are no rows of evaluate: there is no model, or no machine")
        return found


def _model(row: dict[str, Any]) -> EvaluatedModel:
    """Read a row of ``to_dict``."""
    if (quality := row.get("quality")) is not None:
        estimates = ("perplexity", "bits_per_byte", "increase", "kl", "top1")
        row["quality"] = Quality(**{**quality, **_records(quality, estimates, Estimate)})
    row |= _records(row, ("lambada", "blimp"), Estimate)
    row |= _records(row, ("prefill_ts", "decode_ts", "first_token_ms"), Spread)
    missing = {field.name for field in fields(EvaluatedModel)} - row.keys()
    if missing:
        raise ValueError(f"a model has no {min(missing)!r}")
    return EvaluatedModel(**row)


def _records(row: dict[str, Any], names: Sequence[str], kind: type[Any]) -> dict[str, Any]:
    """Make records of the objects under ``names``; JSON's null in one is NaN."""
    found = {name: dict(row[name]) for name in names if row.get(name) is not None}
    for keys in found.values():
        keys.update({key: math.nan for key, value in keys.items() if value is None})
    return {name: kind(**keys) for name, keys in found.items()}
