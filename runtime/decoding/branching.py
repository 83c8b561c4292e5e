"""What a scheduler asks of a search whose sequences branch: beams, lines, trees of tokens."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray


class Member(Protocol):
    """What stands on a row of the cache, which holds all of its tokens but the last."""

    @property
    def token_ids(self) -> Sequence[int]:
        """Tokens behind the prompt; the last enters at the next step."""
        ...


class Branch(NamedTuple):
    """A sequence that goes on, and the member, by its place, whose tokens it continues."""

    member: Any
    parent: int


MemberT = TypeVar("MemberT", bound=Member, contravariant=True)


class Branching(Protocol[MemberT]):
    """Chooses which sequences go on: each takes a row, at most ``width`` of them at a time."""

    @property
    def width(self) -> int:
        """Rows of the cache that it may use at once."""
        ...

    @property
    def prompts(self) -> Sequence[Sequence[int]]:
        """Token ids of the prompts that it begins from, each in a row."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether no sequence goes on."""
        ...

    def begin(self, logits: NDArray[np.float32], reused: Sequence[int]) -> Sequence[Branch]:
        """Return the first sequences, their parents being the places of the prompts.

        ``logits`` [prompts, vocab_size] are those after each prompt, of whose tokens ``reused``
        were not computed.
        """
        ...

    def advance(self, members: Sequence[MemberT], logits: NDArray[np.float32]) -> Sequence[Branch]:
        """Return the sequences that go on; ``logits`` [members, vocab_size] follow the members."""
        ...

    def common(self, member: MemberT, other: MemberT) -> int:
        """Return how many tokens two members have in common in the cache, at least."""
        ...

    def finish(self) -> Iterator[Any]:
        """Return the generations that were found, each once for every token."""
        ...


def common_length(token_ids: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first tokens a sequence that goes on shares with a member's row.

    All of ``token_ids`` but the last have entered the cache, and all of ``other``.
    """
    held = min(len(token_ids) - 1, len(other))
    pairs = zip(token_ids[:held], other, strict=False)
    return next((place for place, (one, two) in enumerate(pairs) if one != two), held)
