"""Output of ``gpt2edge bench``: tables, one JSON object, or one line per test."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.commands.doctor import cpu_facts, package_versions
from gpt2edge.cli.display.output import named, note, print_facts, print_json, print_table, size

if TYPE_CHECKING:
    from gpt2edge.evaluate.speed import BenchmarkTest, Figures, ModelFigures

_HEAD: Final = (
    "test",
    "batch",
    "t/s p50",
    "t/s p95",
    "TTFT ms",
    "TPOT ms p50",
    "TPOT ms p95",
    "ITL ms p95",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The format of the results; tables if neither is set."""

    as_json: bool
    as_jsonl: bool


def print_figures(figures: "Sequence[ModelFigures]", form: Form, *, ratios: bool) -> None:
    """All figures; ``ratios`` adds those of each model's speed to the first one's."""
    compared = compare(figures) if ratios else []
    if form.as_json:
        print_json({**_where(figures), "models": list(map(_model, figures)), "ratios": compared})
        return
    if form.as_jsonl:
        for own in figures:
            for test in own.tests:
                print_json({**_where(figures), **_facts(own), **_row(test)})
        return
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


def _print_ratios(compared: Sequence[dict[str, Any]], first: str) -> None:
    rows = [
        (
            row["test"],
            row["batch"],
            f"{row['p50_ratio']:.3f} x",
            f"{row['low']:.3f} to {row['high']:.3f}" if len(row["ratios"]) > 1 else "-",
            f"{row['model']} ({row['recipe']})",
        )
        for row in compared
    ]
    print_table([("test", "batch", "ratio", "turns", f"to {first}"), *rows], right=(1, 2, 3))
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
    times = [row[key] for key in ("ttft_p50_ms", "tpot_p50_ms", "tpot_p95_ms", "itl_p95_ms")]
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
    }
