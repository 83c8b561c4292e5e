"""README's table and chart of speeds, from published rows.

python -m benchmarks.speed.first_page
"""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.common.report import bits
from benchmarks.common.result_files import RESULTS, Row, line, read_rows

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "docs" / "images" / "speed.svg"
BEGIN: Final = "<!-- begin speed -->\n"
END: Final = "<!-- end speed -->\n"

_ANY: Final = (4, 8, 32)
_CASES: Final[tuple[tuple[str, str, tuple[int, ...]], ...]] = (
    ("prefill of 512 tokens", "pp512", _ANY),
    ("prefill of 512 tokens, 4 bits", "pp512", (4,)),
    ("decode after 32 tokens, 4 bits", "tg64@d32", (4,)),
    ("decode after 32 tokens, 8 bits", "tg64@d32", (8,)),
    ("decode after 32 tokens, float32", "tg64@d32", (32,)),
    ("decode after 944 tokens", "tg64@d944", _ANY),
    ("decode, 8 sequences at once", "tg64@d32/b8", _ANY),
    ("16 samples of one 200-token prompt", "tg64@d200/n16", _ANY),
)
"""A row of the table: its words, the test, and the bits of the weights that take part."""
_PANELS: Final = (
    ("prefill of 512 tokens", "pp512"),
    ("decode after 32 tokens", "tg64@d32"),
    ("decode, 8 sequences at once", "tg64@d32/b8"),
)

_PANEL, _BARS, _ROW, _TOP, _LABELS = 330, 150, 22, 50, 84
"""Pixels: width of a panel, longest bar, height of a row, above the bars, before them."""
_OURS, _PEER, _INK, _PALE = "#1b6ca8", "#b8b8b8", "#24292f", "#57606a"


def table(rows: Sequence[Row]) -> str:
    """Compare the fastest variant of gpt2edge with the fastest peer, test by test."""
    lines = [
        line(["tokens per second", "gpt2edge", "fastest peer", "ratio"]),
        line(["---", "---", "---", "---:"]),
    ]
    for words, test, allowed in _CASES:
        own = [row for row in rows if row["test"] == test and bits(row) in allowed]
        ours = _fastest(row for row in own if row["system"] == "gpt2edge")
        peer = _fastest(row for row in own if row["system"] != "gpt2edge")
        cells = [_cell(ours, _variant(ours)), _cell(peer, str(peer["label"]))]
        lines.append(line([words, *cells, f"{ours['p50_ts'] / peer['p50_ts']:.2f}"]))
    return "\n".join(lines) + "\n"


def chart(rows: Sequence[Row]) -> str:
    """Draw the fastest variant of every system, a panel a test, as an SVG."""
    systems = list(dict.fromkeys(str(row["system"]) for row in rows))
    width, height = _PANEL * len(_PANELS), _TOP + _ROW * len(systems) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        "<title>Tokens per second of GPT-2 124M by system</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, (words, test) in enumerate(_PANELS):
        best = {
            system: _fastest(r for r in rows if r["test"] == test and r["system"] == system)
            for system in systems
        }
        parts += _panel(_PANEL * number, words, best)
    machine = rows[0]["machine"]
    note = (
        f"GPT-2 124M, tokens per second (median), {machine['cores']} cores of an {machine['cpu']} "
        f"(Zen 4), {rows[0]['threads']} threads; each system's fastest format and its increase of "
        "perplexity"
    )
    parts.append(_text(10, height - 10, note, fill=_PALE))
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: int, words: str, best: dict[str, Row]) -> list[str]:
    longest = max(row["p50_ts"] for row in best.values())
    parts = [_text(left + _LABELS, 30, words, fill=_INK, weight="bold")]
    for place, (system, row) in enumerate(best.items()):
        ours, y = system == "gpt2edge", _TOP + _ROW * place
        length = round(_BARS * row["p50_ts"] / longest, 1)
        weight = "bold" if ours else "normal"
        parts += [
            _text(left + _LABELS - 6, y + 13, system, fill=_INK, weight=weight, anchor="end"),
            f'<rect x="{left + _LABELS}" y="{y + 2}" width="{length}" height="{_ROW - 7}" '
            f'fill="{_OURS if ours else _PEER}"/>',
            _text(left + _LABELS + length + 4, y + 13, f"{row['p50_ts']:,.0f}", fill=_INK),
            _text(left + _LABELS + length + 40, y + 13, _format(row), fill=_PALE, size=8),
        ]
    return parts


def _format(row: Row) -> str:
    return str(row["variant"]) if bits(row) == 32 else f"{row['variant']} {_loss(row)}"


def _text(x: float, y: float, words: str, *, fill: str, **more: object) -> str:
    names = {"anchor": "text-anchor", "size": "font-size", "weight": "font-weight"}
    rest = "".join(f' {names[name]}="{value}"' for name, value in more.items())
    return f'<text x="{x:g}" y="{y}" fill="{fill}"{rest}>{escape(words)}</text>'


def _fastest(rows: Iterable[Row]) -> Row:
    return max(rows, key=lambda row: float(row["p50_ts"]))


def _variant(row: Row) -> str:
    return str(row["label"]).removeprefix("gpt2edge ").replace("+int8-cache", ", int8 cache")


def _loss(row: Row) -> str:
    return f"{row['perplexity_increase']['value']:+.2%}"


def _cell(row: Row, name: str) -> str:
    loss = "" if bits(row) == 32 else f", {_loss(row)}"
    return f"{row['p50_ts']:,.0f} ({name}{loss})"


def main() -> None:
    """Replace the table in README.md and the chart."""
    rows = read_rows(RESULTS / "latency.jsonl")
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(f"{before}{BEGIN}{table(rows)}{END}{after}", encoding="utf-8")
    CHART.parent.mkdir(parents=True, exist_ok=True)
    CHART.write_text(chart(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
