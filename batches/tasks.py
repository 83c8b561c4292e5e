"""Tasks: what is done with each row. A task turns rows into results, in any order."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import numpy as np

from gpt2edge.batches.rows import Row
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.runtime.engine import Engine

Result: TypeAlias = dict[str, Any] | str
"""The fields of a row's result, or what went wrong with this row."""

ROW_ERRORS: Final = (Gpt2EdgeError, ValueError, TypeError)
"""Errors that concern the row whose values caused them."""


class RowTask(Protocol):
    """Turns rows into results."""

    def run(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Result]]:
        """Yield every row once with its result, in any order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which field of a row holds each input of a task: ``{"prompt": "question"}``."""

    names: Mapping[str, str] = field(default_factory=dict)

    def text(self, row: Row, name: str) -> str:
        """Return a text. Raises ValueError where the row has none."""
        value = self._value(row, name)
        if not isinstance(value, str):
            raise ValueError(f"{self.of(name)!r} is {value!r:.40}; it must be a text")
        return value

    def prompt(self, row: Row, name: str) -> Any:
        """Return a text or a list of token ids. Raises ValueError where the row has neither."""
        value = self._value(row, name)
        if not isinstance(value, str | list):
            raise ValueError(f"{self.of(name)!r} is {value!r:.40}; it must be a text or token ids")
        return value

    def texts(self, row: Row, name: str) -> list[Any]:
        """Return a list. Raises ValueError where the row has none."""
        value = self._value(row, name)
        if not isinstance(value, list) or not value:
            raise ValueError(f"{self.of(name)!r} is {value!r:.40}; it must be a list of texts")
        return value

    def of(self, name: str) -> str:
        """Return the name of the field that holds an input."""
        return self.names.get(name, name)

    def _value(self, row: Row, name: str) -> Any:
        own = self.of(name)
        if own not in row.fields:
            there = ", ".join(map(repr, list(row.fields)[:5])) or "none"
            raise ValueError(f"the row has no field {own!r}; it has {there}")
        return row.fields[own]


@dataclass(frozen=True, slots=True)
class RowByRow:
    """A task that computes each row alone with ``compute``."""

    compute: Callable[[Row], dict[str, Any]]

    def run(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Result]]:
        """Yield every row with its result, in order."""
        for row in rows:
            try:
                yield row, self.compute(row)
            except ROW_ERRORS as error:
                yield row, str(error)


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores the field ``completions`` after ``prompt``: a log-probability for each.

    ``best`` is the index of the completion with the highest log-probability, ``best_per_token`` of
    that with the highest mean over its tokens.
    """

    INPUTS: ClassVar = ("prompt", "completions")
    engine: Engine
    columns: Columns

    def __call__(self, row: Row) -> dict[str, Any]:
        """Return the scores of a row."""
        scores = self.engine.score(
            self.columns.prompt(row, "prompt"), self.columns.texts(row, "completions")
        )
        sums = [score.logprob for score in scores]
        means = [score.logprob / len(score.token_ids) for score in scores]
        return {
            "logprobs": sums,
            "tokens": [len(score.token_ids) for score in scores],
            "is_greedy": [score.is_greedy for score in scores],
            "best": int(np.argmax(sums)),
            "best_per_token": int(np.argmax(means)),
        }


@dataclass(frozen=True, slots=True)
class Perplexities:
    """Measures the perplexity of the field ``text``."""

    INPUTS: ClassVar = ("text",)
    engine: Engine
    columns: Columns

    def __call__(self, row: Row) -> dict[str, Any]:
        """Return the perplexity of a row."""
        found = self.engine.perplexity(self.columns.prompt(row, "text"))
        return {
            "perplexity": found.perplexity if np.isfinite(found.perplexity) else None,
            "mean_nll": found.mean_nll,
            "bits_per_byte": found.bits_per_byte,
            "tokens": found.tokens,
        }


@dataclass(frozen=True, slots=True)
class Classification:
    """Classifies the field ``text``: the likeliest label, and the probability of each.

    Needs a model of the task sequence-classification. Probabilities are the softmax of the last
    token's logits, as in transformers; a model of one label gives its logit as ``score``.
    """

    INPUTS: ClassVar = ("text",)
    engine: Engine
    columns: Columns
    labels: tuple[str, ...]

    def __call__(self, row: Row) -> dict[str, Any]:
        """Return label and probabilities of a row."""
        logits = self.engine.logits(self.columns.prompt(row, "text"))[-1]  # [labels]
        if logits.size == 1:
            return {"score": float(logits[0])}
        weights = np.exp((logits - logits.max()).astype(np.float64))
        shares = weights / weights.sum()
        names = self.labels or tuple(f"LABEL_{index}" for index in range(logits.size))
        return {
            "label": names[int(shares.argmax())],
            "probabilities": dict(zip(names, shares.tolist(), strict=True)),
        }
