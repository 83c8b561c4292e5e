"""The tables that ``README.md`` shows of the rows in ``results/``.

python -m benchmarks.common.report        # write the tables again from results/*.jsonl
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.common.fingerprint import DIRTY, refusal
from benchmarks.common.quality_tables import (
    ablation_table,
    cache_contexts_table,
    quality_solvers_table,
    quality_speed_table,
    quality_table,
    quantize_table,
)
from benchmarks.common.result_files import RESULTS, Row, line, read_rows, source_line, write_rows

README: Final = RESULTS.parent / "README.md"
COMMAND: Final = ", command"
"""How the label of a command's start ends; all others are Python programs."""
_CLASSES: Final = {"32 bit": (32,), "8 bit": (8,), "4 bit": (4,), "any": (4, 8, 32)}
AWAITED: Final = (
    "**Awaiting a run from a commit.** The code that made these rows was not committed as it was: "
    "nobody can have them again."
)


def latency_table(rows: Sequence[Row]) -> str:
    """Systems down, tests across: tokens per second; then ratios by bits of the weights."""
    tests = list(dict.fromkeys(row["test"] for row in rows))
    cells = {(row["label"], row["test"]): row for row in rows}
    lines = [
        line(["system", "perplexity", *tests]),
        line(["---", "---:", *["---:"] * len(tests)]),
    ]
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [cells[label, test] for test in tests]
        speeds = [f"{row['p50_ts']:,.1f} ({row['p95_ts']:,.1f})" for row in own]
        lines.append(line([label, increase(own[0]), *speeds]))
    note = (
        "Tokens per second, p50 of the repetitions (p95, the slow side, in brackets). Perplexity "
        "is the increase over float32 on the trained storyteller, for the same recipe or format."
    )
    parts = [note, "", *lines, "", ratio_table(rows), "", _systems(rows), "", source_line(rows[0])]
    return "\n".join(parts)


def ratio_table(rows: Sequence[Row]) -> str:
    """The fastest variant of ours over the fastest peer, of as many bits and of any."""
    lines = [line(["test", *_CLASSES]), line(["---", *["---"] * len(_CLASSES)])]
    for test in dict.fromkeys(row["test"] for row in rows):
        of_test = [row for row in rows if row["test"] == test]
        found = [
            _ratio([row for row in of_test if bits(row) in some]) for some in _CLASSES.values()
        ]
        lines.append(line([test, *found]))
    note = "gpt2edge's fastest variant divided by the fastest peer (named); under 1 is a loss."
    return "\n".join([note, "", *lines])


def bits(row: Row) -> int:
    """Bits of a row's weights, by the name of its variant."""
    found = re.search(r"32|8|4", str(row.get("recipe", row["variant"])))
    return int(found.group()) if found else 32


def increase(row: Row) -> str:
    """A row's increase of perplexity, in words."""
    found = row.get("perplexity_increase")
    if found is None:
        return "not measured"
    return "0" if bits(row) == 32 else f"{found['value']:+.2%} ± {found['standard_error']:.2%}"


def _ratio(rows: Sequence[Row]) -> str:
    ours, peers = _sides(rows)
    if not ours or not peers:
        return "-"
    mine, best = (max(some, key=lambda row: row["p50_ts"]) for some in (ours, peers))
    return f"**{mine['p50_ts'] / best['p50_ts']:.2f} x** {_names(mine, best)}"


def overhead_table(rows: Sequence[Row]) -> str:
    """Where the time of a decode step goes, by model."""
    head = ["model", "call", "step, us", "in onnxruntime, us", "in Python, us", "Python's share"]
    lines = [line(head), line(["---", "---", *["---:"] * 4])]
    for row in rows:
        figures = [f"{row[key]:.0f}" for key in ("step_us", "run_us", "python_us")]
        lines.append(line([row["model"], row["call"], *figures, f"{row['python_share']:.2%}"]))
    note = "Medians over the steps of all repetitions."
    return "\n".join([note, "", *lines, "", source_line(rows[0])])


