"""Result rows as JSON lines, and the tables that ``README.md`` shows of them.

python benchmarks/report.py        # write the tables again from results/*.jsonl
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

Row: TypeAlias = dict[str, Any]
_FOLDER: Final = Path(__file__).resolve().parent
README: Final = _FOLDER / "README.md"
RESULTS: Final = _FOLDER / "results"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that ``write_rows`` wrote."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def latency_table(rows: Sequence[Row]) -> str:
    """Tests down, systems across: tokens per second and the first system's ratio to each."""
    labels = list(dict.fromkeys(row["label"] for row in rows))
    cells = {(row["test"], row["label"]): row for row in rows}
    lines = [_line(["test", *labels]), _line(["---", *["---:"] * len(labels)])]
    for test in dict.fromkeys(row["test"] for row in rows):
        first = cells[test, labels[0]]
        lines.append(_line([test, *(_speed(cells[test, label], first) for label in labels)]))
    note = (
        "Tokens per second, p50 of the repetitions (p95, the slow side, in brackets), then "
        f"{labels[0]}'s ratio to that system: under 1 is a loss."
    )
    return "\n".join([note, "", *lines, "", _systems(rows), "", source_line(rows[0])])


def overhead_table(rows: Sequence[Row]) -> str:
    """Where the time of a decode step goes, by model."""
    head = ["model", "call", "step, us", "in onnxruntime, us", "in Python, us", "Python's share"]
    lines = [_line(head), _line(["---", "---", *["---:"] * 4])]
    for row in rows:
        figures = [f"{row[key]:.0f}" for key in ("step_us", "run_us", "python_us")]
        lines.append(_line([row["model"], row["call"], *figures, f"{row['python_share']:.2%}"]))
    note = "Medians over the steps of all repetitions."
    return "\n".join([note, "", *lines, "", source_line(rows[0])])


def export_table(rows: Sequence[Row]) -> str:
    """What an export costs."""
    head = ["model", "export, s (p50)", "peak memory / checkpoint", "folder / parameter bytes"]
    lines = [_line(head), _line(["---", "---:", "---:", "---:"])]
    for row in rows:
        memory = f"{row['peak_rss_bytes'] / row['checkpoint_bytes']:.2f}"
        size = f"{row['folder_bytes'] / row['parameter_bytes']:.4f}"
        lines.append(_line([row["model"], f"{row['p50_s']:.1f}", memory, size]))
    note = "Peak memory is that of the whole process, Python and its libraries included."
    return "\n".join([note, "", *lines, "", source_line(rows[0])])


TABLES: Final[dict[str, Callable[[Sequence[Row]], str]]] = {
    "latency": latency_table,
    "overhead": overhead_table,
    "export": export_table,
}


def publish(name: str, rows: Sequence[Row]) -> None:
    """Keep the rows in ``results/`` and put their table into ``README.md``."""
    write_rows(RESULTS / f"{name}.jsonl", rows)
    _replace(name, TABLES[name](rows))


def source_line(row: Row) -> str:
    """The command, the machine and the versions behind a table."""
    machine = row["machine"]
    features = ", ".join(machine["cpu_features"])
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return (
        f"`{row['command']}` at commit {row['git_commit']}, {row['test_time']}; {machine['cpu']} "
        f"({features}), {machine['cores']} cores, {row['threads']} threads, governor "
        f"{machine['governor'] or 'not readable'}, {machine['system']}, "
        f"Python {machine['python']}; {versions}."
    )


def _speed(row: Row, first: Row) -> str:
    speed = f"{row['p50_ts']:.1f} ({row['p95_ts']:.1f})"
    return speed if row is first else f"{speed} **{first['p50_ts'] / row['p50_ts']:.2f} x**"


def _systems(rows: Sequence[Row]) -> str:
    lines = []
    for row in {row["label"]: row for row in rows}.values():
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        agree = [other["same_tokens"] for other in rows if other["label"] == row["label"]]
        lines.append(
            f"- {row['label']}: {versions}; "
            f"{row.get('settings') or 'defaults'}; peak memory "
            f"{(row['peak_rss_bytes'] or 0) / 1e6:.0f} MB; the first system's tokens in "
            f"{sum(agree)} of {len(agree)} tests."
        )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _replace(name: str, table: str) -> None:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    README.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Write every table whose rows are there."""
    for name, table in TABLES.items():
        path = RESULTS / f"{name}.jsonl"
        if path.is_file():
            _replace(name, table(read_rows(path)))


if __name__ == "__main__":
    main()
