"""Game of 24, ranks 901 to 1000: tree search over a small model's own moves, int8.

    python -m training.solvers.export build/solvers --task game24   # the models, int8
    python -m benchmarks.search.game24                              # all searches, rows and table
    python -m benchmarks.search.game24 --generators 0.1m --searches mcts   # a part

The puzzles are the test set of Tree of Thoughts (Yao et al. 2023): GPT-4 solved 74 % with it, 4 %
with chain of thought. Moves are what the generator proposes and nothing else; a value model says
what can still be won; the checker sees ends alone. Nodes are all states that a search generated,
equal ones counted once. "random" is the yardstick: depth-first search that tries all legal moves in
random order, stopped after as many states as the search had for that puzzle (the mean over 40
orders), in the same game of whole numbers and, as "in fractions", in the full game. Solved puzzles
do not depend on the clock; seconds do, and want a quiet machine.
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.common.fingerprint import ROOT, git_commit, provenance, refusal
from gpt2edge import Engine, RuntimeOptions
from gpt2edge.runtime.search import MCTS, LineBeam, OutcomeModel, TreeOfThoughts
from gpt2edge.runtime.search.trees.tree import TreeResult
from tasks.game24.notation import is_solved, legal_steps
from tasks.game24.task import WrittenGame24

Position: TypeAlias = tuple[Fraction, ...]

PUZZLES: Final = ROOT / "tasks" / "game24" / "test_puzzles.txt"
MODELS: Final = ROOT / "build" / "solvers"
RESULTS: Final = ROOT / "benchmarks" / "results" / "search_game24.jsonl"
MOVES: Final = LineBeam(k=24, least=1e-4, max_new_tokens=20)
FEW: Final = LineBeam(k=8, least=1e-2, max_new_tokens=20)
ORDERS: Final = 40
WARM_UP: Final = 2


@dataclass(frozen=True)
class Method:
    """A search, the moves it may ask for, and whether it has the value model."""

    search: TreeOfThoughts | MCTS
    moves: LineBeam = MOVES
    has_values: bool = True


_MCTS: Final = MCTS(simulations=300, transpositions=True, accept=1.0, c=1.0, first_play=0.5)
METHODS: Final = {
    "tot-1": Method(TreeOfThoughts(breadth=1), FEW),
    "tot-5": Method(TreeOfThoughts(breadth=5)),
    "dfs": Method(TreeOfThoughts(order="dfs", max_nodes=300)),
    "mcts": Method(_MCTS),
    "mcts-no-values": Method(_MCTS, has_values=False),
}


def puzzles(path: Path) -> list[tuple[int, ...]]:
    """The numbers of each line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [tuple(map(int, line.split())) for line in lines]


def solves(numbers: tuple[int, ...], result: TreeResult) -> bool:
    """Whether the lines on the way to the best end are a solution, by the checker alone."""
    return is_solved(numbers, "".join(node.text for node in result.path[1:]))


def measure(folder: Path, values: Path, method: Method, threads: int, file: Path) -> dict[str, Any]:
    """All puzzles by one method."""
    engine = Engine(folder, RuntimeOptions(threads=threads))
    reader = Engine(values, RuntimeOptions(threads=threads))
    every = puzzles(file)
    solved, results = [], []
    for at, numbers in enumerate([*every[:WARM_UP], *every]):
        judge = OutcomeModel(reader) if method.has_values else None  # nothing kept between puzzles
        task = WrittenGame24(numbers=numbers, values=judge, moves=method.moves)
        result = method.search.run(engine, task)
        if at >= WARM_UP:
            results.append(result)
            solved.append(solves(numbers, result))
    seconds = [result.cost.wall_s for result in results]
    nodes = [len(result.tree.nodes) for result in results]
    return {
        **share(sum(solved), len(solved)),
        "unsolved": [list(n) for n, right in zip(every, solved, strict=True) if not right],
        "seconds_p50": statistics.median(seconds),
        "seconds_p95": statistics.quantiles(seconds, n=20)[-1],
        "nodes_p50": statistics.median(nodes),
        "nodes_mean": statistics.fmean(nodes),
        "expanded_mean": statistics.fmean(
            sum(node.is_expanded for node in result.tree.nodes) for result in results
        ),
        "generated_tokens_mean": statistics.fmean(r.cost.generated_tokens for r in results),
        "prefilled_tokens_mean": statistics.fmean(r.cost.prefilled_tokens for r in results),
        "verifier_tokens_mean": statistics.fmean(r.cost.verifier_tokens for r in results),
        "random_share": by_chance(every, nodes, whole_moves),
        "random_share_in_fractions": by_chance(every, nodes, all_moves),
    }


