"""How many tokens to guess: what acceptance and the measured cost of wider calls say."""

from dataclasses import dataclass, field
from typing import Final

_RATE: Final = 0.15
_MARGIN: Final = 1.03
_PATIENCE: Final = 32
_LONGEST_PATIENCE: Final = 1024


@dataclass(slots=True)
class Costs:
    """Seconds of forward calls, learned as they are made; shared by all texts of an engine.

    A call of w tokens costs ``1 + slope * (w - 1)`` plain steps, a guessed token ``draft`` ones.
    """

    plain_s: float | None = None
    slope: float = 0.25
    draft: float = 0.0

    def saw_plain(self, seconds: float) -> None:
        """One token took so long."""
        if self.plain_s is None:
            self.plain_s = seconds
        else:  # a step that the system interrupted says little
            self.plain_s += _RATE * (min(seconds, 2 * self.plain_s) - self.plain_s)

    def saw_wide(self, tokens: int, seconds: float) -> None:
        """A call of so many tokens took so long."""
        if self.plain_s and tokens > 1:
            slope = (seconds / self.plain_s - 1) / (tokens - 1)
            self.slope += _RATE * (min(max(slope, 0.0), 2.0) - self.slope)

    def saw_guess(self, tokens: int, seconds: float) -> None:
        """So many guesses took so long."""
        if self.plain_s:
            self.draft += _RATE * (min(seconds / self.plain_s / tokens, 4.0) - self.draft)


@dataclass(slots=True)
class Widths:
    """Chooses how many tokens to guess for one text."""

    costs: Costs
    rates: dict[int, float] = field(default_factory=dict)
    idle: int = 0
    patience: int = _PATIENCE

    def rate(self, kind: int) -> float:
        """How often a guess of this sort is right, given that the one before it was."""
        return self.rates.setdefault(kind, min(0.8, 0.2 + 0.15 * kind) if kind else 0.7)

    def best(self, kind: int, most: int) -> int:
        """The number of guesses, up to ``most``, that makes most tokens a second; 0 where none."""
        rate, costs = self.rate(kind), self.costs
        if costs.plain_s is None:
            return 0  # the first step is plain, to compare with
        best, speed = 0, _MARGIN
        tokens = run = 1.0
        for count in range(1, most + 1):
            run *= rate
            tokens += run
            faster = tokens / (1 + (costs.slope + costs.draft) * count)
            if faster > speed:
                best, speed = count, faster
        return best

    def probes(self) -> bool:
        """Whether it is time for a guess that does not seem to pay: it may by now."""
        self.idle += 1
        if self.idle < self.patience:
            return False
        self.idle, self.patience = 0, min(2 * self.patience, _LONGEST_PATIENCE)
        return True

    def saw(self, kind: int, accepted: int, guessed: int) -> None:
        """So many guesses of this sort were right before the first wrong one."""
        rate = self.rate(kind)
        for _ in range(accepted):
            rate += _RATE * (1 - rate)
        if accepted < guessed:
            rate -= _RATE * rate
        else:
            self.patience = _PATIENCE
        self.rates[kind] = rate
