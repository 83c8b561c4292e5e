"""Multiple choice: which continuation the model finds likeliest, by lm-eval's five normalizations.

    acc               the largest sum of log-probabilities
    acc_norm          of it, divided by the characters of the choice
    acc_bytes         by its bytes in UTF-8
    acc_tokens        by its tokens
    acc_mutual_info   less the log-probability after an unconditional prompt ("Answer:")

A choice is scored exactly as it is given: the blank before a word is the user's. Forecasts are
choices with weights of truth: Brier score (0 to 2), log score and calibration of the softmax of the
sums. Every figure stands beside what guessing gives: all choices alike, and the commonest answer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import argument_error, check_callable, check_int, check_list, check_text
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine

METRICS: Final = ("acc", "acc_norm", "acc_bytes", "acc_tokens", "acc_mutual_info")
_BINS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceScores:
    """Scores of one question's choices.

    ``logprobs`` are sums over tokens, in nats; ``unconditional`` the same after the unconditional
    prompt, or empty. ``probs`` are the softmax of the sums. ``greedy`` tells which choice greedy
    decoding would write.
    """

    choices: tuple[str, ...]
    logprobs: tuple[float, ...]
    unconditional: tuple[float, ...]
    tokens: tuple[int, ...]
    greedy: tuple[bool, ...]

    @property
    def probs(self) -> tuple[float, ...]:
        """Softmax of the sums."""
        values = np.array(self.logprobs)
        powers = np.exp(values - values.max())
        return tuple(float(value) for value in powers / powers.sum())

    def normalized(self, metric: str) -> NDArray[np.float64]:
        """Return the scores by which ``metric`` chooses.

        Raises ValueError for an unknown metric, or "acc_mutual_info" without its prompt.
        """
        sums = np.array(self.logprobs)
        if metric == "acc":
            return sums
        if metric == "acc_mutual_info" and self.unconditional:
            return np.asarray(sums - np.array(self.unconditional))
        lengths = {
            "acc_norm": [len(choice) for choice in self.choices],
            "acc_bytes": [len(choice.encode()) for choice in self.choices],
            "acc_tokens": list(self.tokens),
        }
        if metric not in lengths:
            raise argument_error("metric", metric, f"one of {', '.join(METRICS)}")
        return np.asarray(sums / np.array(lengths[metric], float))

    def best(self, metric: str = "acc") -> int:
        """Return the index of the choice with the largest score; the first of equal ones."""
        return int(self.normalized(metric).argmax())

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**asdict(self), "probs": list(self.probs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFigure:
    """A mean over questions, its standard error, and what two ways of guessing give."""

    value: float
    standard_error: float
    uniform: float
    commonest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceReport:
    """Figures over all questions by name, and the scores of each.

    "brier" and "log_score" (nats) are of the softmax, lower is better; ``ece`` is the expected
    calibration error over ten bins of the likeliest choice's probability.
    """

    questions: int
    figures: dict[str, ChoiceFigure]
    ece: float
    scores: tuple[ChoiceScores, ...]
    answers: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "questions": self.questions,
            "figures": {name: asdict(figure) for name, figure in self.figures.items()},
            "ece": self.ece,
            "rows": [
                {**scores.as_dict(), "answer": answer}
                for scores, answer in zip(self.scores, self.answers, strict=True)
            ],
        }


def choose(
    engine: Engine, prompt: Prompt, choices: Sequence[str], *, unconditional: str | None = None
) -> ChoiceScores:
    """Score ``choices`` after ``prompt``, and after ``unconditional`` where it is given.

    Raises ValueError for fewer than two choices, or an empty one.
    """
    given = check_list("choices", choices, "a list of texts")
    if len(given) < 2:
        raise ArgumentError(Argument("choices"), f" has {len(given)}; give two or more")
    for choice in given:
        check_text("choices", choice, empty=False, part="a text in ")
    scores = engine.score(prompt, given)
    alone = engine.score(unconditional, given) if unconditional is not None else []
    return ChoiceScores(
        choices=tuple(given),
        logprobs=tuple(score.logprob for score in scores),
        unconditional=tuple(score.logprob for score in alone),
        tokens=tuple(len(score.token_ids) for score in scores),
        greedy=tuple(score.is_greedy for score in scores),
    )


def evaluate_choices(
    engine: Engine,
    rows: Sequence[Mapping[str, Any]],
    *,
    unconditional: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ChoiceReport:
    """Score rows of "prompt", "choices" and "answer", an index or one of the choices.

    Raises ValueError for a row that lacks one of them or whose answer is none of its choices.
    """
    check_callable("progress", progress)
    given = check_list("rows", rows, "a list of rows")
    if not given:
        raise ArgumentError(Argument("rows"), " is empty; give one question or more")
    checked = [_checked(row, number) for number, row in enumerate(given, 1)]
    scores = []
    for prompt, choices, _ in checked:
        scores.append(choose(engine, prompt, choices, unconditional=unconditional))
        if progress is not None:
            progress(len(scores), len(checked))
    return report(scores, [answer for _, _, answer in checked])


def report(scores: Sequence[ChoiceScores], answers: Sequence[int]) -> ChoiceReport:
    """Return the figures of scored questions."""
    sizes = np.array([len(each.choices) for each in scores])
    truth = np.array(answers)
    common = int(np.bincount(truth).argmax())
    always = (truth == common).mean()
    figures = {}
    for metric in METRICS:
        if metric == "acc_mutual_info" and not all(each.unconditional for each in scores):
            continue
        right = [each.best(metric) == answer for each, answer in zip(scores, truth, strict=True)]
        figures[metric] = _figure(np.array(right, float), (1 / sizes).mean(), float(always))
    shares = np.bincount(truth, minlength=int(sizes.max())) / len(truth)
    probs = [np.array(each.probs) for each in scores]
    same = [np.full(size, 1 / size) for size in sizes]
    known = [_renormalized(shares[:size]) for size in sizes]
    for name, score in (("brier", _brier), ("log_score", _log_score)):
        mine, alike, by_share = (
            np.array([score(p, int(answer)) for p, answer in zip(each, truth, strict=True)])
            for each in (probs, same, known)
        )
        figures[name] = _figure(mine, float(alike.mean()), float(by_share.mean()))
    return ChoiceReport(
        questions=len(scores),
        figures=figures,
        ece=_calibration_error(probs, truth),
        scores=tuple(scores),
        answers=tuple(int(answer) for answer in truth),
    )


def _checked(row: Mapping[str, Any], number: int) -> tuple[str, list[str], int]:
    """Return prompt, choices and the answer's index of a row."""
    missing = [key for key in ("prompt", "choices", "answer") if key not in row]
    if missing:
        raise ArgumentError(
            f"row {number} has no {missing[0]!r}; it must have prompt, choices, answer"
        )
    choices = check_list(f"choices of row {number}", row["choices"], "a list of texts")
    answer = row["answer"]
    if isinstance(answer, str):
        if answer not in choices:
            raise ArgumentError(
                f"the answer of row {number} is {answer!r}, which is none of its choices"
            )
        answer = choices.index(answer)
    check_text(f"prompt of row {number}", row["prompt"])
    return row["prompt"], choices, check_int(f"answer of row {number}", answer, 0, len(choices) - 1)


