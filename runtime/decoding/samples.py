"""Samples: the generations of one prompt that wait for a row."""

from collections import deque
from collections.abc import Sequence

from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.decoding.generation import Generation


class Samples:
    """The generations of one prompt: the first to join prefills it, the others copy its row."""

    def __init__(self, members: Sequence[Generation]) -> None:
        self.waiting = deque(members)
        self.prompt_ids = members[0].prompt_ids
        self.logits: Logits | None = None  # [vocab_size] after the prompt, once prefilled
        self._members = frozenset(members)

    @property
    def is_over(self) -> bool:
        """Drop the members that have ended, and return whether none waits any more."""
        while self.waiting and self.waiting[0].end_early():
            self.waiting.popleft()
        return not self.waiting

    @property
    def held_ids(self) -> list[int]:
        """Token ids to prefill: the prompt, and all but the last new token of a paused member."""
        return [*self.prompt_ids, *self.waiting[0].token_ids[:-1]]

    @property
    def is_paused(self) -> bool:
        """Return whether the next member already has tokens, from before it was queued."""
        return bool(self.waiting[0].token_ids)

    def take(self, count: int) -> list[Generation]:
        """Remove and return up to ``count`` waiting members."""
        taken: list[Generation] = []
        while len(taken) < count and not self.is_over:
            taken.append(self.waiting.popleft())
        return taken

    def has_prompt(self, other: object) -> bool:
        """Return whether the row of ``other`` still begins with the prompt."""
        return isinstance(other, Generation) and other in self._members and not other.has_slid
