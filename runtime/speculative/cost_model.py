"""Cost model: choose the number of tokens to guess from acceptance and measured call times."""

from dataclasses import dataclass, field
from typing import Final

_RATE: Final = 0.15
_MARGIN: Final = 1.03
_LEAST: Final = 0.02
_TELLING: Final = 4
"""Calls of fewer tokens tell little about the cost of one more token."""
_PROMISING: Final = 0.4
_PATIENCE: Final = 32
_LONGEST_PATIENCE: Final = 1024


@dataclass(slots=True)
class CallCosts:
    """Measured costs of forward calls, shared by all generations of an engine.

    A call of w tokens costs ``1 + slope * (w - 1)`` plain steps, a guessed token ``draft`` plain
    steps. The first calls of each kind are warm-up and not counted. A call that takes more than
    twice the expected time, because the system was busy, counts as twice the expected time.
    """

    plain_s: float | None = None
    slope: float = 0.25
    draft: float = 0.1
    cold: dict[str, int] = field(default_factory=lambda: {"plain": 2, "wide": 2, "draft": 1})

    def saw_plain(self, seconds: float) -> None:
        """Record the seconds of a plain step, which decodes one token."""
        if self._is_warm("plain"):
            known = self.plain_s or seconds
            self.plain_s = known + _RATE * (min(seconds, 2 * known) - known)

    def saw_wide(self, tokens: int, seconds: float) -> None:
        """Record the seconds of a call of ``tokens`` tokens, two or more."""
        if self.plain_s and self._is_warm("wide"):
            slope = max(0.0, seconds / self.plain_s - 1) / (tokens - 1)
            weight = _RATE * min(1.0, (tokens - 1) / _TELLING)
            self.slope += weight * (min(slope, 2 * self.slope + _LEAST) - self.slope)

    def saw_guess(self, tokens: int, seconds: float) -> None:
        """Record the seconds that guessing ``tokens`` tokens took."""
        if self.plain_s and self._is_warm("draft"):
            each = seconds / self.plain_s / tokens
            self.draft += _RATE * (min(each, 2 * self.draft + _LEAST) - self.draft)

    def _is_warm(self, kind: str) -> bool:
        self.cold[kind] -= 1
        return self.cold[kind] < 0


@dataclass(slots=True)
class DraftLength:
    """Chooses how many tokens to guess for one generation."""

    costs: CallCosts
    rates: dict[int, float] = field(default_factory=dict)
    idle: int = 0
    patience: int = _PATIENCE

    def rate(self, kind: int) -> float:
        """Return the acceptance rate of this kind of guess, given that the previous was right."""
        return self.rates.setdefault(kind, min(0.9, 0.2 * (kind - 1)) if kind else 0.7)

    def best(self, kind: int, most: int, *, free: bool) -> int:
        """Return the number of guesses, up to ``most``, that gives the most tokens a second.

        It is 0 where guessing does not pay. Then one guess is tried from time to time, as the
        acceptance may have risen.
        """
        rate, costs = self.rate(kind), self.costs
        if costs.plain_s is None:
            return 0  # the first steps are plain, to measure the baseline
        each = costs.slope + (0.0 if free else costs.draft)
        best, speed = 0, _MARGIN
        tokens = run = 1.0
        for count in range(1, most + 1):
            run *= rate
            tokens += run
            faster = tokens / (1 + each * count)
            if faster > speed:
                best, speed = count, faster
        if best:
            self.idle, self.patience = 0, _PATIENCE
        elif (rate >= _PROMISING or not free) and self.probes():
            return 1
        return best

    def probes(self) -> bool:
        """Count a step without guesses, and return whether it is time to try one."""
        self.idle += 1
        if self.idle < self.patience:
            return False
        self.idle, self.patience = 0, min(2 * self.patience, _LONGEST_PATIENCE)
        return True

    def saw(self, kind: int, accepted: int, guessed: int) -> None:
        """Record that ``accepted`` of ``guessed`` guesses were right before the first wrong one."""
        rate = self.rate(kind)
        for _ in range(accepted):
            rate += _RATE * (1 - rate)
        if accepted < guessed:
            rate -= _RATE * rate
        self.rates[kind] = rate
