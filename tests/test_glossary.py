"""docs/glossary.md: a word that it rejects stands in no public name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.conftest import ROOT

ROOMS: Final = ("src/gpt2edge", "graph", "export", "quant", "evaluate", "inside", "runtime", "cli")
BANNED: Final = {
    *("judge", "critic", "picker", "flavour", "flavor", "ensemble", "preset", "ppl"),
}
"""Words of the column "not" that have no other meaning in this project."""


def public_names(path: Path) -> Iterator[str]:
    """Names of classes, functions, parameters and annotated fields, without private ones."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def words(name: str) -> set[str]:
    """``GenerativeJudge`` and ``generative_judge`` as words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def rejected_words() -> set[str]:
    """The column "not" of the page."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) > 25
    return {word.strip() for row in rows for word in row[2].split(",")}


def test_words_are_split() -> None:
    assert words("AskTheJudge") == {"ask", "the", "judge"}
    assert words("max_ppl") == {"max", "ppl"}
    assert words("KVCache") == {"kv", "cache"}


def test_what_is_banned_is_on_the_page() -> None:
    assert rejected_words() >= BANNED - {"flavor"}


def test_no_public_name_has_a_rejected_word() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in public_names(path)
        if not name.startswith("_") and words(name) & BANNED
    }
    assert not found
