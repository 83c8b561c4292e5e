"""From the rows of a run to results: accuracy with intervals, tokens, seconds, and the tables."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.common import report
from benchmarks.common.result_files import RESULTS, source_line
from benchmarks.search.adaptive import adaptive_rows
from benchmarks.search.models import Family, parameters
from benchmarks.search.plots import plot
from benchmarks.search.pool import Log, scored
from benchmarks.search.selection import Pool, accuracy, interval

Row = dict[str, Any]
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHOWN: Final = (1, 4, 16, 64, 256)
VOTES: Final = (
    "majority",
    "weighted by likelihood",
    "best by likelihood",
    "best by check",
    "weighted by check",
)
OUTCOME: Final = ("best by orm", "weighted by orm")
PROCESS: Final = (
    "best by prm prod",
    "best by prm min",
    "best by prm last",
    "weighted by prm prod",
    "weighted by prm min",
    "weighted by prm last",
)
SEARCHES: Final = (
    "checked beam",
    "checked dvts",
    "checked lookahead",
    "beam",
    "dvts",
    "lookahead",
)
LIMIT: Final = "pass"
JUDGED: Final = "majority, judged"
"""The vote on those problems that the trained verifiers have scored."""
CORE: Final = 16
LEAST: Final = 20
"""Problems that a search over steps must have seen to be shown."""
PROMISED: Final = (
    "majority",
    "weighted by check",
    "checked beam",
    "best by orm",
    "best by prm prod",
    "beam",
)
COMPARED: Final = 64
COMPARISONS: Final = (
    JUDGED,
    "best by orm",
    "best by prm prod",
    "weighted by orm",
    "weighted by prm prod",
)
"""Ways to choose that are compared problem by problem at one N."""


def result_rows(family: Family, work: Path) -> list[Row]:
    """A row for each generator, method and N, on the problems that all generators have sampled.

    What needs a trained verifier is there for those problems that it has scored.
    """
    logs = {
        (name, path.name.split(".")[-2]): Log(path).rows
        for name in family.generators
        for path in sorted(work.glob(f"{name}.*.jsonl"))
    }
    asked = [rows for (_, what), rows in logs.items() if what == "pool" or _is_core(what, rows)]
    chosen = sorted(set.intersection(*map(set, asked)))
    scores = [logs.get((name, "scores"), {}) for name in family.generators]
    judged = [at for at in chosen if all(at in found for found in scores)]
    seconds, clock = _seconds(work / "time.jsonl")
    rows = []
    for name, found in zip(family.generators, scores, strict=True):
        size = parameters(family.engine(name, 1))
        sampled = [scored(logs[name, "pool"][at], found.get(at, {})) for at in chosen]
        pools = [Pool.of(row) for row in sampled]
        own = [*_greedy(logs[name, "greedy"], chosen), *_choices(pools, (*VOTES, LIMIT))]
        if judged:
            seen = [pool for at, pool in zip(chosen, pools, strict=True) if at in judged]
            own += _choices(seen, (*OUTCOME, *PROCESS))
            own += [{**row, "method": JUDGED} for row in _choices(seen, ("majority",))]
        for (generator, what), searched in logs.items():
            if generator == name and "-" in what and len(searched) >= min(LEAST, len(chosen)):
                own.append(_search(what, [searched[at] for at in chosen if at in searched]))
        own += adaptive_rows(pools)
        for row in own:
            time = seconds(name, row["method"], row["n"])
            rows.append({"generator": name, "parameters": size, **row, "seconds": time, **clock})
    return rows


def _is_core(what: str, rows: Mapping[int, Row]) -> bool:
    """Whether a search over steps is one that all problems should have: it is not a large one."""
    _, dash, n = what.partition("-")
    return bool(dash) and int(n) <= CORE and len(rows) >= LEAST


def _row(method: str, n: int, values: Any, tokens: float, verifier_tokens: float = 0.0) -> Row:
    low, high = interval(values)
    return {
        "method": method,
        "n": n,
        "accuracy": float(values.mean()),
        "low": low,
        "high": high,
        "problems": len(values),
        "tokens": round(tokens, 1),
        "verifier_tokens": round(verifier_tokens, 1),
        "right": [round(float(value), 4) for value in values],
    }


def _greedy(rows: dict[int, Row], chosen: Sequence[int]) -> Iterator[Row]:
    """Greedy decoding on the problems that all share, and on as many as there are."""
    for method, numbers in (("greedy", chosen), ("greedy, all", sorted(rows))):
        found = [rows[number] for number in numbers]
        right = np.array([float(row["answers"][0] == row["expected"]) for row in found])
        yield _row(method, 1, right, float(np.mean([row["tokens"][0] for row in found])))


def _choices(pools: Sequence[Pool], methods: Sequence[str]) -> Iterator[Row]:
    tokens = float(np.mean([pool.tokens.mean() for pool in pools]))
    for method in methods:
        for n in SIZES:
            if n <= len(pools[0].answers):
                yield _row(method, n, accuracy(pools, method, n), n * tokens)


def _search(name: str, found: Sequence[Row]) -> Row:
    """A search over steps: what it chose, by the weighted vote of its ends."""
    method, _, n = name.partition("-")
    right = np.array([float(row["chosen"] == row["expected"]) for row in found])
    tokens = float(np.mean([row["tokens"] for row in found]))
    return _row(method, int(n), right, tokens, float(np.mean([r["prm_tokens"] for r in found])))


def _seconds(path: Path) -> tuple[Callable[[str, str, int], float | None], Row]:
    """Median seconds a problem of generator, method and N, where they were taken, and the clock."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    medians = {
        (row["generator"], row["method"], row["n"]): float(np.median(row["seconds"]))
        for row in rows
    }

    def seconds(generator: str, method: str, n: int) -> float | None:
        parts = ["sample"]
        if method in ("greedy", "greedy, all"):
            parts = ["greedy"]
        elif method in SEARCHES:
            parts = [method]
        elif "orm" in method or "prm" in method:
            parts.append("orm" if "orm" in method else "prm")
        elif method in (LIMIT, JUDGED) or method.startswith("adaptive"):
            return None
        values = [medians.get((generator, part, n)) for part in parts]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(parts) else None

    keys = {"clock": "clock", "seconds_command": "command", "seconds_threads": "threads"}
    return seconds, {name: rows[0][key] if rows else None for name, key in keys.items()}


