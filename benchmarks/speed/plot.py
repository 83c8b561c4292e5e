"""A bar plot of the published speeds, a panel a test: ``python -m benchmarks.speed.plot``."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.common.result_files import RESULTS, Row, read_rows

OURS, PEER = "#1b6ca8", "#b8b8b8"


def plot(rows: Sequence[Row], out: Path) -> None:
    """Bars of the median, whiskers down to the 95th percentile; the same rows, the same bytes."""
    mpl.rcParams.update({"svg.hashsalt": "gpt2edge", "svg.fonttype": "none", "font.size": 8})
    tests = list(dict.fromkeys(row["test"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    figure = Figure(
        figsize=(2.1 * len(tests) + 1.2, 0.22 * len(labels) + 0.8), layout="constrained"
    )
    panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    for panel, test in zip(panels, tests, strict=True):
        own = {row["label"]: row for row in rows if row["test"] == test}
        speeds = [own[label]["p50_ts"] for label in labels]
        slow = [own[label]["p50_ts"] - own[label]["p95_ts"] for label in labels]
        colors = [OURS if own[label]["system"] == "gpt2edge" else PEER for label in labels]
        bars = panel.barh(labels, speeds, color=colors, xerr=[slow, [0] * len(slow)])
        panel.bar_label(bars, labels=[f"{speed:,.0f}" for speed in speeds], padding=2, fontsize=7)
        panel.set_xlim(0, 1.2 * max(speeds))
        panel.set_title(test)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.supxlabel("tokens per second")
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    """Draw what is published."""
    plot(read_rows(RESULTS / "latency.jsonl"), RESULTS / "latency.svg")


if __name__ == "__main__":
    main()
