"""Output of ``gpt2edge bench``: tables, Markdown, CSV, one JSON object, or one line per test."""

import io
import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.commands.doctor import cpu_facts, package_versions
from gpt2edge.cli.display.output import (
    counted,
    named,
    note,
    print_facts,
    print_json,
    print_table,
    size,
)

if TYPE_CHECKING:
    from gpt2edge.evaluate.speed import BenchmarkTest, Figures, ModelFigures

FORMS: Final = ("table", "md", "csv", "json", "jsonl")
_HEAD: Final = (
    "test",
    "batch",
    "t/s p50",
    "t/s p95",
    "TTFT ms p50",
    "TTFT ms p99",
    "TPOT ms p50",
    "ITL ms p95",
    "ITL ms p99",
)


def print_figures(figures: "Sequence[ModelFigures]", form: str, *, ratios: bool) -> None:
    """Print all figures in one of ``FORMS``.

    ``ratios`` adds those of each model's speed to the first one's, except to lines of CSV and JSON.
    """
    compared = compare(figures) if ratios else []
    if form == "json":
        print_json({**_where(figures), "models": list(map(_model, figures)), "ratios": compared})
    elif form == "jsonl":
        for row in _rows(figures):
            print_json(row)
    elif form == "csv":
        _print_csv(figures)
    elif form == "md":
        _print_markdown(figures, compared)
    else:
        _print_tables(figures, compared)


def _rows(figures: "Sequence[ModelFigures]") -> list[dict[str, Any]]:
    """Return a flat object for each test of each model."""
    where = _where(figures)
    return [{**where, **_facts(own), **_row(test)} for own in figures for test in own.tests]


def _print_csv(figures: "Sequence[ModelFigures]") -> None:
    """Print a line for each test, with every digit; samples are left to JSON."""
    import csv

    rows = _rows(figures)
    for row in rows:
        row |= {"cpu": row["cpu"]["model"], "onnxruntime": row.pop("packages")["onnxruntime"]}
        row.pop("samples_ns"), row.pop("samples_ts")
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    click.echo(out.getvalue(), nl=False)


def _print_markdown(figures: "Sequence[ModelFigures]", compared: list[dict[str, Any]]) -> None:
    """Print one table, and one of ratios if there are any."""
    head = ("model", "recipe", "size", *_HEAD)
    rows = [
        (str(own.model.path), own.model.manifest.recipe_name, size(own.model.nbytes), *_cells(test))
        for own in figures
        for test in own.tests
    ]
    _print_lines([head, *rows], words=3)
    if compared:
        click.echo()
        ratios = [(row["model"], *_ratio_cells(row)) for row in compared]
        _print_lines([("model", *_RATIOS), *ratios], words=1)
    cpu = cpu_facts()
    versions = f"onnxruntime {package_versions()['onnxruntime']}"
    click.echo(f"\n{cpu['model']}, {counted(figures[0].threads, 'thread')}, {versions}.")


def _print_lines(rows: Sequence[Sequence[object]], *, words: int) -> None:
    """Print a table in Markdown; all columns but the first ``words`` and ``test`` are numbers."""
    head, *rest = rows
    rule = ["---" if at < words or title == "test" else "---:" for at, title in enumerate(head)]
    for row in (head, rule, *rest):
        click.echo(f"| {' | '.join(map(str, row))} |")


def _print_tables(figures: "Sequence[ModelFigures]", compared: list[dict[str, Any]]) -> None:
    cpu = cpu_facts()
    print_facts(
        cpu["model"],
        {"features": ", ".join(cpu["features"]) or "none", "threads": figures[0].threads},
    )
    for own in figures:
        click.echo()
        _print_model(own)
    if compared:
        click.echo()
        _print_ratios(compared, named(figures[0].model))


def compare(figures: "Sequence[ModelFigures]") -> list[dict[str, Any]]:
    """Divide every later model's median speed by the first one's.

    ``low`` and ``high`` are the least and the largest ratio of a turn.
    """
    first, *others = figures
    return [
        {
            "model": str(other.model.path),
            "to": str(first.model.path),
            **_test(mine.test),
            "recipe": other.model.manifest.recipe_name,
            "p50_ratio": mine.p50_ts / theirs.p50_ts,
            "low": min(ratios),
            "high": max(ratios),
            "ratios": ratios,
        }
        for other in others
        for mine, theirs in zip(other.tests, first.tests, strict=True)
        for ratios in [[a / b for a, b in zip(mine.speeds, theirs.speeds, strict=True)]]
    ]


