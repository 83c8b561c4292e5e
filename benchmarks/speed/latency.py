"""Speed of gpt2edge beside its peers: the same prompts, token counts and threads, in turn.

    python -m benchmarks.speed.latency                                  # fp32, and the peers built
    sh benchmarks/peers/setup.sh build/envs                       # build the peers (minutes)
    python -m benchmarks.speed.latency --recipes int8 int4              # more variants

Every system is a process of its own that stays loaded; each repetition asks all of them one after
the other, forwards and backwards in turn, so that drift of the machine hits all alike. All are
started several times, because a process keeps the memory pages that it got: on large pages weights
are read faster. Timed are token ids in, token ids out, greedy (drawn where a test says n16),
end-of-text ignored: no tokenizer on any side. Loading is not timed with them.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from benchmarks.common.fingerprint import add_publish, provenance
from benchmarks.common.plan import DEFAULT_TESTS, Test, summary
from benchmarks.common.report import latency_table, publish
from benchmarks.common.result_files import Row, write_rows
from benchmarks.common.systems import System, Worker
from benchmarks.common.variants import add_arguments, all_systems, quality_of, size_and_recipes

_SETTLE_S: Final = 0.25
"""Threads of OpenMP spin for up to 200 ms after their work; the next system is not to feel it."""


def run_test(test: Test, workers: Sequence[Worker], vocab: int, repeats: int) -> list[list[Any]]:
    """The answers of every worker, one a repetition, after a short warm-up."""
    _ask_all(workers, test.request(vocab, warm_up=True), backwards=False)
    request = test.request(vocab)
    rounds = [_ask_all(workers, request, backwards=at % 2 == 1) for at in range(repeats)]
    return list(map(list, zip(*rounds, strict=True)))


def _ask_all(workers: Sequence[Worker], request: dict[str, Any], *, backwards: bool) -> list[Any]:
    order = range(len(workers))
    answers = {}
    for place in reversed(order) if backwards else order:
        time.sleep(_SETTLE_S)
        answers[place] = workers[place].ask(request)
    return [answers[place] for place in order]


def run(
    systems: Sequence[System], tests: Sequence[Test], *, vocab: int, starts: int, repeats: int
) -> list[Row]:
    """One row for each system in each test, over all starts of the processes."""
    answers: dict[tuple[int, int], list[Any]] = {}
    workers: list[Worker] = []
    rows = str(max(test.batch for test in tests))
    for start in range(starts):
        workers = [Worker(system, "--rows", rows) for system in systems]
        for at, test in enumerate(tests):
            for place, own in enumerate(run_test(test, workers, vocab, repeats)):
                answers.setdefault((at, place), []).extend(own)
                speed = test.tokens / median([test.sample_s(answer) for answer in own])
                label = workers[place].label
                print(f"{start + 1} {test.label:14s} {label:18s} {speed:8.1f} t/s", file=sys.stderr)
        for worker in workers:
            worker.close()
    return [
        _row(test, worker, answers[at, place], answers[at, 0])
        for at, test in enumerate(tests)
        for place, worker in enumerate(workers)
    ]


def _row(test: Test, worker: Worker, own: Sequence[Any], first: Sequence[Any]) -> Row:
    same = [answer["tokens"] == other["tokens"] for answer, other in zip(own, first, strict=True)]
    sizes = {"n_prompt": test.n_prompt, "n_gen": test.n_gen, "n_depth": test.n_depth}
    facts = worker.facts
    return {
        "label": worker.label,
        **facts,
        "perplexity_increase": quality_of(facts["system"], facts.get("recipe", facts["variant"])),
        "test": test.label,
        **sizes,
        "batch": test.batch,
        "samples": test.samples,
        **summary(test, own),
        "same_tokens": None if test.samples else all(same),
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument(
        "--tests", nargs="+", type=Test.of, default=list(map(Test.of, DEFAULT_TESTS))
    )
    parser.add_argument("--starts", type=int, default=3, help="times that processes are started")
    parser.add_argument("--repeats", type=int, default=2, help="repetitions a start")
    parser.add_argument("--json", action="store_true", help="rows on stdout instead of the table")
    add_publish(parser)
    return parser.parse_args()


def main() -> None:
    """Measure, print, and keep where asked."""
    args = arguments()
    systems, vocab = all_systems(args)
    command = (
        f"python -m benchmarks.speed.latency{size_and_recipes(args)} --starts {args.starts} "
        f"--repeats {args.repeats}"
    )
    if args.peers is not None:
        command += f" --peers {' '.join(args.peers)}"
    if tuple(test.label for test in args.tests) != tuple(DEFAULT_TESTS):
        command += f" --tests {' '.join(test.label for test in args.tests)}"
    shared = {"model": f"{args.size}, random weights", **provenance(command, args.threads)}
    figures = run(systems, args.tests, vocab=vocab, starts=args.starts, repeats=args.repeats)
    rows = [{**shared, **row} for row in figures]
    write_rows(args.work / "latency.jsonl", rows)
    print("\n".join(map(json.dumps, rows)) if args.json else latency_table(rows))
    if args.publish:
        publish("latency", rows)


if __name__ == "__main__":
    main()
