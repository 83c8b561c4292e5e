"""Game of 24: make 24 of four numbers by + - * /, each number used once.

The test problem of Tree of Thoughts (Yao et al. 2023, section 4.1). This module holds the game: a
checker that parses expressions, the moves, and an exact test of whether a position can be won.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Final

from gpt2edge._checks import check_int, check_list, check_text
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.task import Thought

TARGET: Final = Fraction(24)
_TOKEN: Final = re.compile(r"\s*(\d{1,6}|[-+*/()])", re.ASCII)
_LONGEST: Final = 200


def is_solution(expression: str, numbers: Sequence[int]) -> bool:
    """Return whether ``expression`` uses exactly ``numbers`` and equals 24; it is never run."""
    check_text("expression", expression)
    for number in check_list("numbers", numbers, "a list of whole numbers"):
        check_int("numbers", number, -(2**63), 2**63, part="a number in ")
    try:
        value, used = evaluate(expression)
    except ValueError:
        return False
    return value == TARGET and Counter(used) == Counter(numbers)


def evaluate(expression: str) -> tuple[Fraction, list[int]]:
    """Return the value of an expression of whole numbers, + - * / and brackets, and its numbers.

    Raises ValueError for anything else, and for a division by zero.
    """
    tokens, index = [], 0
    text = expression.rstrip()
    if len(text) > _LONGEST:
        raise ValueError(f"an expression has at most {_LONGEST} characters; this has {len(text)}")
    while index < len(text):
        match = _TOKEN.match(text, index)
        if match is None:
            raise ValueError(f"{text[index : index + 10]!r} is no number, operator or bracket")
        tokens.append(match[1])
        index = match.end()
    used = [int(token) for token in tokens if token.isdigit()]
    parser = _Parser(tokens)
    value = parser.sum()
    if parser.tokens:
        raise ValueError(f"{parser.tokens[-1]!r} is left over")
    return value, used


class _Parser:
    """A recursive descent parser; it pops tokens from the end of a reversed list."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(tokens)[::-1]

    def sum(self) -> Fraction:
        """Parse products joined by + and -."""
        value = self._product()
        while self._next() in ("+", "-"):
            sign = self.tokens.pop()
            term = self._product()
            value = value + term if sign == "+" else value - term
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while self._next() in ("*", "/"):
            sign = self.tokens.pop()
            factor = self._factor()
            if sign == "/" and not factor:
                raise ValueError("division by zero")
            value = value * factor if sign == "*" else value / factor
        return value

    def _factor(self) -> Fraction:
        if not self.tokens:
            raise ValueError("the expression ends too early")
        token = self.tokens.pop()
        if token.isdigit():
            return Fraction(int(token))
        if token != "(":
            raise ValueError(f"{token!r} stands where a number should")
        value = self.sum()
        if self._next() != ")":
            raise ValueError("a bracket is not closed")
        self.tokens.pop()
        return value

    def _next(self) -> str:
        return self.tokens[-1] if self.tokens else ""


@lru_cache(maxsize=1 << 16)
def can_win(values: tuple[Fraction, ...]) -> bool:
    """Return whether 24 can be made of ``values``, in ascending order, by trying everything."""
    if len(values) == 1:
        return values[0] == TARGET
    return any(can_win(tuple(sorted(rest))) for rest in _merged(values))


@dataclass(frozen=True, slots=True)
class Game24:
    """A puzzle as a task for tree search without a model: all moves, and the exact evaluation.

    A state is the list of remaining expressions, such as "(8 - 4), 6, 7". This task is the
    reference for searches in which a model proposes and evaluates.
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        for number in check_list("numbers", self.numbers, "a tuple of whole numbers"):
            check_int("numbers", number, -(2**63), 2**63, part="a number in ")

    @property
    def root(self) -> str:
        """Return the numbers."""
        return ", ".join(map(str, self.numbers))

    def is_terminal(self, state: str) -> bool:
        """Return whether one expression is left."""
        return "," not in state

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:  # noqa: ARG002
        """Return every move of every state, with equal priors."""
        return [self._moves(state) for state in states]

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return 1 for each state from which 24 can still be made, else 0."""
        work.count_verified(len(states))
        return [float(can_win(tuple(sorted(_values(state))))) for state in states]

    def _moves(self, state: str) -> list[Thought]:
        items = state.split(", ")
        texts: dict[str, str] = {}
        for left, right in combinations(range(len(items)), 2):
            rest = [item for index, item in enumerate(items) if index not in (left, right)]
            a, b = items[left], items[right]
            pairs = [(a, "+", b), (a, "-", b), (b, "-", a), (a, "*", b), (a, "/", b), (b, "/", a)]
            for first, sign, second in pairs:
                if sign == "/" and not evaluate(second)[0]:
                    continue
                merged = f"({first} {sign} {second})"
                texts.setdefault(", ".join([merged, *rest]), merged[1:-1])
        return [Thought(after, text, 1 / len(texts)) for after, text in texts.items()]


def _values(state: str) -> list[Fraction]:
    return [evaluate(item)[0] for item in state.split(", ")]


def _merged(values: tuple[Fraction, ...]) -> Iterator[list[Fraction]]:
    for left, right in combinations(range(len(values)), 2):
        rest = [value for index, value in enumerate(values) if index not in (left, right)]
        a, b = values[left], values[right]
        results = {a + b, a - b, b - a, a * b}
        results |= {a / b} if b else set()
        results |= {b / a} if a else set()
        for result in results:
            yield [*rest, result]
