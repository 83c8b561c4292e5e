"""Speed of gpt2edge beside its peers: the same prompts, token counts and threads, in turn.

    python benchmarks/latency.py                                  # gpt2edge, and the peers built
    sh benchmarks/peers/setup.sh build/envs                       # build the peers (minutes)
    python benchmarks/latency.py --variant int8=models/gpt2-int8  # more variants, by folder

Every system is a process of its own that stays loaded; each repetition asks all of them one after
the other, forwards and backwards in turn, so that drift of the machine hits all alike. All are
started several times, because a process keeps the memory pages that it got: on large pages weights
are read faster. Timed are
token ids in, token ids out, greedy, end-of-text ignored: no tokenizer on any side. Loading is not
timed with them.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from checkpoint import SIZES, Shape, write_checkpoint
from fingerprint import ROOT, provenance
from plan import DEFAULT_TESTS, Test, median, summary
from report import Row, latency_table, publish, write_rows
from systems import (
    PEER_SCRIPTS,
    System,
    Worker,
    engine_system,
    environment_python,
    peer_system,
)

from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.threads import available_threads


def run_test(test: Test, workers: Sequence[Worker], vocab: int, repeats: int) -> list[list[Any]]:
    """The answers of every worker, one a repetition; the warm-up is left out."""
    prompts = test.prompts(vocab)
    rounds = [
        _ask_all(workers, prompts, test.n_gen, repeat % 2 == 1) for repeat in range(repeats + 1)
    ]
    return list(map(list, zip(*rounds[1:], strict=True)))


def _ask_all(
    workers: Sequence[Worker], prompts: list[list[int]], new: int, backwards: bool
) -> list[Any]:
    order = range(len(workers))
    answers = {
        place: workers[place].measure(prompts, new)
        for place in (reversed(order) if backwards else order)
    }
    return [answers[place] for place in order]


def run(
    systems: Sequence[System], tests: Sequence[Test], *, vocab: int, starts: int, repeats: int
) -> list[Row]:
    """One row for each system in each test, over all starts of the processes."""
    answers: dict[tuple[int, int], list[Any]] = {}
    workers: list[Worker] = []
    for start in range(starts):
        workers = [Worker(system) for system in systems]
        for at, test in enumerate(tests):
            for place, own in enumerate(run_test(test, workers, vocab, repeats)):
                answers.setdefault((at, place), []).extend(own)
                speed = test.tokens / median([test.sample_s(answer) for answer in own])
                label = workers[place].label
                print(f"{start + 1} {test.name:14s} {label:16s} {speed:8.1f} t/s", file=sys.stderr)
        for worker in workers:
            worker.close()
    return [
        _row(test, worker, answers[at, place], answers[at, 0])
        for at, test in enumerate(tests)
        for place, worker in enumerate(workers)
    ]


def _row(test: Test, worker: Worker, own: Sequence[Any], first: Sequence[Any]) -> Row:
    same = all(
        answer["tokens"] == other["tokens"] for answer, other in zip(own, first, strict=True)
    )
    sizes = {"n_prompt": test.n_prompt, "n_gen": test.n_gen, "n_depth": test.n_depth}
    return {
        "label": worker.label,
        **worker.facts,
        "test": test.name,
        **sizes,
        "batch": test.batch,
        **summary(test, own),
        "same_tokens": same,
    }


def prepare(work: Path, size: str) -> tuple[Path, Path]:
    """The checkpoint and its fp32 model folder under ``work``, made where they are missing."""
    checkpoint, folder = work / f"checkpoint-{size}", work / f"fp32-{size}"
    if not (checkpoint / "model.safetensors").is_file():
        write_checkpoint(checkpoint, Shape.of(size))
    export_checkpoint(checkpoint, folder, overwrite=True)
    return checkpoint, folder


def choose_systems(args: argparse.Namespace, checkpoint: Path, fp32: Path) -> list[System]:
    """gpt2edge fp32 first, then its variants, then the peers."""
    systems = [engine_system(fp32, threads=args.threads)]
    for variant in args.variant:
        label, _, folder = variant.partition("=")
        systems.append(engine_system(Path(folder), label=label, threads=args.threads))
    built = [name for name in PEER_SCRIPTS if environment_python(args.envs, name)]
    for name in built if args.peers is None else args.peers:
        systems.append(peer_system(name, args.envs, checkpoint, threads=args.threads))
    return systems


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="124M")
    parser.add_argument("--variant", action="append", default=[], metavar="LABEL=FOLDER")
    parser.add_argument("--peers", nargs="*", choices=PEER_SCRIPTS, help="default: all built")
    parser.add_argument("--envs", type=Path, default=ROOT / "build" / "envs")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument(
        "--tests", nargs="+", type=Test.of, default=list(map(Test.of, DEFAULT_TESTS))
    )
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--starts", type=int, default=3, help="times that processes are started")
    parser.add_argument("--repeats", type=int, default=2, help="repetitions a start")
    parser.add_argument("--json", action="store_true", help="rows on stdout instead of the table")
    parser.add_argument("--publish", action="store_true", help="keep the rows, write README.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and keep where asked."""
    args = arguments()
    checkpoint, fp32 = prepare(args.work, args.size)
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    command = (
        f"python benchmarks/latency.py --size {args.size} --starts {args.starts} "
        f"--repeats {args.repeats}"
    )
    shared = {"model": f"{args.size}, random weights", **provenance(command, args.threads)}
    systems = choose_systems(args, checkpoint, fp32)
    figures = run(
        systems,
        args.tests,
        vocab=config["vocab_size"],
        starts=args.starts,
        repeats=args.repeats,
    )
    rows = [{**shared, **row} for row in figures]
    write_rows(args.work / "latency.jsonl", rows)
    print("\n".join(map(json.dumps, rows)) if args.json else latency_table(rows))
    if args.publish:
        publish("latency", rows)


if __name__ == "__main__":
    main()
