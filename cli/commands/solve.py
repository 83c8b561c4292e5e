"""``gpt2edge solve``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.display.output import aligned, counted, note, print_json, quoted
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.display.tree import html_option, save_page, show_tree
from gpt2edge.cli.help import BASIC, OUTPUT, SEARCH, command, section
from gpt2edge.cli.names import INTERRUPTED
from gpt2edge.cli.options.common import Source, Target, bundled, checked, json_option
from gpt2edge.cli.options.problems import Harvester, Problem, read_problems
from gpt2edge.cli.options.sampling import (
    END_OPTIONS,
    SAMPLING_OPTIONS,
    EndFlags,
    SamplingFlags,
)
from gpt2edge.cli.options.search import (
    METHODS,
    TREES,
    UNVERIFIED,
    SearchFlags,
    Solver,
    open_verifier,
    outcome_report,
)
from gpt2edge.cli.options.settings import resolve

if TYPE_CHECKING:
    from gpt2edge.runtime.search import TreeResult
    from gpt2edge.runtime.search.methods import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveView:
    """The problems, and how results are shown."""

    problems: str | None
    tree: Path | None
    html: Path | None
    show_tree: bool
    as_json: bool
    verbose: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestFlags:
    """Where accepted solutions go, and the score they need."""

    harvest: Path | None
    accept: float | None


_option = section(SEARCH)
_output = section(OUTPUT)
SEARCH_OPTIONS: Final = (
    _option(
        "--method",
        type=click.Choice(METHODS),
        default="majority",
        common=True,
        help="Search method; docs/search.md explains each.",
    ),
    _option(
        "--samples",
        "n",
        type=click.IntRange(1, 65536),
        default=8,
        metavar="N",
        common=True,
        help="Candidates to generate (adaptive: at most); tot: states kept per level; mcts: "
        "simulations.",
    ),
    _option(
        "--width",
        type=click.IntRange(1, 1024),
        default=4,
        metavar="M",
        help="Samples per step, for beam, dvts, tot and mcts.",
    ),
    _option(
        "--verifier",
        metavar="SPEC",
        common=True,
        help="Verifier: a model FOLDER with a scalar head, FILE.py:FUNCTION(prompt, completion), "
        '"likelihood", or "yes" to ask the model itself.',
    ),
    _option(
        "--aggregate",
        type=click.Choice(["last", "min", "prod", "mean"]),
        help="Combine the scores of the steps.  [default: last]",
    ),
    _option(
        "--policy",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Policy file for adaptive.  [default: up to --samples, by the agreement of the first "
        "four]",
    ),
    _option(
        "--choose",
        type=click.Choice(["best", "weighted", "majority"]),
        default="best",
        help="Choose the best scored candidate, or the answer that wins a vote.",
    ),
    _option(
        "--step",
        default="\n\n",
        show_default=False,
        metavar="TEXT",
        help="End each step at TEXT.  [default: blank line]",
    ),
    _option(
        "--lookahead",
        type=click.IntRange(0, 64),
        default=0,
        metavar="K",
        help="Score a beam's step after K more greedy steps.",
    ),
    _option(
        "--budget-tokens",
        type=click.IntRange(1),
        metavar="N",
        help="Stop after N generated tokens.  [default: none]",
    ),
    _option(
        "--budget-seconds",
        type=click.FloatRange(0, min_open=True),
        metavar="S",
        common=True,
        help="Stop after S seconds.  [default: none]",
    ),
)
HARVEST_OPTIONS: Final = (
    _output(
        "--harvest",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Append correct solutions to FILE as JSON lines for training; skip problems that "
        "already have one there.",
    ),
    _output(
        "--accept",
        type=float,
        metavar="SCORE",
        help="Harvest solutions scored SCORE or higher, even without a known answer.",
    ),
)
VIEW_OPTIONS: Final = (
    section(BASIC)(
        "--problems",
        metavar="FILE",
        common=True,
        help='Read problems from JSON lines with "prompt" and optionally "answer"; "-" is stdin.',
    ),
    _output(
        "--save",
        "tree",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Save the tree of tot or mcts as JSON.",
    ),
    html_option,
    _output("--show-tree", is_flag=True, help="Show the tree of tot or mcts on stderr."),
    json_option,
    _output("-v", "--verbose", is_flag=True, common=True, help="Explain the search on stderr."),
)


@command()
@Source.options()
@Target.options()
@bundled("search", SearchFlags, *SEARCH_OPTIONS)
@bundled("ending", EndFlags, *END_OPTIONS)
@bundled("sampling", SamplingFlags, *SAMPLING_OPTIONS)
@bundled("keep", HarvestFlags, *HARVEST_OPTIONS)
@bundled("view", SolveView, *VIEW_OPTIONS)
def solve(
    source: Source,
    target: Target,
    search: SearchFlags,
    ending: EndFlags,
    sampling: SamplingFlags,
    keep: HarvestFlags,
    view: SolveView,
) -> None:
    """Search for the best of many completions of PROMPT.

    Candidates are sampled; a vote or a verifier chooses one.

    Prints the best completion. With --problems it prints the answer to each problem, and how many
    are right on stderr. The answer is the text after "####" or "answer is", the content of
    \\boxed{}, or the last number. Ctrl-C prints the best so far (exit code 130).

    With --json, one line per problem: prompt, text, answer, score, candidates, cost, stopped
    ("done", "decided", "tokens", "seconds", "interrupted"); with a known answer also expected and
    right.

    \b
    Examples:
      gpt2edge solve -m models/stepmath --samples 16 "Q: 17 + 25 = ?\\nA:"
      gpt2edge solve -m models/stepmath --method beam --verifier models/prm --step $'\\n' "..."
      gpt2edge solve --method best-of-n --verifier checks.py:score --budget-seconds 5 "..."
      gpt2edge solve -m models/stepmath --problems problems.jsonl --json
      gpt2edge solve -m models/stepmath --problems problems.jsonl --samples 16 --harvest right.jsonl
    """
    _check(search, keep, view)
    search = replace(search, step=checked(search.step, escape=ending.escape))
    if keep.harvest and source.token_ids:
        raise click.UsageError("--harvest writes texts: give PROMPT as one, not as --token-ids.")
    problems = read_problems(source, view.problems)
    harvest = Harvester(keep.harvest, keep.accept, problems) if keep.harvest else None
    engine = target.load()
    settings = resolve(sampling, ending, engine)
    verifier = open_verifier(search, engine, target)
    solver = Solver(search, engine, settings, verifier, early_stop=harvest is None)
    if view.verbose:
        note("\n".join(settings.lines()))
    right = 0
    for done, problem in enumerate(problems if harvest is None else harvest.unsolved()):
        with watched(_stage(done, len(problems))):
            outcome = solver(problem.prompt)
        right += _show(outcome, problem, view)
        if search.votes and not view.problems:
            _warn_of_no_answer(outcome)
        if harvest is not None:
            harvest.add(outcome.candidates, problem)
        if outcome.stopped == "interrupted":
            click.get_current_context().exit(INTERRUPTED)
    if harvest is not None:
        note(harvest.summary())
    elif view.problems and any(problem.answer is not None for problem in problems):
        note(f"{right} of {len(problems)} right ({right / len(problems):.1%})")


def _stage(done: int, problems: int) -> str:
    return "searching" if problems == 1 else f"searching, problem {done + 1} of {problems}"


def _check(search: SearchFlags, keep: HarvestFlags, view: SolveView) -> None:
    """Check options that need or exclude one another, which click cannot."""
    if search.method not in (*UNVERIFIED, "adaptive") and search.verifier is None:
        raise click.UsageError(f"--method {search.method} needs --verifier.")
    if search.method in UNVERIFIED and search.verifier is not None:
        raise click.UsageError(f"--method {search.method} uses no verifier.")
    if search.policy and search.method != "adaptive":
        raise click.UsageError("--policy is for --method adaptive.")
    if search.method not in TREES and (view.tree or view.html or view.show_tree):
        raise click.UsageError("--save, --html and --show-tree need --method tot or mcts.")
    if keep.harvest and search.method in TREES:
        raise click.UsageError(f"--method {search.method} has no candidates to harvest.")
    if keep.accept is not None and (keep.harvest is None or search.verifier is None):
        raise click.UsageError("--accept needs --harvest and --verifier.")
    if view.problems and (view.tree or view.html):
        raise click.UsageError("--save and --html save one tree: give one PROMPT, not --problems.")


def _show(outcome: "Outcome", problem: Problem, view: SolveView) -> bool:
    """Print one problem's outcome; return whether its answer is the expected one."""
    right = problem.answer is not None and outcome.answer == problem.answer
    if view.as_json:
        known = {} if problem.answer is None else {"expected": problem.answer, "right": right}
        print_json({**outcome_report(outcome), **known})
    elif view.problems:
        mark = "" if problem.answer is None else "right  " if right else "wrong  "
        click.echo(f"{mark}{outcome.answer or '(no answer)'}")
    else:
        click.echo(outcome.text)
    if outcome.tree is not None:
        _keep(outcome.tree, view)
    if view.verbose:
        note("\n".join(_lines(outcome)))
    return right


