"""``gpt2edge detect``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.display.detection import play_quiz, print_scores, print_text, print_tokens
from gpt2edge.cli.display.output import note, print_json
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Target, bundled, json_option, read_file

if TYPE_CHECKING:
    from gpt2edge.inside.statistics import TokenStatistics
    from gpt2edge.runtime.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to read, and what to tell."""

    plain: bool
    html: Path | None
    reference: str | None
    observer: Path | None
    quiz: str | None
    questions: int
    seed: int


wanted_option = bundled(
    "wanted",
    Wanted,
    click.option("--plain", is_flag=True, help="A line a token: rank, probability, text."),
    click.option(
        "--html",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the painted text as a page.",
    ),
    click.option(
        "--reference",
        metavar="HUMAN.txt",
        help="People's text of the same kind: tells where FILE stands among its windows.",
    ),
    click.option(
        "--observer",
        type=click.Path(path_type=Path),
        metavar="MODEL",
        help="A second model with the same tokenizer, for the Binoculars score.",
    ),
    click.option(
        "--quiz",
        metavar="TEXT.txt",
        help="Play instead: which continuation did a person write, and which the model?",
    ),
    click.option(
        "--questions",
        type=click.IntRange(1, 10_000),
        default=10,
        show_default=True,
        metavar="N",
        help="Questions of the quiz.",
    ),
    click.option(
        "-s",
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of the quiz.",
    ),
)


@command()
@click.argument("path", metavar="FILE", required=False)
@wanted_option
@Target.options()
@json_option
def detect(path: str | None, wanted: Wanted, target: Target, as_json: bool) -> None:
    """Tell how likely the model finds each token of FILE, and what detectors make of it.

    Tokens are painted by their rank in the model's prediction, as GLTR does: green up to 10, yellow
    up to 100, red up to 1,000, purple beyond. FILE "-" is stdin. Under the text are the scores of
    likelihood, rank, LRR, GLTR and Fast-DetectGPT; a higher one looks more machine-made.

    How to read them: what is detected is that a sampler cut the tail of a distribution (top-k,
    top-p, a low temperature), not the machine. Text drawn from the whole distribution does not
    stand out, and other models' text may not either. A score alone says nothing: give --reference.
    Texts of fewer than 50 tokens are refused. No score is evidence about a person.

    With --json: scores, tokens, and percentiles, binoculars or the quiz where asked for.

    \b
    Examples:
      gpt2edge detect letter.txt
      gpt2edge detect letter.txt --reference my-own-letters.txt --html letter.html
      gpt2edge detect --quiz abstracts.txt --questions 20
    """
    if (path is None) == (wanted.quiz is None):
        raise click.UsageError("Give FILE, a text to look at, or --quiz TEXT.txt, to play.")
    if wanted.quiz is not None:
        play_quiz(target, read_file(wanted.quiz), wanted.questions, wanted.seed, as_json=as_json)
        return
    text = read_file(str(path))
    reference = None if wanted.reference is None else read_file(wanted.reference)
    found, statistics = _measured(target, text, reference, wanted)
    _report(found, statistics, str(path), wanted, as_json=as_json)


def _measured(
    target: Target, text: str, reference: str | None, wanted: Wanted
) -> tuple[dict[str, Any], "TokenStatistics"]:
    """Score the text, and compare it with the reference where there is one."""
    from gpt2edge.inside import detection_scores, percentiles

    engine = target.load()
    with watched("scoring") as progress:
        statistics = _statistics(engine, text, progress, "scoring")
        found: dict[str, Any] = {"scores": detection_scores(statistics).as_dict()}
        if reference is not None:
            people = _statistics(engine, reference, progress, "scoring the reference")
            found["percentiles"] = percentiles(statistics, people).as_dict()
        if wanted.observer is not None:
            found["binoculars"] = _binoculars(wanted.observer, engine, text, target)
    return found, statistics


def _binoculars(observer: Path, performer: "Engine", text: str, target: Target) -> float:
    from gpt2edge import load
    from gpt2edge.inside import binoculars

    with load(observer, threads=target.threads) as second:
        return binoculars(second, performer, text)


def _statistics(engine: "Engine", text: str, progress: Any, stage: str) -> "TokenStatistics":
    from gpt2edge.inside import token_statistics

    return token_statistics(engine, text, progress=counted(progress, stage))


def _report(
    found: dict[str, Any],
    statistics: "TokenStatistics",
    name: str,
    wanted: Wanted,
    *,
    as_json: bool,
) -> None:
    """Print what was found, and write the page."""
    if wanted.html is not None:
        from gpt2edge.inside import painted_page

        page = painted_page(statistics, found["scores"], title=name)
        wanted.html.write_text(page, encoding="utf-8")
        note(f"wrote {wanted.html}")
    if as_json:
        print_json({**found, "tokens": statistics.as_dict()})
        return
    if wanted.plain:
        print_tokens(statistics)
    else:
        print_text(statistics)
    print_scores(found)
