"""Test-time computation on stepmath: accuracy against generated tokens and seconds.

    python training/export_solvers.py build/solvers        # the models, int8
    python benchmarks/search.py run --problems 200         # accuracy: samples and step searches
    python benchmarks/search.py time                       # seconds, on a quiet machine (minutes)
    python benchmarks/search.py report --publish           # rows, tables and plots into benchmarks/

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from fingerprint import ROOT, provenance
from search_pool import Log, Row, Steps, greedy_rows, pool_row, score_row, steps_row
from search_report import publish, result_rows, show
from solver_models import LONGEST, STEP, Family, Problem, problems

from gpt2edge import GREEDY
from gpt2edge.runtime.search import MajorityVote
from gpt2edge.runtime.search.candidates import Judge
from gpt2edge.runtime.threads import available_threads

WORK: Final = ROOT / "build" / "search"
TEMPERATURE: Final = 1.0
SEARCHES: Final = tuple(
    Steps(method, n)  # type: ignore[arg-type]
    for n in (4, 16, 64)
    for method in ("beam", "dvts", "lookahead")
)
TIMED: Final = (1, 4, 16, 64, 256)
WARM_UP: Final = 2


@dataclass(frozen=True)
class Run:
    """What is measured, and where the rows are."""

    family: Family
    work: Path
    temperature: float

    def log(self, generator: str, what: str) -> Log:
        """The rows of one generator."""
        return Log(self.work / f"{generator}.{what}.jsonl")


def fill(run: Run, count: int, greedy: int, samples: dict[str, int], batch: int) -> None:
    """Fill the files, round by round, with what the models that are there can do."""
    family, every = run.family, problems(max(count, greedy))
    engines = {name: family.engine(name, 1) for name in family.generators}
    for name, engine in engines.items():
        log = run.log(name, "greedy")
        for row in greedy_rows(engine, list(log.missing(every[:greedy]))):
            log.add(row)
    for start in range(0, count, batch):
        chosen = every[start : start + batch]
        for name, engine in engines.items():
            log = run.log(name, "pool")
            for problem in log.missing(chosen):
                log.add(pool_row(engine, problem, samples[name], run.temperature))
    if not (family.orm and family.prm):
        print("no verifiers yet: samples only", file=sys.stderr)
        return
    orm, prm = family.outcome_model(1), family.process_model(1)
    for name in family.generators:
        pools, log = run.log(name, "pool"), run.log(name, "scores")
        for problem in log.missing([p for p in every if p.number in pools.rows]):
            log.add(score_row(problem, pools.rows[problem.number], orm, prm))
    for start in range(0, count, batch):
        for steps in SEARCHES:
            for name, engine in engines.items():
                log = run.log(name, steps.name)
                for problem in log.missing(every[start : start + batch]):
                    log.add(steps_row(engine, problem, steps, run.temperature, prm))


def timed(run: Run, count: int, threads: int) -> list[Row]:
    """Seconds a problem of each method and size: problems in turn, all methods on each."""
    family = run.family
    engines = {name: family.engine(name, threads) for name in family.generators}
    verifiers = {"orm": family.outcome_model(threads), "prm": family.process_model(threads)}
    seconds: dict[tuple[str, str, int], list[float]] = {}
    for at, problem in enumerate(problems(count + WARM_UP)):
        for name, engine in engines.items():
            for key, value in _seconds(engine, problem, run.temperature, verifiers):
                if at >= WARM_UP:
                    seconds.setdefault((name, *key), []).append(value)
        print(f"\rtimed {at + 1}/{count + WARM_UP}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return [
        {"generator": name, "method": method, "n": n, "seconds": sorted(values)}
        for (name, method, n), values in seconds.items()
    ]


def _seconds(
    engine: Any, problem: Problem, temperature: float, verifiers: dict[str, Any]
) -> Iterator[tuple[tuple[str, int], float]]:
    """Seconds of one problem, by method and N: greedy, sampling, scoring, searches over steps."""
    text: dict[str, Any] = {"max_new_tokens": LONGEST}
    started = perf_counter()
    MajorityVote(n=1).run(engine, problem.prompt, sampling=GREEDY, **text)
    yield ("greedy", 1), perf_counter() - started
    for n in TIMED:
        vote, sampling = MajorityVote(n=n, early_stop=False), problem.sampling(temperature)
        started = perf_counter()
        candidates = vote.run(engine, problem.prompt, sampling=sampling, **text).candidates
        yield ("sample", n), perf_counter() - started
        for name, verifier in verifiers.items():
            fresh = type(verifier)(verifier.engine)
            started = perf_counter()
            Judge(fresh, "last", STEP)(problem.prompt, candidates)
            yield (name, n), perf_counter() - started
    for steps in SEARCHES:
        fresh = type(verifiers["prm"])(verifiers["prm"].engine)
        started = perf_counter()
        steps_row(engine, problem, steps, temperature, fresh)
        yield (steps.method, steps.n), perf_counter() - started


def arguments(args: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("do", choices=["run", "time", "report"])
    parser.add_argument("--models", type=Path, default=ROOT / "build" / "solvers")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--greedy", type=int, default=1000, help="problems for greedy decoding")
    parser.add_argument("--samples", type=int, nargs="+", default=[256, 256, 64], help="by size")
    parser.add_argument("--round", type=int, default=20, help="problems a round")
    parser.add_argument("--timed", type=int, default=10, help="problems for the clock")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--publish", action="store_true", help="keep rows, write README.md, plot")
    return parser.parse_args(args)


def main() -> None:
    """Run, time, or report."""
    args = arguments()
    job = Run(Family.found(args.models), args.work, args.temperature)
    command = "python benchmarks/search.py"
    if args.do == "run":
        samples = dict(zip(job.family.generators, args.samples, strict=False))
        fill(job, args.problems, args.greedy, samples, args.round)
    elif args.do == "time":
        made = provenance(f"{command} time --timed {args.timed}", args.threads)
        rows = [{**row, **made} for row in timed(job, args.timed, args.threads)]
        (args.work / "time.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        made = provenance(f"{command} run --problems {args.problems}", args.threads)
        rows = [{**row, **made} for row in result_rows(job.family, args.work)]
        show(rows)
        if args.publish:
            publish(rows)


if __name__ == "__main__":
    main()
