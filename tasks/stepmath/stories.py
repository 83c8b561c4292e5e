"""The stories of stepmath: sentences, numbers, and the equations that solve them.

A story is told by a `Teller`, which draws the words and keeps the equations.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tasks.stepmath.words import DAYS, HE, ITEMS, NEW_WORDS, PACKS, SHE, WORDS


@dataclass(frozen=True, slots=True)
class Size:
    """How large numbers get."""

    addend: int
    factor: int
    most: int  # of any value


SIZES = {
    "small": Size(12, 5, 60),
    "medium": Size(60, 9, 300),
    "large": Size(300, 12, 2000),
    "huge": Size(999, 99, 99_999),
}


@dataclass(frozen=True, slots=True)
class Equation:
    """`left sign right = value`; `needs` are the numbers of the equations that give an operand."""

    left: int
    sign: str
    right: int
    value: int
    needs: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.value}"


@dataclass(frozen=True, slots=True)
class Term:
    """A number that a story gives, or that equation `source` comes to."""

    value: int
    source: int | None = None


RELATIONS = {
    "more": "+",
    "fewer": "-",
    "times as many": "*",
    "is more than": "-",
    "is times": "/",
}  # what finds the second person's number


class DeadEndError(Exception):
    """No number fits here: the story is begun anew."""


def is_held_out(left: int, sign: str, right: int) -> bool:
    """Whether an equation belongs to the test: one in twelve, but for the tables of single
    digits, which have to be learnt by heart."""
    pair = sorted((left, right)) if sign in "+*" else [left, right]
    return max(pair) > 12 and zlib.crc32(f"{pair[0]}{sign}{pair[1]}".encode()) % 12 == 0


@dataclass
class Teller:
    """Draws words and numbers, writes sentences, keeps equations."""

    random: random.Random
    size: Size
    train: bool  # neither wordings nor equations that are held out
    new_words: bool = False  # with some held-out wordings
    has_new_words: bool = False
    sentences: list[str] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)

    def people(self, count: int) -> list[str]:
        """Different names; the first is `{P}`, with pronouns, and the last `{F}`."""
        names = self.random.sample(SHE + HE, count)
        she = names[0] in SHE
        self.words |= {"P": names[0], "F": names[-1]}
        self.words |= {"S": "She" if she else "He", "s": "she" if she else "he"}
        self.words |= {"O": "her" if she else "him"}
        return names

    def say(self, kind: str, **words: object) -> None:
        """Add a sentence in one of the wordings of its kind."""
        usual, held = WORDS[kind]
        template = self.random.choice(usual)
        if self.new_words and self.random.random() < NEW_WORDS:
            template, self.has_new_words = held, True
        words = {"G": self.random.choice(PACKS), **self.words, **words}
        text = template.format(**words)
        self.sentences.append(text[0].upper() + text[1:])

    def aside(self) -> None:
        """Now and then a number that does not matter."""
        if self.random.random() < 0.15:
            self.say("aside", a=self.random.randint(2, self.size.addend))

    def solve(self, left: Term, sign: str, right: Term) -> Term:
        """Write down an equation. Raises DeadEndError where it may not be."""
        value = calculate(left.value, sign, right.value)
        if value is None or not 1 <= value <= self.size.most:
            raise DeadEndError
        if self.train and is_held_out(left.value, sign, right.value):
            raise DeadEndError
        needs = tuple(term.source for term in (left, right) if term.source is not None)
        self.equations.append(Equation(left.value, sign, right.value, value, needs))
        return Term(value, len(self.equations) - 1)

    def draw(self, low: int, high: int) -> Term:
        """A number of the story."""
        if high < low:
            raise DeadEndError
        return Term(self.random.randint(low, high))

    def divisor(self, value: int) -> Term:
        """A number that divides `value` and leaves more than 1."""
        fit = [d for d in range(2, self.size.factor + 1) if value % d == 0 and value > d]
        if not fit:
            raise DeadEndError
        return Term(self.random.choice(fit))

    def choose(self, *ways: Callable[[], Term]) -> Term:
        """The first of the ways, in random order, that does not lead nowhere."""
        for way in self.random.sample(ways, len(ways)):
            before = len(self.sentences), len(self.equations)
            try:
                return way()
            except DeadEndError:
                del self.sentences[before[0] :], self.equations[before[1] :]
        raise DeadEndError


def calculate(left: int, sign: str, right: int) -> int | None:
    """The value, or None where it is no whole number."""
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    return left // right if right and left % right == 0 else None


def chain(teller: Teller, steps: int) -> None:
    """Somebody's things become more and fewer."""
    teller.people(2)
    teller.words["I"] = teller.random.choice(ITEMS) + "s"
    total = teller.draw(3, teller.size.addend)
    teller.say("start", a=total.value)
    while (left := steps - len(teller.equations)) > 0:
        ways = [partial(change, teller, total, sign) for sign in "+-*/"]
        if left > 1:
            ways += [partial(packs, teller, total, sign) for sign in "+-"]
        total = teller.choose(*ways)
        teller.aside()
    teller.say("how many now")


