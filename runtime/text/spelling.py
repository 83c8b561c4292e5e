"""What tokens spell, beside the text that they were made of: is all of it there?"""

from itertools import zip_longest
from typing import Final

_WORD_MARK: Final = "\u2581"
"""SentencePiece's blank."""


def spells(spelled: str, text: str) -> bool:
    """Whether ``spelled`` is ``text``, but for blanks that a tokenizer puts before words."""
    if spelled == text:
        return True
    blanks = spelled.count(" ") - text.count(" ")
    return blanks >= 0 and spelled.replace(" ", "") == text.replace(" ", "")


def first_unread(
    spelled: str, text: str, normalized: str, unknown_bytes: frozenset[int] = frozenset()
) -> str | None:
    """The first character of ``text`` that ``spelled`` does not have, None where it has all.

    What a tokenizer changes on purpose does not count: ``normalized`` is the text after that, and
    white space is how it parts words. Of this, only that counts for which a byte has no token,
    which is one of ``unknown_bytes``.
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
