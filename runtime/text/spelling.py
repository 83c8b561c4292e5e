"""Compare the text that tokens decode to with the text that was encoded."""

from itertools import zip_longest
from typing import Final

_WORD_MARK: Final = "\u2581"
"""SentencePiece's space."""


def spells(spelled: str, text: str) -> bool:
    """Return whether ``spelled`` equals ``text``, except for spaces that a tokenizer adds."""
    if spelled == text:
        return True
    blanks = spelled.count(" ") - text.count(" ")
    return blanks >= 0 and spelled.replace(" ", "") == text.replace(" ", "")


def first_unread(
    spelled: str, text: str, normalized: str, unknown_bytes: frozenset[int] = frozenset()
) -> str | None:
    """Return the first character of ``text`` that is missing in ``spelled``, or None.

    Intended changes of the tokenizer do not count: ``normalized`` is the text after its
    normalizer, and white space separates words. White space counts as missing only where it
    contains one of ``unknown_bytes``, the bytes without a token.
    """
    found, wanted = _letters(spelled), _letters(normalized)
    if found.casefold() not in (wanted.casefold(), _letters(text).casefold()):
        pairs = zip_longest(found, wanted, fillvalue="")
        unlike = (there for here, there in pairs if here.casefold() != there.casefold())
        return next(filter(None, unlike), wanted[-1:])
    for character in sorted(set(text)):
        if not character.isspace() or unknown_bytes.isdisjoint(character.encode()):
            continue
        if spelled.count(character) < text.count(character):
            return character
    return None


def _letters(text: str) -> str:
    return "".join(text.replace(_WORD_MARK, " ").split())