class Table:
    """Rows by generator, method and N."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.generators = list(dict.fromkeys(row["generator"] for row in rows))
        self.count = next(row["problems"] for row in rows if row["method"] == "majority")
        self._by_key = {(row["generator"], row["method"], row["n"]): row for row in rows}

    @property
    def seconds(self) -> str:
        """The head of the column of seconds."""
        clock, threads = self.rows[0]["clock"], self.rows[0]["seconds_threads"]
        kind = "CPU seconds" if clock == "CPU" else "seconds"
        return f"{kind} a problem" + (f", {threads} thread{'s'[: threads != 1]}" if clock else "")

    def get(self, generator: str, method: str, n: int) -> Row | None:
        """The row, where there is one."""
        return self._by_key.get((generator, method, n))

    def gap(self, row: Row, other: Row) -> tuple[float, float, float]:
        """How much more often ``row`` is right than ``other``, problem by problem, with 95 %."""
        values = np.array(row["right"]) - np.array(other["right"])
        return (float(values.mean()), *interval(values))


def methods_table(table: Table) -> str:
    """Accuracy of every method by N, a part for each generator."""
    parts = []
    for generator in table.generators:
        greedy = table.get(generator, "greedy", 1)
        assert greedy is not None
        parts += [
            f"**{generator}**, {greedy['parameters'] / 1e6:.2f}M parameters; greedy "
            f"{_share(greedy)}, {greedy['tokens']:.0f} tokens a problem.",
            "",
            _line(["method", *(f"N = {n}" for n in SHOWN)]),
            _line(["---", *["---:"] * len(SHOWN)]),
        ]
        for method in (*VOTES, *OUTCOME, *PROCESS, *SEARCHES, LIMIT):
            found = [table.get(generator, method, n) for n in SHOWN]
            if any(found):
                cells = [_cell(row, table.count) for row in found]
                parts.append(_line([_name(method), *cells]))
        tokens = [table.get(generator, "majority", n) for n in SHOWN]
        parts.append(
            _line(["tokens a problem", *(f"{r['tokens']:.0f}" if r else "" for r in tokens)])
        )
        parts.append("")
    return "\n".join(parts)


def promise_table(table: Table) -> str:
    """The smallest generator under a verifier beside the greedy answers of the larger ones."""
    smallest, *larger = table.generators
    lines = [
        _line(["generator", "method", "N", "accuracy", "tokens", table.seconds]),
        _line(["---", "---", "---:", "---:", "---:", "---:"]),
    ]
    for generator in (smallest, *larger):
        lines.append(_promise_line(table.get(generator, "greedy", 1), table.count))
    for method in PROMISED:
        for n in SHOWN[1:]:
            if row := table.get(smallest, method, n):
                lines.append(_promise_line(row, table.count))
    for generator in larger:
        for n in SHOWN[1:]:
            if row := table.get(generator, "checked beam", n):
                lines.append(_promise_line(row, table.count))
    return "\n".join(lines)


def _promise_line(row: Row | None, count: int) -> str:
    assert row is not None
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.3f}"
    fewer = "" if row["problems"] == count else f", {row['problems']} problems"
    cells = [row["generator"], _name(row["method"]), str(row["n"]), _share(row) + fewer]
    return _line([*cells, f"{row['tokens']:.0f}", seconds])


def process_table(table: Table, n: int = COMPARED) -> str:
    """Process against outcome against majority at one N, with paired differences."""
    lines = [
        _line(["generator", "majority", "ORM", "PRM", "PRM - ORM", "ORM - majority"]),
        _line(["---", *["---:"] * 5]),
    ]
    for how in ("best", "weighted"):
        for generator in table.generators:
            names = (JUDGED, f"{how} by orm", f"{how} by prm prod")
            found = [table.get(generator, name, n) for name in names]
            if all(found):
                majority, outcome, process = [row for row in found if row]
                gaps = [table.gap(process, outcome), table.gap(outcome, majority)]
                cells = [_cell(majority), _cell(outcome), _cell(process), *map(_gap, gaps)]
                lines.append(_line([f"{generator}, {how}", *cells]))
    return "\n".join(lines)


def adaptive_table(table: Table) -> str:
    """A fitted policy beside fixed ones, at like tokens."""
    lines = [
        _line(
            [
                "generator",
                "tokens at most",
                "adaptive",
                "tokens used",
                "majority",
                "weighted by check",
            ]
        ),
        _line(["---", *["---:"] * 5]),
    ]
    for row in table.rows:
        if row["method"] == "adaptive":
            fixed = [
                table.get(row["generator"], name, row["n"])
                for name in ("majority", "weighted by check")
            ]
            limit = f"{fixed[0]['tokens']:.0f} (N = {row['n']})" if fixed[0] else ""
            cells = [
                row["generator"],
                limit,
                _cell(row),
                f"{row['tokens']:.0f}",
                *map(_cell, fixed),
            ]
            lines.append(_line(cells))
    return "\n".join(lines)


def tables(rows: Sequence[Row]) -> str:
    """All tables, with what they answer."""
    table = Table(rows)
    judged = [row["problems"] for row in rows if row["method"] == JUDGED]
    parts = [
        f"{table.count} problems of the test, where no other count stands beside a figure; 95 % "
        "intervals in brackets (bootstrap over problems). Check is a calculator: it says whether "
        "the equation of a step holds, and knows neither the problem nor the answer.",
        "",
        "### A small generator and a verifier, or a larger generator",
        "",
        promise_table(table),
        "",
    ]
    if judged:
        parts += [
            f"### Process, outcome, majority, at N = {COMPARED} ({judged[0]} problems)",
            "",
            process_table(table),
            "",
        ]
    parts += ["### A policy by difficulty", "", adaptive_table(table), ""]
    parts += ["### Every method", "", methods_table(table), source_line(rows[0])]
    if rows[0]["clock"]:
        parts.append(f"Seconds: `{rows[0]['seconds_command']}`, medians.")
    return "\n".join(parts)


def show(rows: Sequence[Row]) -> None:
    """Print the tables."""
    print(tables(rows))


def publish(rows: Sequence[Row]) -> None:
    """Rows to ``results``, tables to ``README.md``, plots beside it."""
    report.publish("search", [_compact(row) for row in rows], tables)
    plot(rows, RESULTS)


def _compact(row: Row) -> Row:
    """A row without the problems one by one, where no table compares it so."""
    if row["n"] == COMPARED and row["method"] in COMPARISONS:
        return row
    return {key: value for key, value in row.items() if key != "right"}


def _name(method: str) -> str:
    return method.replace("orm", "ORM").replace("prm", "PRM").replace("pass", "(one is right)")


def _share(row: Row) -> str:
    return f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"


def _cell(row: Row | None, count: int = 0) -> str:
    if row is None:
        return ""
    fewer = f" ({row['problems']})" if count and row["problems"] != count else ""
    return f"{row['accuracy']:.1%}{fewer}"


def _gap(gap: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in gap)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