def profile_table(rows: Sequence[Row]) -> str:
    """What a decode step consists of: parts down, tests across, a table for each model."""
    note = (
        "Microseconds of a step; in brackets the GB/s at which weights and cache were read. At the "
        f"bus: how long the bytes alone take at the speed in brackets, the median of what "
        f"{rows[0]['threads']} threads read from plain memory right before the steps and behind."
    )
    lines = [note]
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [row for row in rows if row["label"] == label]
        tests = list(dict.fromkeys(row["test"] for row in own))
        cells = {(row["part"], row["test"]): row for row in own}
        lines += ["", line([f"{label}, us", *tests]), line(["---", *["---:"] * len(tests)])]
        for part in dict.fromkeys(row["part"] for row in own):
            lines.append(line([part, *(_part(cells[part, test]) for test in tests)]))
        lines.append(line(["at the bus", *(_floor(cells["step", test]) for test in tests)]))
    return "\n".join([*lines, "", source_line(rows[0])])


def _part(row: Row) -> str:
    read = f" ({row['bytes'] / row['seconds'] / 1e9:.1f})" if row.get("bytes") else ""
    return f"{row['seconds'] * 1e6:,.0f}{read}"


def _floor(step: Row) -> str:
    bus = step["bus_bytes_per_s"]
    return f"{step['bytes'] / bus * 1e6:,.0f} ({bus / 1e9:.1f})" if step["bytes"] else ""


def export_table(rows: Sequence[Row]) -> str:
    """What an export costs."""
    head = ["model", "export, s (p50)", "peak memory / checkpoint", "folder / parameter bytes"]
    lines = [line(head), line(["---", "---:", "---:", "---:"])]
    for row in rows:
        memory = f"{row['peak_rss_bytes'] / row['checkpoint_bytes']:.2f}"
        size = f"{row['folder_bytes'] / row['parameter_bytes']:.4f}"
        lines.append(line([row["model"], f"{row['p50_s']:.1f}", memory, size]))
    note = "Peak memory is that of the whole process, Python and its libraries included."
    return "\n".join([note, "", *lines, "", source_line(rows[0])])


def peer_quality_table(rows: Sequence[Row]) -> str:
    """What each peer's format loses on the trained storyteller."""
    head = ["system", "perplexity", "increase", "greedy tokens as gpt2edge fp32"]
    lines = [line(head), line(["---", "---:", "---:", "---:"])]
    for row in rows:
        found = row["perplexity_increase"]
        change = f"{found['value']:+.3%} ± {found['standard_error']:.3%}"
        lines.append(
            line([row["label"], f"{row['perplexity']:.3f}", change, f"{row['greedy_same']:.1%}"])
        )
    return "\n".join([*lines, "", source_line(rows[0])])


def startup_table(rows: Sequence[Row]) -> str:
    """Cold starts and memory, commands and Python programs apart, slowest last; then ratios."""
    head = ["system", "perplexity", "to the first token, s (p95)", "peak memory, MB"]
    lines = [line(head), line(["---", "---:", "---:", "---:"])]
    for row in sorted(rows, key=lambda row: (not _is_command(row), row["p50_s"])):
        peak = row["peak_rss_bytes"]
        seconds = f"{row['p50_s']:.3f} ({row['p95_s']:.3f})"
        memory = "-" if peak is None else f"{peak / 1e6:.0f}"
        lines.append(line([row["label"], increase(row), seconds, memory]))
    return "\n".join([*lines, "", startup_ratios(rows), "", source_line(rows[0])])


def startup_ratios(rows: Sequence[Row]) -> str:
    """Our quickest start over the peers' quickest: commands to commands, programs to programs."""
    lines = [line(["", *_CLASSES]), line(["---", *["---"] * len(_CLASSES)])]
    for name, command in (("command", True), ("Python program", False)):
        own = [row for row in rows if _is_command(row) == command]
        classes = _CLASSES.values()
        found = [_start_ratio([row for row in own if bits(row) in some]) for some in classes]
        lines.append(line([name, *found]))
    note = "gpt2edge's quickest start divided by the quickest peer's (named); over 1 is a loss."
    return "\n".join([note, "", *lines])


def _is_command(row: Row) -> bool:
    return str(row["label"]).endswith(COMMAND)


def _start_ratio(rows: Sequence[Row]) -> str:
    ours, peers = _sides(rows)
    if not ours or not peers:
        return "-"
    mine, best = (min(some, key=lambda row: row["p50_s"]) for some in (ours, peers))
    return f"**{mine['p50_s'] / best['p50_s']:.2f} x** {_names(mine, best)}"


