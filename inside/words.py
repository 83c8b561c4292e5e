"""Tokens for people: every character to be seen, and cells of one width."""

import unicodedata
from typing import Final

_SHOWN: Final = {"\n": "\u21b5", "\r": "\u240d", "\t": "\u21e5", " ": "\u00b7"}


def visible(token: str) -> str:
    """Return a token with its blanks and line ends as signs; what cannot be drawn as U+FFFD."""
    return (
        "".join(_SHOWN.get(each) or (each if _drawn(each) else "\ufffd") for each in token)
        or "\u2205"
    )


def fitted(text: str, width: int) -> str:
    """Return ``text`` cut or filled with blanks to ``width`` columns of a terminal."""
    found, used = [], 0
    for each in text:
        columns = _columns(each)
        if used + columns > width:
            break
        found.append(each)
        used += columns
    return "".join(found) + " " * (width - used)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _drawn(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