def share(right: int, count: int) -> dict[str, Any]:
    """Share of puzzles solved, with Wilson's interval at 95 %."""
    z = 1.959964
    part, spread = right / count, z * z / count
    middle = (part + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (part * (1 - part) / count + spread / (4 * count)) ** 0.5
    return {"solved": right, "puzzles": count, "low": middle - half, "high": middle + half}


def by_chance(
    every: Sequence[tuple[int, ...]],
    nodes: Sequence[int],
    moves: Callable[[Position], Sequence[Position]],
) -> float:
    """Mean share that depth-first search in random order solves with so many states a puzzle."""
    rng = random.Random(0)
    wins = sum(
        states_until_solved(numbers, limit, moves, rng) <= limit
        for numbers, limit in zip(every, nodes, strict=True)
        for _ in range(ORDERS)
    )
    return wins / (ORDERS * len(every))


def states_until_solved(
    numbers: Iterable[int],
    limit: int,
    moves: Callable[[Position], Sequence[Position]],
    rng: random.Random,
) -> int:
    """Different states, the first one included, until 24 is met; above ``limit``: not met."""
    root = tuple(sorted(map(Fraction, numbers)))
    won = (Fraction(24),)
    seen = {root}
    waiting = [iter(rng.sample(moves(root), len(moves(root))))]
    while waiting and len(seen) <= limit:
        state = next(waiting[-1], None)
        if state is None:
            waiting.pop()
        elif state not in seen:
            seen.add(state)
            if state == won:
                return len(seen)
            waiting.append(iter(rng.sample(moves(state), len(moves(state)))))
    return limit + 1


@cache
def whole_moves(state: Position) -> tuple[Position, ...]:
    """What one move leads to in the game that the models play."""
    steps = legal_steps(tuple(map(int, state)))
    return tuple({tuple(map(Fraction, step.left)) for step in steps})


@cache
def all_moves(state: Position) -> tuple[Position, ...]:
    """What one move leads to with fractions and numbers below 0."""
    found = set()
    for left in range(len(state)):
        for right in range(left + 1, len(state)):
            rest = [*state[:left], *state[left + 1 : right], *state[right + 1 :]]
            a, b = state[left], state[right]
            results = {a + b, a - b, b - a, a * b}
            results |= ({a / b} if b else set()) | ({b / a} if a else set())
            found |= {tuple(sorted([*rest, result])) for result in results}
    return tuple(found)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=Path, default=MODELS, help="what export_solvers.py wrote")
    parser.add_argument("--generators", nargs="+", default=["0.1m", "0.7m", "3m"])
    parser.add_argument("--searches", nargs="+", choices=[*METHODS], default=[*METHODS])
    parser.add_argument("--puzzles", type=Path, default=PUZZLES, help="four numbers a line")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS, help="rows are added to it")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.out == RESULTS and (words := refusal(git_commit())):
        sys.exit(f"{words}; or choose another --out")
    values = args.models / "game24-value"
    facts = provenance("python -m benchmarks.search.game24", args.threads)
    print("| model | search | solved | random | in fractions | nodes | s a puzzle (p95) |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    for name in args.generators:
        folder = args.models / f"game24-{name}"
        if not folder.is_dir() or not values.is_dir():
            sys.exit(
                f"no {folder} or {values}: run python -m training.solvers.export {args.models}"
            )
        for search in args.searches:
            row = measure(folder, values, METHODS[search], args.threads, args.puzzles)
            with args.out.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({"model": folder.name, "search": search, **row, **facts}) + "\n"
                )
            print(
                f"| {name} | {search} | {row['solved']}/{row['puzzles']} "
                f"| {row['random_share']:.0%} | {row['random_share_in_fractions']:.0%} "
                f"| {row['nodes_p50']:.0f} "
                f"| {row['seconds_p50']:.3f} ({row['seconds_p95']:.3f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
