"""Printing what detectors make of a text, and playing the quiz."""

from collections import Counter
from collections.abc import Iterator, Mapping
from math import exp
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.display.output import note, print_json, print_table, quoted
from gpt2edge.cli.display.progress import watched

if TYPE_CHECKING:
    from gpt2edge.cli.options.common import Target
    from gpt2edge.inside.quiz import Question
    from gpt2edge.inside.statistics import TokenStatistics

_COLOURS: Final = {"10": "green", "100": "yellow", "1000": "red", "beyond": "magenta"}
_SAID: Final = {
    "10": "rank 1 to 10",
    "100": "11 to 100",
    "1000": "101 to 1,000",
    "beyond": "beyond",
}
_NOTES: Final = {
    "likelihood": "mean log-probability",
    "rank": "mean rank, negative",
    "logrank": "mean log rank, negative",
    "entropy": "mean entropy",
    "lrr": "LRR",
    "gltr_10": "GLTR, share of rank <= 10",
    "gltr_100": "GLTR, share of rank <= 100",
    "gltr_1000": "GLTR, share of rank <= 1,000",
    "fast_detect_gpt": "Fast-DetectGPT",
}


def print_text(statistics: "TokenStatistics") -> None:
    """Print the text, its tokens painted by rank, and how many there are of each colour."""
    from gpt2edge.inside.painting import bands

    marks = bands(statistics)
    text = zip(marks, statistics.texts, strict=True)
    click.echo("".join(click.style(piece, fg=_COLOURS[band]) for band, piece in text))
    counts = Counter(marks)
    told = (click.style(f"{_SAID[band]}: {counts[band]:,}", fg=_COLOURS[band]) for band in _COLOURS)
    click.echo("\n" + ", ".join(told))


def print_tokens(statistics: "TokenStatistics") -> None:
    """Print a line a token."""
    rows = [
        (f"{int(rank):,}", f"{exp(logprob):.4f}", quoted(text))
        for rank, logprob, text in zip(
            statistics.ranks, statistics.logprobs, statistics.texts, strict=True
        )
    ]
    print_table([("rank", "prob", "token"), *rows], right=(0, 1))


def print_scores(found: Mapping[str, Any]) -> None:
    """Print each score, where the text stands among people's, and how to read it."""
    click.echo()
    scores, places = found["scores"], found.get("percentiles")
    header = ("score", "value", *(["among people's"] if places else []))
    rows = [(said, f"{scores[name]:.4f}", *_place(places, name)) for name, said in _NOTES.items()]
    if "binoculars" in found:
        rows.append(
            ("Binoculars, lower: machine", f"{found['binoculars']:.4f}", *[""] * bool(places))
        )
    print_table([header, *rows], right=(1, 2) if places else (1,))
    if places:
        click.echo(
            f"among people's: the share of {places['windows']} windows of the reference, "
            f"{places['tokens']} tokens each, that have a lower score"
        )
    else:
        click.echo("without --reference, none of these says who wrote the text")


def _place(places: Mapping[str, Any] | None, name: str) -> list[str]:
    if not places:
        return []
    value = places["values"].get(name)
    return ["" if value is None else f"{value:.0%}"]


def play_quiz(target: "Target", text: str, count: int, seed: int, *, as_json: bool) -> None:
    """Ask, answer and count; with ``as_json`` print the log of it."""
    from gpt2edge.inside import QuizResult, quiz_questions

    engine = target.load()
    right, log = 0, []
    for number, question in enumerate(
        _drawn(quiz_questions(engine, text, count=count, seed=seed)), 1
    ):
        answer = _ask(question, number, count)
        hit = answer == question.human
        right += hit
        note(f"{'right' if hit else 'wrong'}: a person wrote {'AB'[question.human]}")
        log.append({**question.as_dict(), "answer": answer, "right": hit})
    result = QuizResult.of(right, count)
    if as_json:
        print_json({**result.as_dict(), "questions": log})
        return
    guess = "; that may be guessing" if result.low <= 0.5 <= result.high else ""
    click.echo(
        f"{right} of {count} right, {result.share:.0%} "
        f"({result.low:.0%} to {result.high:.0%} at 95 %){guess}"
    )


def _drawn(questions: Iterator["Question"]) -> Iterator["Question"]:
    """Draw the next question while its progress is shown."""
    while True:
        with watched("writing a continuation"):
            question = next(questions, None)
        if question is None:
            return
        yield question


def _ask(question: "Question", number: int, count: int) -> int:
    """Show a question on stderr and return 0 for A, 1 for B."""
    note(f"\n{number} of {count}: {question.prompt} ...")
    for letter, choice in zip("AB", question.choices, strict=True):
        note(f"\n  {letter}: {' '.join(choice.split())}")
    kind = click.Choice(["A", "B"], case_sensitive=False)
    answer = click.prompt("\nWhich did a person write?", type=kind, err=True)
    return "AB".index(str(answer).upper())
