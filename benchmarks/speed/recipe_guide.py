"""The table of docs/guides/recipes.md: ``python -m benchmarks.speed.recipe_guide``."""

from collections.abc import Sequence
from typing import Final

from benchmarks.common.result_files import RESULTS, Row, line, read_rows
from benchmarks.speed.first_page import ROOT

PAGE: Final = ROOT / "docs" / "guides" / "recipes.md"
BEGIN: Final = "<!-- begin recipes -->\n"
END: Final = "<!-- end recipes -->\n"
_TESTS: Final = {
    "one sequence": "tg64@d32",
    "after 944 tokens": "tg64@d944",
    "8 at once": "tg64@d32/b8",
    "prefill": "pp512",
}
_HEAD: Final = ("recipe", "perplexity", "peak memory", *_TESTS)


def table(rows: Sequence[Row]) -> str:
    """Return a line for each recipe: what it loses, what it takes, tokens per second."""
    ours = [row for row in rows if row["system"] == "gpt2edge"]
    labels = list(dict.fromkeys(str(row["label"]) for row in ours))
    lines = [line(_HEAD), line(["---", *["---:"] * (len(_HEAD) - 1)])]
    for label in labels:
        own = {row["test"]: row for row in ours if row["label"] == label}
        prefill = own[_TESTS["prefill"]]
        name = label.removeprefix("gpt2edge ").replace("+int8-cache", "`, int8 cache")
        lines.append(
            line(
                [
                    f"`{name}" + "`" * ("cache" not in name),
                    f"{prefill['perplexity_increase']['value']:+.2%}",
                    f"{own[_TESTS['one sequence']]['peak_rss_bytes'] / 1e6:,.0f} MB",
                    *(f"{own[test]['p50_ts']:,.0f}" for test in _TESTS.values()),
                ]
            )
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the table in the page."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    rows = read_rows(RESULTS / "latency.jsonl")
    PAGE.write_text(f"{before}{BEGIN}{table(rows)}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
