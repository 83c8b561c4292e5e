"""Answers: extract the answer of a completion, and bring it into canonical form."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final, TypeAlias

from gpt2edge._checks import check_text

Extract: TypeAlias = Callable[[str], str | None]
"""Returns the answer in a completion in canonical form, or None if there is none."""

_NUMBER: Final = r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_FRACTION: Final = rf"{_NUMBER}(?:\s*/\s*\d[\d,]*)?"
_MARKS: Final = (
    re.compile(r"####\s*(.+)"),  # GSM8K
    re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}"),  # MATH
    re.compile(r"answer\s*(?:is|=|:)\s*:?\s*(.+?)(?=\.?\s*$|\.\s)", re.IGNORECASE | re.MULTILINE),
)
_QUANTITY: Final = re.compile(
    rf"(?P<whole>[-+]?\d+)\s+(?P<part>\d+/\d+)\b|(?P<plain>{_FRACTION})", re.ASCII
)
_LATEX_FRACTION: Final = re.compile(r"\\[dt]?frac\{([-+]?\d+)\}\{(\d+)\}")
_UNIT: Final = re.compile(r"\s*(?:%|°|[^\W\d_]+[²³]?(?:\s*/\s*[^\W\d_]+)?(?:\s+[^\W\d_]+)?)?\s*")
_LONGEST: Final = 64


def extract_answer(text: str) -> str | None:
    """Return the answer in ``text`` in canonical form, or None.

    The answer is the text after the last "####", else in the last \\\\boxed{}, else after the last
    "answer is" or "answer:"; without any of these, the last number of the text.
    """
    check_text("text", text)
    for mark in _MARKS:
        if found := mark.findall(text):
            return canonical(found[-1])
    numbers = [match.group() for match in re.finditer(_FRACTION, text, re.ASCII)]
    return canonical(numbers[-1]) if numbers else None


def canonical(answer: str) -> str | None:
    """Return one text for all ways to write the same answer; None for an empty one.

    A number becomes a whole number or a fraction in lowest terms: "1,200.50", "$1200.5" and
    "2401/2 dollars" are "2401/2". Units before and after a number are left out, since the answers
    to one problem share them: to convert units, write a function for the ``answer`` option. Other
    answers are case-folded, their blanks collapsed and the final full stop removed.
    """
    check_text("answer", answer)
    text = " ".join(answer.replace("\u2212", "-").strip().strip("$").split()).rstrip(".")
    text = _LATEX_FRACTION.sub(r"\1/\2", text).replace("\\$", "$")
    number = _number(text.lstrip("$€£ ").replace("-$", "-"))
    if number is not None:
        return str(number)
    return text.casefold().strip(" .,;:!\"'") or None


def _number(text: str) -> Fraction | None:
    match = _QUANTITY.match(text)
    if match is None or len(match.group()) > _LONGEST:
        return None
    if not _UNIT.fullmatch(text, match.end()):
        return None
    try:
        if match["whole"]:
            whole, part = Fraction(match["whole"]), Fraction(match["part"])
            return whole - part if match["whole"].startswith("-") else whole + part
        top, _, bottom = match["plain"].replace(",", "").replace(" ", "").partition("/")
        return Fraction(top) / Fraction(bottom or 1)
    except ZeroDivisionError:
        return None
