"""Samples: the generations of one prompt, while some of them wait for a row."""

from collections import deque
from collections.abc import Sequence

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.decoding.generation import Generation


class Samples:
    """The generations of one prompt: the first that joins enters it, the others copy its row."""

    def __init__(self, members: Sequence[Generation]) -> None:
        self.waiting = deque(members)
        self.prompt_ids = members[0].prompt_ids
        self.logits: Logits | None = None  # after the prompt, once it was entered
        self._members = frozenset(members)

    @property
    def is_over(self) -> bool:
        """Whether no member waits any more, after those are dropped that ended meanwhile."""
        while self.waiting and self.waiting[0].end_early():
            self.waiting.popleft()
        return not self.waiting

    @property
    def held_ids(self) -> list[int]:
        """The tokens that enter: the prompt, and of a paused generation all but its last."""
        return [*self.prompt_ids, *self.waiting[0].token_ids[:-1]]

    @property
    def is_paused(self) -> bool:
        """Whether its one member had begun before it came here."""
        return bool(self.waiting[0].token_ids)

    def take(self, count: int) -> list[Generation]:
        """Remove and return up to ``count`` waiting members."""
        taken: list[Generation] = []
        while len(taken) < count and not self.is_over:
            taken.append(self.waiting.popleft())
        return taken

    def has_prompt(self, other: object) -> bool:
        """Whether the prompt is at the head of another's row."""
        return isinstance(other, Generation) and other in self._members and not other.has_slid
