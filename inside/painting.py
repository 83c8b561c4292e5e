"""A text with its tokens painted by rank, as GLTR does: an HTML page, nothing fetched."""

from collections.abc import Iterator
from html import escape
from typing import Any, Final

import numpy as np

from gpt2edge.inside.detection import GLTR_RANKS
from gpt2edge.inside.statistics import TokenStatistics

BANDS: Final = ("10", "100", "1000", "beyond")
"""The rank that a token does not exceed."""
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.7 system-ui, sans-serif;
  --ink: #1b1b1b; --ground: #fff;
  --r10: #bfe8c5; --r100: #f7e3a0; --r1000: #f6b9ae; --beyond: #d9c2f0; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8e8e8; --ground: #16191c;
  --r10: #1d5a2c; --r100: #6a5508; --r1000: #7c2b20; --beyond: #523080; }} }}
body {{ max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--ground); }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.r10 {{ background: var(--r10); }}
.r100 {{ background: var(--r100); text-decoration: underline dotted; }}
.r1000 {{ background: var(--r1000); text-decoration: underline; }}
.beyond {{ background: var(--beyond); text-decoration: underline double; }}
mark {{ color: inherit; background: none; border-radius: .2rem; }}
table {{ border-collapse: collapse; }} caption {{ text-align: left; padding: .4rem 0; }}
td, th {{ text-align: left; padding: .1rem 1.2rem .1rem 0; font-weight: normal;
  font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{legend}</p>
<p class="text">{text}</p>
<table>
<caption>Scores</caption>
<tbody>
{rows}
</tbody>
</table>
<p>{reading}</p>
</body>
</html>
"""
READING: Final = (
    "What these scores find is that a sampler cut the tail of a distribution, not that a machine "
    "wrote: text drawn from the whole distribution does not stand out, and nobody's text is "
    "evidence about a person."
)


def bands(statistics: TokenStatistics) -> list[str]:
    """Return the band of each token's rank: "10", "100", "1000" or "beyond"."""
    return [BANDS[at] for at in np.searchsorted(GLTR_RANKS, statistics.ranks)]


def painted_page(
    statistics: TokenStatistics, scores: dict[str, Any], *, title: str = "Painted text"
) -> str:
    """Return the page; ``scores`` are named numbers under the text."""
    legend = " ".join(f'<mark class="{_class(band)}">rank {_said(band)}</mark>' for band in BANDS)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name.replace("_", " "))}</th><td>{_number(value)}</td></tr>'
        for name, value in scores.items()
    )
    return _PAGE.format(
        title=escape(title),
        legend=legend,
        text="".join(_spans(statistics)),
        rows=rows,
        reading=escape(READING),
    )


def _spans(statistics: TokenStatistics) -> Iterator[str]:
    """Yield a marked token each; the first line end of a token is drawn as one."""
    for band, text, rank, logprob in zip(
        bands(statistics), statistics.texts, statistics.ranks, statistics.logprobs, strict=True
    ):
        said = f"rank {rank:,}, probability {np.exp(logprob):.4f}"
        yield f'<mark class="{_class(band)}" title="{said}">{escape(text)}</mark>'


def _class(band: str) -> str:
    return "beyond" if band == "beyond" else f"r{band}"


def _said(band: str) -> str:
    return "over 1,000" if band == "beyond" else f"up to {int(band):,}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
