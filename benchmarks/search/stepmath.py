"""Test-time computation on stepmath: accuracy against generated tokens and seconds.

    python -m training.solvers.export build/solvers               # the models, int8
    python -m benchmarks.search.stepmath run --problems 200  # accuracy
    python -m benchmarks.search.stepmath time                # seconds, on a quiet machine
    python -m benchmarks.search.stepmath report --publish    # rows, tables and plots

``run`` draws up to 256 samples a problem once, has every verifier score them, and keeps them in
build/search; all N and all ways to choose are then evaluated on random subsets of them. Searches
over steps are run for each N. It may be broken off, goes on where it was, and works in rounds of a
few problems, so that what is there is about equally much for every model; the report takes the
problems that all have. Accuracy does not depend on the clock: ``run`` may share the machine,
``time`` may not.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.search.models import LONGEST, STEP, Family, Problem, problems
from benchmarks.search.pool import Log, Row, Steps, greedy_rows, pool_row, score_row, steps_row
from benchmarks.search.report import SEARCHES, publish, result_rows, show
from gpt2edge import GREEDY
from gpt2edge.runtime.search import MajorityVote, ProcessModel
from gpt2edge.runtime.search.candidates import CandidateScorer
from gpt2edge.runtime.system.threads import available_threads

WORK: Final = ROOT / "build" / "search"
TEMPERATURE: Final = 1.0
LOOKAHEAD_MOST: Final = 16
"""Paths of the largest search with lookahead, which costs twice those of one without."""
TIMED: Final = (1, 4, 16, 64, 256)
WARM_UP: Final = 1
PARTS: Final = ("greedy", "samples", "scores", "steps")
"""Of ``run``; each may be run by itself, and several at once."""


@dataclass(frozen=True)
class Run:
    """What is measured, and where the rows are."""

    family: Family
    work: Path
    temperature: float
    searches: tuple[Steps, ...]
    samples: dict[str, int]
    clock: Callable[[], float] = perf_counter

    def log(self, generator: str, what: str) -> Log:
        """The rows of one generator."""
        return Log(self.work / f"{generator}.{what}.jsonl")


def greedy(run: Run, every: Sequence[Problem]) -> None:
    """The greedy answers."""
    for name in run.family.generators:
        log, engine = run.log(name, "greedy"), run.family.engine(name, 1)
        for row in greedy_rows(engine, list(log.missing(every))):
            log.add(row)


def sample(run: Run, every: Sequence[Problem], batch: int) -> None:
    """Pools of samples, for all generators in rounds of a few problems."""
    engines = {name: run.family.engine(name, 1) for name in run.family.generators}
    for start in range(0, len(every), batch):
        for name, engine in engines.items():
            log = run.log(name, "pool")
            for problem in log.missing(every[start : start + batch]):
                log.add(pool_row(engine, problem, run.samples[name], run.temperature))


def search(run: Run, every: Sequence[Problem], batch: int) -> None:
    """Searches over steps, in rounds too."""
    engines = {name: run.family.engine(name, 1) for name in run.family.generators}
    prm = run.family.process_model(1) if run.family.prm else None
    searches = [steps for steps in run.searches if prm is not None or steps.is_checked]
    for start in range(0, len(every), batch):
        for steps in searches:
            for name, engine in engines.items():
                log = run.log(name, steps.name)
                for problem in log.missing(every[start : start + batch]):
                    log.add(steps_row(engine, problem, steps, run.temperature, prm))


def score(run: Run, every: Sequence[Problem]) -> None:
    """What the verifiers say of all samples that are there."""
    orm, prm = run.family.outcome_model(1), run.family.process_model(1)
    for name in run.family.generators:
        pools, log = run.log(name, "pool"), run.log(name, "scores")
        for problem in log.missing([p for p in every if p.number in pools.rows]):
            log.add(score_row(problem, pools.rows[problem.number], orm, prm))


def run(job: Run, parts: Sequence[str], args: argparse.Namespace) -> None:
    """Fill the files."""
    every = problems(max(args.problems, args.greedy, args.step_problems))
    if "greedy" in parts:
        greedy(job, every[: args.greedy])
    if "samples" in parts:
        sample(job, every[: args.problems], args.round)
    if "scores" in parts:
        score(job, every)
    if "steps" in parts:
        search(job, every[: args.step_problems], args.round)


def timed(run: Run, count: int, threads: int) -> list[Row]:
    """Seconds a problem of each method and size: problems in turn, all methods on each."""
    family = run.family
    engines = {name: family.engine(name, threads) for name in family.generators}
    verifiers: dict[str, Any] = {}
    if family.orm:
        verifiers["orm"] = family.outcome_model(threads)
    if family.prm:
        verifiers["prm"] = family.process_model(threads)
    seconds: dict[tuple[str, str, int], list[float]] = {}
    for at, problem in enumerate(problems(count + WARM_UP)):
        for name, engine in engines.items():
            for key, value in _seconds(engine, problem, run, verifiers, run.samples[name]):
                if at >= WARM_UP:
                    seconds.setdefault((name, *key), []).append(value)
        print(f"\rtimed {at + 1}/{count + WARM_UP}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return [
        {
            "generator": name,
            "method": method,
            "n": n,
            "clock": "wall" if run.clock is perf_counter else "CPU",
            "seconds": sorted(values),
        }
        for (name, method, n), values in seconds.items()
    ]


def _seconds(
    engine: Any, problem: Problem, run: Run, verifiers: dict[str, Any], most: int
) -> Iterator[tuple[tuple[str, int], float]]:
    """Seconds of one problem, by method and N: greedy, sampling, scoring, searches over steps."""
    text: dict[str, Any] = {"max_new_tokens": LONGEST}
    clock = run.clock
    started = clock()
    MajorityVote(n=1).run(engine, problem.prompt, sampling=GREEDY, **text)
    yield ("greedy", 1), clock() - started
    for n in [n for n in TIMED if n <= most]:
        vote, sampling = MajorityVote(n=n, early_stop=False), problem.sampling(run.temperature)
        started = clock()
        candidates = vote.run(engine, problem.prompt, sampling=sampling, **text).candidates
        yield ("sample", n), clock() - started
        for name, verifier in verifiers.items():
            fresh = type(verifier)(verifier.engine)
            started = clock()
            CandidateScorer(fresh, "last", STEP)(problem.prompt, candidates)
            yield (name, n), clock() - started
    for steps in run.searches:
        if not (steps.is_checked or "prm" in verifiers):
            continue
        fresh = ProcessModel(verifiers["prm"].engine) if "prm" in verifiers else None
        started = clock()
        steps_row(engine, problem, steps, run.temperature, fresh)
        yield (steps.method, steps.n), clock() - started


def arguments(args: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("do", choices=["run", *PARTS, "time", "report"])
    parser.add_argument("--models", type=Path, default=ROOT / "build" / "solvers")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--step-problems", type=int, default=200, help="for searches over steps")
    parser.add_argument("--greedy", type=int, default=1000, help="problems for greedy decoding")
    parser.add_argument("--samples", type=int, nargs="+", default=[256, 256, 64], help="by size")
    parser.add_argument("--only", nargs="*", help="these generators, such as stepmath-0.1m")
    parser.add_argument("--methods", nargs="*", default=SEARCHES, choices=SEARCHES)
    parser.add_argument("--searches", type=int, nargs="*", default=[4, 16, 64], help="sizes")
    parser.add_argument("--round", type=int, default=20, help="problems a round")
    parser.add_argument("--timed", type=int, default=6, help="problems for the clock")
    parser.add_argument("--cpu", action="store_true", help="time: CPU seconds, for a busy machine")
    parser.add_argument("--threads", type=int, default=available_threads())
    add_publish(parser)
    return parser.parse_args(args)


def main() -> None:
    """Run, time, or report."""
    args = arguments()
    searches = tuple(
        Steps(method, n)
        for n in args.searches
        for method in args.methods
        if "lookahead" not in method or n <= LOOKAHEAD_MOST
    )
    family = Family.found(args.models)
    if args.only:
        family = replace(family, generators=tuple(args.only))
    samples = dict(zip(family.generators, args.samples, strict=False))
    clock = process_time if args.cpu else perf_counter
    job = Run(family, args.work, args.temperature, searches, samples, clock)
    command = "python -m benchmarks.search.stepmath"
    if args.do in ("run", *PARTS):
        run(job, PARTS if args.do == "run" else (args.do,), args)
    elif args.do == "time":
        options = f"--timed {args.timed}{' --cpu' if args.cpu else ''} --threads {args.threads}"
        made = provenance(f"{command} time {options}", args.threads)
        rows = [{**row, **made} for row in timed(job, args.timed, args.threads)]
        (args.work / "time.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        made = provenance(f"{command} run", 1)
        rows = [{**row, **made} for row in result_rows(job.family, args.work)]
        show(rows)
        if args.publish:
            publish(rows)


if __name__ == "__main__":
    main()