def _figure(values: NDArray[np.float64], uniform: float, commonest: float) -> ChoiceFigure:
    spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return ChoiceFigure(
        value=float(values.mean()),
        standard_error=spread / math.sqrt(len(values)),
        uniform=float(uniform),
        commonest=commonest,
    )


def _brier(probs: NDArray[np.float64], answer: int) -> float:
    truth = np.zeros(len(probs))
    truth[answer] = 1
    return float(((probs - truth) ** 2).sum())


def _log_score(probs: NDArray[np.float64], answer: int) -> float:
    return -math.log(max(float(probs[answer]), 1e-300))


def _renormalized(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return shares that sum to 1, uniform where none of them occurs."""
    total = shares.sum()
    return shares / total if total else np.full(len(shares), 1 / len(shares))


def _calibration_error(probs: Sequence[NDArray[np.float64]], truth: NDArray[np.int64]) -> float:
    """Return the mean gap of confidence and accuracy over ten bins, weighted by their size."""
    confidence = np.array([each.max() for each in probs])
    right = np.array([each.argmax() == answer for each, answer in zip(probs, truth, strict=True)])
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(confidence[bins == at].mean() - right[bins == at].mean()) * (bins == at).sum()
        for at in range(_BINS)
        if (bins == at).any()
    ]
    return float(sum(gaps) / len(confidence))