def change(teller: Teller, total: Term, sign: str) -> Term:
    """One number more, fewer, times or shared."""
    size = teller.size
    if sign == "+":
        term = teller.draw(2, min(size.addend, size.most - total.value))
    elif sign == "-":
        term = teller.draw(2, min(size.addend, total.value - 1))
    elif sign == "*":
        term = teller.draw(2, min(size.factor, size.most // total.value))
    else:
        term = teller.divisor(total.value)
    after = teller.solve(total, sign, term)
    teller.say({"+": "add", "-": "sub", "*": "times", "/": "share"}[sign], a=term.value)
    return after


def packs(teller: Teller, total: Term, sign: str) -> Term:
    """Some packs of some come or go: two equations."""
    room = teller.size.most - total.value if sign == "+" else total.value - 1
    count = teller.draw(2, min(teller.size.factor, room // 2))
    each = teller.draw(2, min(teller.size.addend, room // count.value))
    after = teller.solve(total, sign, teller.solve(count, "*", each))
    teller.say("add packs" if sign == "+" else "sub packs", a=count.value, b=each.value)
    return after


def compare(teller: Teller, steps: int) -> None:
    """What people have is told by what others have."""
    together = steps >= 4 or (steps == 3 and teller.random.random() < 0.5)
    count = steps // 2 + 1 if together else steps + 1
    names = teller.people(count + 1)
    teller.words["I"] = teller.random.choice(ITEMS) + "s"
    owned = [teller.draw(3, teller.size.addend)]
    teller.say("start", a=owned[0].value)
    for who in range(1, count):
        any_before = together and teller.random.random() < 0.3
        other = teller.random.randrange(who) if any_before else who - 1
        pair = {"P": names[other], "Q": names[who]}
        base = owned[other]
        owned.append(teller.choose(*(partial(relate, teller, base, k, pair) for k in RELATIONS)))
    teller.aside()
    if not together:
        teller.say("how many of one", P=names[count - 1])
        return
    amount = owned[0]
    for term in owned[1:]:
        amount = teller.solve(amount, "+", term)
    if steps % 2:
        lost = teller.draw(2, min(teller.size.addend, amount.value - 1))
        teller.solve(amount, "-", lost)
        teller.say("they lose", a=lost.value)
    teller.say("together")


def relate(teller: Teller, base: Term, kind: str, pair: dict[str, str]) -> Term:
    """Somebody has more, fewer or times as many."""
    size, sign = teller.size, RELATIONS[kind]
    if sign == "/":
        term = teller.divisor(base.value)
    elif sign == "*":
        term = teller.draw(2, min(size.factor, size.most // base.value))
    else:
        room = size.most - base.value if sign == "+" else base.value - 1
        term = teller.draw(2, min(size.addend, room))
    after = teller.solve(base, sign, term)
    teller.say(kind, a=term.value, **pair)
    return after


def shop(teller: Teller, steps: int) -> None:
    """Prices, a purchase, and what is to pay: 2 n - 1 equations for n things, and some more."""
    kinds = max(1, min(4, (steps + 1) // 2 - teller.random.randrange(2)))
    items = teller.random.sample(ITEMS, kinds)
    teller.people(2)
    prices = [teller.draw(2, max(9, teller.size.addend // 4)) for _ in items]
    counts = [teller.draw(2, teller.size.factor) for _ in items]
    for item, price in zip(items, prices, strict=True):
        teller.say("price", i=item, a=price.value)
    teller.aside()
    for item, amount in zip(items, counts, strict=True):
        teller.say("buys", I=item + "s", a=amount.value)
    pairs = zip(counts, prices, strict=True)
    parts = [teller.solve(amount, "*", price) for amount, price in pairs]
    cost = parts[0]
    for part in parts[1:]:
        cost = teller.solve(cost, "+", part)
    while (left := steps - len(teller.equations)) > 0:
        if left == 1 and teller.random.random() < 0.6:
            teller.choose(partial(pay, teller, cost), partial(split, teller, cost))
            return
        cost = teller.choose(*(partial(adjust, teller, cost, sign) for sign in "+-"))
    teller.say("how much")


def pay(teller: Teller, cost: Term) -> Term:
    """What comes back of a large note."""
    given = teller.draw(cost.value + 1, min(teller.size.most, cost.value + teller.size.addend))
    after = teller.solve(given, "-", cost)
    teller.say("change", a=given.value)
    return after


def split(teller: Teller, cost: Term) -> Term:
    """Friends share the cost."""
    friends = teller.divisor(cost.value)
    after = teller.solve(cost, "/", friends)
    teller.say("split", a=friends.value)
    return after


def adjust(teller: Teller, cost: Term, sign: str) -> Term:
    """Something off, or something more to pay."""
    room = teller.size.most - cost.value if sign == "+" else cost.value - 1
    term = teller.draw(2, min(teller.size.addend, room))
    after = teller.solve(cost, sign, term)
    teller.say("parcel" if sign == "+" else "off", a=term.value)
    return after


def work(teller: Teller, steps: int) -> None:
    """Hours are added up, then paid, then spent."""
    teller.people(2)
    days = 1 if steps == 1 else min(3, 1 + teller.random.randrange(1, max(2, steps - 1)))
    wage = teller.draw(2, max(9, teller.size.addend // 4))
    hours = [teller.draw(2, 9) for _ in range(days)]
    teller.say("earns", a=wage.value)
    for day, term in zip(DAYS, hours, strict=False):
        teller.say("hours", D=day, a=term.value)
    total = hours[0]
    for term in hours[1:]:
        total = teller.solve(total, "+", term)
    money = teller.solve(total, "*", wage)
    teller.aside()
    while len(teller.equations) < steps:
        money = teller.choose(*(partial(flow, teller, money, sign) for sign in "+-"))
    teller.say("how many dollars")


def flow(teller: Teller, money: Term, sign: str) -> Term:
    """Money comes or goes."""
    room = teller.size.most - money.value if sign == "+" else money.value - 1
    term = teller.draw(2, min(teller.size.addend, room))
    after = teller.solve(money, sign, term)
    teller.say("gets" if sign == "+" else "spends", a=term.value)
    return after


STORIES: dict[str, Callable[[Teller, int], None]] = {
    "chain": chain,
    "compare": compare,
    "shop": shop,
    "work": work,
}