def _sides(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows of ours, and of the peers."""
    ours = [row for row in rows if row["system"] == "gpt2edge"]
    return ours, [row for row in rows if row["system"] != "gpt2edge"]


def _names(mine: Row, best: Row) -> str:
    labels = [str(row["label"]).removesuffix(COMMAND) for row in (mine, best)]
    return " / ".join([labels[0].removeprefix("gpt2edge "), labels[1]])


def shortcuts_table(rows: Sequence[Row]) -> str:
    """Work that need not be done, beside doing it, on each model."""
    head = ["model", "", "plain, tokens/s", "shortcut, tokens/s", "ratio"]
    lines = [line(head), line(["---", "---", "---:", "---:", "---:"])]
    for row in rows:
        speeds = (f"{row[name]:.0f}" for name in ("plain_ts", "shortcut_ts"))
        lines.append(line([row["model"], row["case"], *speeds, f"{row['ratio']:.2f}"]))
    return "\n".join([*lines, "", source_line(rows[0])])


def soak_table(rows: Sequence[Row]) -> str:
    """A long run of mixed requests, and what became of the memory."""
    (row,) = rows
    kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(row["kinds"].items()))
    facts = {
        "model": row["model"],
        "ran for": f"{row['seconds'] / 60:.1f} minutes",
        "tokens": f"{row['tokens']:,}",
        "requests": f"{row['requests']:,}: {kinds}",
        "resident after the warm-up, at the end, at most": ", ".join(
            f"{row[name] / 1e6:.1f} MB"
            for name in ("first_rss_bytes", "last_rss_bytes", "peak_rss_bytes")
        ),
        "growth, last third over first": f"{row['growth_bytes'] / 1e6:+.2f} MB",
        "slope": f"{row['slope_bytes_per_hour'] / 1e6:+.3f} MB an hour, "
        f"{row['slope_bytes_per_token']:+.3f} bytes a token",
    }
    lines = [line(["soak", ""]), line(["---", "---"]), *map(line, facts.items())]
    return "\n".join([*lines, "", source_line(row)])


TABLES: Final[dict[str, Callable[[Sequence[Row]], str]]] = {
    "latency": latency_table,
    "overhead": overhead_table,
    "profile": profile_table,
    "export": export_table,
    "peer_quality": peer_quality_table,
    "startup": startup_table,
    "shortcuts": shortcuts_table,
    "soak": soak_table,
    "quality": quality_table,
    "quality-wikitext": quality_table,
    "quality-solvers": quality_solvers_table,
    "ablation": ablation_table,
    "quantize": quantize_table,
    "cache-contexts": cache_contexts_table,
    "quality-speed": quality_speed_table,
}


def publish(
    name: str, rows: Sequence[Row], table: Callable[[Sequence[Row]], str] | None = None
) -> None:
    """Keep the rows in ``results/`` and put their table into ``README.md``.

    Raises SystemExit, with nothing written, where one is of code that is not committed.
    """
    if words := next(filter(None, (refusal(row.get("git_commit")) for row in rows)), None):
        raise SystemExit(words)
    write_rows(RESULTS / f"{name}.jsonl", rows)
    _replace(name, (table or TABLES[name])(rows))


def _systems(rows: Sequence[Row]) -> str:
    """What ran, by versions and settings; behind each the greedy tests with the first's tokens."""
    groups: dict[str, list[str]] = {}
    for row in {row["label"]: row for row in rows}.values():
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        compared = [
            other["same_tokens"]
            for other in rows
            if other["label"] == row["label"] and other["same_tokens"] is not None
        ]
        label = f"{row['label']} ({sum(compared)} of {len(compared)})"
        groups.setdefault(f"{versions}; {row.get('settings') or 'defaults'}", []).append(label)
    lines = [f"- {', '.join(labels)}: {facts}." for facts, labels in groups.items()]
    head = "In brackets: in how many greedy tests a system gave the first one's tokens."
    return "\n".join([head, "", *lines])


def _replace(name: str, table: str) -> None:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    mark = f"{AWAITED}\n\n" if DIRTY in table else ""
    README.write_text(f"{before}{begin}\n{mark}{table}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Write every table whose rows are there."""
    for name, table in TABLES.items():
        path = RESULTS / f"{name}.jsonl"
        if path.is_file():
            _replace(name, table(read_rows(path)))


if __name__ == "__main__":
    main()
