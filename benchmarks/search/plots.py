"""Plots of the search results: accuracy against tokens, and against seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

Row = dict[str, Any]
LINES: Final = {
    "majority": "majority",
    "weighted by check": "vote of those that the calculator passes",
    "checked beam": "beam, calculator",
    "best by orm": "best of N, ORM",
    "best by prm prod": "best of N, PRM",
    "weighted by prm prod": "weighted vote, PRM",
    "beam": "beam, PRM",
    "dvts": "DVTS, PRM",
    "pass": "one of N is right",
}


def plot(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the plots as SVG; those that have data."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "gpt2edge"  # the same rows, the same file
    paths = []
    for key, label in (
        ("tokens", "generated tokens a problem"),
        ("seconds", "{} seconds a problem"),
    ):
        known = [row for row in rows if row[key] is not None]
        if any(row["method"] == "majority" for row in known):
            label = label.format(rows[0]["clock"])
            paths.append(_draw(known, key, label, folder / f"search-{key}.svg"))
    return paths


def _draw(rows: Sequence[Row], key: str, label: str, path: Path) -> Path:
    from matplotlib import pyplot

    generators = list(dict.fromkeys(row["generator"] for row in rows))
    figure, axes = pyplot.subplots(
        1, len(generators), figsize=(4.2 * len(generators), 4.2), sharey=True, squeeze=False
    )
    greedy = {row["generator"]: row["accuracy"] for row in rows if row["method"] == "greedy"}
    for axis, generator in zip(axes[0], generators, strict=True):
        for method, name in LINES.items():
            own = sorted(
                (row[key], row["accuracy"], row["low"], row["high"])
                for row in rows
                if row["generator"] == generator and row["method"] == method
            )
            if own:
                x, y, low, high = zip(*own, strict=True)
                style = ":" if method == "pass" else "-"
                (line,) = axis.plot(x, y, style, marker=".", label=name)
                axis.fill_between(x, low, high, alpha=0.12, color=line.get_color(), linewidth=0)
        for other, value in greedy.items():
            axis.axhline(value, color="grey", linewidth=0.8, linestyle="--")
            axis.annotate(
                f"greedy {other}", (0.02, value), xycoords=("axes fraction", "data"), fontsize=7
            )
        axis.set_xscale("log", base=2)
        axis.set_title(generator)
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy")
    axes[0][-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
