"""Plots of quality against bytes and against decode speed, from ``results/quality*.jsonl``.

python -m benchmarks.quality.plot          # writes results/quality.svg; needs matplotlib
"""

from pathlib import Path

import matplotlib as mpl

from benchmarks.common.result_files import RESULTS, Row, read_rows

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes


def draw(axes: Axes, points: list[tuple[float, Row]], label: str) -> None:
    """KL divergence, on a logarithmic scale, against ``points``' first part."""
    for system in sorted({row["system"].split()[0] for _, row in points}):
        chosen = [(x, row) for x, row in points if row["system"].split()[0] == system]
        axes.scatter([x for x, _ in chosen], [row["kl"] for _, row in chosen], label=system)
    for x, row in points:
        name = row["system"].split(maxsplit=1)[1]
        axes.annotate(name, (x, row["kl"]), xytext=(4, 3), textcoords="offset points", fontsize=7)
    axes.set(yscale="log", xlabel=label, ylabel="KL divergence from float32, nats a token")
    axes.legend()


def plot(out: Path) -> Path:
    """Draw the plain storyteller's rows, or those of the first model there is."""
    rows = [row for row in read_rows(RESULTS / "quality.jsonl") if row["outliers"] == "plain"]
    rows = [row for row in rows if row["model"] == rows[0]["model"]]
    path = RESULTS / "quality-speed.jsonl"
    timed = {
        row["system"]: row["decode_tps"]
        for row in (read_rows(path) if path.is_file() else [])
        if row["model"] == rows[0]["model"]
    }
    figure, axes = pyplot.subplots(1, 2 if timed else 1, squeeze=False, figsize=(12, 5))
    draw(axes[0][0], [(row["bytes"] / 1e6, row) for row in rows], "graph and weights, MB")
    if timed:
        points = [(timed[row["system"]], row) for row in rows if row["system"] in timed]
        draw(axes[0][1], points, "decode, tokens per second")
    figure.suptitle(f"{rows[0]['model']}: what each recipe costs")
    figure.savefig(out, bbox_inches="tight", metadata={"Date": None})
    return out


if __name__ == "__main__":
    print(plot(RESULTS / "quality.svg"))
