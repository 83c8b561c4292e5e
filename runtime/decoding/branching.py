"""Interface between the scheduler and a search that branches: beams, lines, token trees."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray


class Member(Protocol):
    """A sequence on a row of the cache; the row holds all of its tokens but the last."""

    @property
    def token_ids(self) -> Sequence[int]:
        """Token ids after the prompt; the last one enters the cache at the next step."""
        ...


class Branch(NamedTuple):
    """A sequence that continues, and the index of the member that it extends."""

    member: Any
    parent: int


MemberT = TypeVar("MemberT", bound=Member, contravariant=True)


class Branching(Protocol[MemberT]):
    """Chooses which sequences continue: each takes a row, at most ``width`` of them at a time."""

    @property
    def width(self) -> int:
        """Number of cache rows that the search may use at once."""
        ...

    @property
    def prompts(self) -> Sequence[Sequence[int]]:
        """Token ids of the prompts that the search begins from, each in its own row."""
        ...

    @property
    def is_done(self) -> bool:
        """Return whether no sequence continues."""
        ...

    def begin(self, logits: NDArray[np.float32], reused: Sequence[int]) -> Sequence[Branch]:
        """Return the first sequences; their parents are indices of the prompts.

        ``logits`` [prompts, vocab_size] are the logits after each prompt; ``reused`` [prompts]
        counts the tokens of each that were not computed.
        """
        ...

    def advance(self, members: Sequence[MemberT], logits: NDArray[np.float32]) -> Sequence[Branch]:
        """Return the sequences that continue, from ``logits`` [members, vocab_size] after each."""
        ...

    def common(self, member: MemberT, other: MemberT) -> int:
        """Return how many first tokens two members share in the cache, or a lower bound."""
        ...

    def finish(self) -> Iterator[Any]:
        """Yield the generations that were found, each once for every token."""
        ...


def common_length(token_ids: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first tokens a continuing sequence shares with another row of the cache.

    The cache holds all of ``token_ids`` but the last, and all of ``other``.
    """
    held = min(len(token_ids) - 1, len(other))
    pairs = zip(token_ids[:held], other, strict=False)
    return next((index for index, (one, two) in enumerate(pairs) if one != two), held)
