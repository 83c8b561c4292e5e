"""Read the books, clean them, hold some out, tokenise: deterministic from one folder."""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.story.selection import group_of
from training.story.tokenizer import END, encode_file, train_tokenizer

GROUPS = ("tale", "novel", "heldout")
FRONT_MATTER = 12  # paragraphs at each end of a book where publishers' notices stand
NOTICE = re.compile(
    r"transcriber|produced by|e-text|gutenberg|pgdp|proofread|copyright|all rights reserved|"
    r"^\W*illustrat|^\W*contents|printed (by|in)|published|\bpublishers\b|press\b.*\bnew york|"
    r"^by\b.{0,60}$|^author of|footnote|^page \d|_changed to_|^\*+$|html version",
    re.IGNORECASE,
)
ANYWHERE = re.compile(r"transcriber|gutenberg|footnote|^\W*illustrat|_changed to_", re.IGNORECASE)
BRACKETED = re.compile(r"\s*\[(?:Illustration|Transcriber|Footnote|Sidenote)[^\]]*\]|\[\d+\]")
PUNCTUATION = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2014": "--", "\u00a0": " ",
     "\ufeff": None, "_": None, "=": None, "|": None}
)  # fmt: skip


def read_books(data: Path) -> Iterator[tuple[str, list[str]]]:
    """(INDEX.tsv entry, paragraphs) of every book, in the order of the files."""
    rows = (data / "INDEX.tsv").read_bytes().decode().removesuffix("\n").split("\n")
    entries = iter([row.rpartition("\t")[0].replace("\r", ": ") for row in rows])
    lines: list[str] = []
    for part in sorted(data.glob("books-*.txt.xz")):
        with lzma.open(part, "rt", encoding="utf-8") as file:
            for line in file:
                if line.strip() == END:
                    yield next(entries), lines
                    lines = []
                elif line.strip():
                    lines.append(line)


def clean_paragraph(text: str) -> str:
    """One paragraph with plain punctuation and single spaces; empty when it is not prose."""
    if len(re.findall(r"\s{4,}", text)) > 2 or len(re.findall(r"\.\s?\.\s?\.\s?\.\s?\.", text)):
        return ""  # a table or a table of contents
    text = BRACKETED.sub("", text.translate(PUNCTUATION))
    text = re.sub(r"\s+", " ", text).strip()
    letters = sum(char.isalpha() for char in text)
    plain = sum(char.isascii() for char in text)
    if letters < 0.6 * len(text) or plain < 0.97 * len(text) or ANYWHERE.search(text):
        return ""
    return text


def is_heading(text: str) -> bool:
    """A line in capitals, or a chapter number: it opens a story or a chapter."""
    if re.match(r"(chapter|part|book|story|tale)\s+[\divxlc]+\b.{0,60}$", text, re.IGNORECASE):
        return True
    return len(text) < 80 and not any(char.islower() for char in text) and text[-1] not in "!?\"'"


def clean_book(paragraphs: list[str], seen: set[bytes]) -> list[str]:
    """The stories or chapters of one book, without what `seen` already holds; extends `seen`."""
    pieces: list[list[str]] = [[]]
    last = len(paragraphs) - FRONT_MATTER
    for i, raw in enumerate(paragraphs):
        text = clean_paragraph(raw)
        if not text or ((i < FRONT_MATTER or i > last) and NOTICE.search(text)):
            continue
        if is_heading(text) or text.lower() == "the end":
            pieces.append([])
            continue
        key = hashlib.blake2b(re.sub(r"\W", "", text.lower()).encode(), digest_size=8).digest()
        if len(text) > 60 and key in seen:
            continue
        if len(text) > 60:
            seen.add(key)
        pieces[-1].append(text)
    return ["\n\n".join(piece) for piece in pieces if sum(map(len, piece)) > 600]


def write_texts(data: Path, out: Path) -> dict[str, list[str]]:
    """Write GROUP.txt for every group; return the titles of each. Held-out books come first,
    so that no paragraph of theirs stays in another edition or collection."""
    books = [(group_of(entry), entry, lines) for entry, lines in read_books(data)]
    books = [book for book in books if book[0]]
    books.sort(key=lambda book: book[0] != "heldout")
    titles: dict[str, list[str]] = {group: [] for group in GROUPS}
    texts: dict[str, list[str]] = {group: [] for group in GROUPS}
    seen: set[bytes] = set()
    for group, entry, lines in books:
        stories = clean_book(lines, seen)
        if group and stories:
            titles[group].append(entry)
            texts[group].extend(story + "\n" + END + "\n" for story in stories)
    for group in GROUPS:
        (out / f"{group}.txt").write_text("".join(texts[group]), encoding="utf-8")
        (out / f"{group}.titles").write_text("\n".join(titles[group]) + "\n", encoding="utf-8")
    return titles


def prepare(data: Path, out: Path, vocab_size: int) -> dict[str, NDArray[np.uint16]]:
    """Tokens of every group, made once under `out` and read back afterwards."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "heldout.npy").exists():
        write_texts(data, out)
        sources = [out / f"{group}.txt" for group in GROUPS if group != "heldout"]
        train_tokenizer(sources, out / "tokenizer.json", vocab_size)
        for group in GROUPS:  # heldout last: its file says that all are complete
            np.save(out / f"{group}.npy", encode_file(out / "tokenizer.json", out / f"{group}.txt"))
    return {group: np.load(out / f"{group}.npy") for group in GROUPS}