def _print_model(own: "ModelFigures") -> None:
    peak = own.peak_rss_bytes
    print_facts(
        str(own.model.path),
        {
            "recipe": f"{own.model.manifest.recipe_name}, {size(own.model.nbytes)}",
            "load": f"{1e3 * statistics.median(own.load_s):.0f} ms",
            "peak memory": "not known here" if peak is None else size(peak),
        },
    )
    print_table([_HEAD, *map(_cells, own.tests)], right=range(1, len(_HEAD)))


_RATIOS: Final = ("test", "batch", "ratio", "turns")


def _ratio_cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the test, and the ratio with its extremes."""
    turns = f"{row['low']:.3f} to {row['high']:.3f}" if len(row["ratios"]) > 1 else "-"
    return row["test"], row["batch"], f"{row['p50_ratio']:.3f} x", turns


def _print_ratios(compared: Sequence[dict[str, Any]], first: str) -> None:
    rows = [(*_ratio_cells(row), f"{row['model']} ({row['recipe']})") for row in compared]
    print_table([(*_RATIOS, f"to {first}"), *rows], right=(1, 2, 3))
    for row in compared:
        _warn(row)


def _warn(row: Mapping[str, Any]) -> None:
    """Say where the turns do not agree which of two models is faster."""
    test = f"{row['test']} of {row['model']}"
    if len(row["ratios"]) == 1:
        note(f"{test}: one turn says nothing about chance; give -r 5 or more")
    elif row["low"] <= 1 <= row["high"]:
        note(f"{test}: the turns do not agree which is faster; give more with -r")


def _cells(test: "Figures") -> Sequence[object]:
    row = _row(test)
    keys = ("ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "itl_p95_ms", "itl_p99_ms")
    times = [row[key] for key in keys]
    return (
        row["test"],
        row["batch"],
        f"{row['p50_ts']:,.1f}",
        f"{row['p95_ts']:,.1f}",
        *("-" if time is None else f"{time:.2f}" for time in times),
    )


def _where(figures: "Sequence[ModelFigures]") -> dict[str, Any]:
    return {
        "test_time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cpu": cpu_facts(),
        "n_threads": figures[0].threads,
        "packages": package_versions(),
    }


def _facts(own: "ModelFigures") -> dict[str, Any]:
    return {
        "model_filename": str(own.model.path),
        "model_size": own.model.nbytes,
        "variant": own.model.manifest.variant,
        "recipe": own.model.manifest.recipe_name,
        "load_s": statistics.median(own.load_s),
        "peak_rss_bytes": own.peak_rss_bytes,
    }


def _model(own: "ModelFigures") -> dict[str, Any]:
    return {**_facts(own), "tests": list(map(_row, own.tests))}


def _test(test: "BenchmarkTest") -> dict[str, Any]:
    return {
        "test": test.name,
        "n_prompt": test.n_prompt,
        "n_gen": test.n_gen,
        "n_depth": test.n_depth,
        "batch": test.batch,
        "n_texts": test.n_texts,
    }


def _row(figures: "Figures") -> dict[str, Any]:
    """Return one test's figures, with llama-bench's field names where they exist."""
    spread_s = _spread(figures.seconds)
    nanoseconds = [round(1e9 * seconds) for seconds in figures.seconds]
    return {
        **_test(figures.test),
        "avg_ns": round(statistics.fmean(nanoseconds)),
        "stddev_ns": None if spread_s is None else round(1e9 * spread_s),
        "avg_ts": statistics.fmean(figures.speeds),
        "stddev_ts": _spread(figures.speeds),
        "samples_ns": nanoseconds,
        "samples_ts": figures.speeds,
        "p50_ts": figures.p50_ts,
        "p95_ts": figures.p95_ts,
        "p99_ts": figures.p99_ts,
        **_quantiles("ttft", figures.ttft_s),
        **_quantiles("tpot", figures.tpot_s),
        **_quantiles("itl", figures.itl_s),
    }


def _spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation, or None for a single sample."""
    return statistics.stdev(values) if len(values) > 1 else None


def _quantiles(name: str, seconds: Sequence[float]) -> dict[str, float | None]:
    from gpt2edge.evaluate.speed import percentile

    return {
        f"{name}_p50_ms": 1e3 * statistics.median(seconds) if seconds else None,
        f"{name}_p95_ms": 1e3 * percentile(seconds, 0.95) if seconds else None,
        f"{name}_p99_ms": 1e3 * percentile(seconds, 0.99) if seconds else None,
    }