def _warn_of_no_answer(outcome: "Outcome") -> None:
    """Say that a vote had nothing to count."""
    count = len(outcome.candidates)
    if all(candidate.answer is None for candidate in outcome.candidates):
        note(
            f"no vote was possible: of {counted(count, 'candidate')}, none has an answer (the text "
            'after "####" or "answer is", the content of \\boxed{}, or a number); this is the first'
        )


def _keep(found: "TreeResult", view: SolveView) -> None:
    """Save and show the tree of a search, as requested."""
    if view.tree:
        found.tree.save(view.tree)
    if view.html:
        save_page(found.tree, view.html, "Search", found.best)
    if view.show_tree:
        show_tree(found.tree, best=found.best, err=True)


def _lines(outcome: "Outcome") -> list[str]:
    """List candidates with their scores and answers, and the cost of the search."""
    rows = [
        (
            "-" if candidate.score is None else f"{candidate.score:.4g}",
            candidate.answer or "-",
            candidate.completion.finish_reason,
            quoted(candidate.text),
        )
        for candidate in outcome.candidates
    ]
    cost = outcome.cost
    table = aligned([("score", "answer", "finish", "text"), *rows]) if rows else []
    return [
        *table,
        f"answer {outcome.answer or '-'}, stopped: {outcome.stopped}",
        f"{counted(cost.prefilled_tokens, 'token')} prefilled, {cost.generated_tokens:,} generated "
        f"in {counted(cost.forward_calls, 'call')}; {counted(cost.verifier_calls, 'text')} "
        f"verified, {counted(cost.verifier_tokens, 'token')} read for it in "
        f"{counted(cost.verifier_forward_calls, 'call')}; {cost.wall_s:.3f} s",
    ]
