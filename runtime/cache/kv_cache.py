"""KVCache: keys and values of the rows of a batch, in one of two layouts.

``ContiguousCache`` here, whose rows lie apart, is for onnxruntime's operators. ``PagedCache``,
whose rows may share memory, is for the kernels of gpt2edge.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int
from gpt2edge.runtime.cache.buffer_pool import BufferPool

_FLOAT32: Final = np.dtype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLayout:
    """Shape and dtype of one token's keys and values, as the graph declares them.

    ``head_dim`` may be larger than the model's own: the exporter pads heads for the kernel.
    """

    n_layer: int
    n_head: int
    head_dim: int
    dtype: np.dtype[Any] = _FLOAT32

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values of one token."""
        return 2 * self.n_layer * self.n_head * self.head_dim * self.dtype.itemsize

    def row_bytes(self, tokens: int) -> int:
        """Return the bytes of a row that holds that many tokens."""
        return tokens * self.token_bytes

    @property
    def stored_dim(self) -> int:
        """Elements of a token's keys of one head, as ``KVCache.read`` returns them."""
        return self.head_dim

    @property
    def stored_bytes(self) -> int:
        """Bytes of a token as ``KVCache.read`` returns it."""
        return 2 * self.n_layer * self.n_head * self.stored_dim * self.dtype.itemsize


class Kept(Protocol):
    """Tokens of a row that outlive it: a copy, or blocks that are held. They never change."""

    def memory(self) -> Sequence[tuple[Hashable, int]]:
        """Return the pieces of memory that hold them, each by a name and with its bytes.

        Others that share a piece give it the same name.
        """
        ...

    def read(self) -> NDArray[Any]:
        """Return the tokens, [n_layer, 2, n_head, tokens, stored_dim]."""
        ...

    def cut(self, count: int) -> "tuple[Kept, Kept]":
        """Return the first ``count`` tokens, and the others."""
        ...


class KeptArray:
    """Tokens in an array of their own, as ``KVCache.read`` returns them."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: NDArray[Any]) -> None:
        self._tokens = tokens

    def memory(self) -> Sequence[tuple[Hashable, int]]:
        """Return the array alone."""
        return [(id(self), self._tokens.nbytes)]

    def read(self) -> NDArray[Any]:
        """Return the array itself."""
        return self._tokens

    def cut(self, count: int) -> tuple[Kept, Kept]:
        """Return copies of both parts."""
        first, rest = (KeptArray(part.copy()) for part in np.split(self._tokens, [count], axis=3))
        return first, rest


class KVCache(ABC):
    """Keys and values of ``rows`` sequences, each up to ``max_length`` tokens long.

    ``lengths`` [rows] says how many tokens each row holds. Change lengths only through the methods.
    """

    def __init__(self, rows: int, max_length: int, layout: CacheLayout) -> None:
        check_int("rows", rows, 1, 2**31)
        check_int("max_length", max_length, 1, 2**31)
        self.layout = layout
        self.max_length = max_length
        """Tokens that each row can hold."""
        self.lengths: NDArray[np.int64] = np.zeros(rows, np.int64)

    def __repr__(self) -> str:
        return (
            f"KVCache(rows={self.rows}, max_length={self.max_length}, "
            f"dtype={self.layout.dtype.name}, nbytes={self.nbytes})"
        )

    @property
    def rows(self) -> int:
        """Number of sequences."""
        return len(self.lengths)

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the keys and values of all tokens held now."""

    def advance(self, first: int, count: int, tokens: int) -> None:
        """Add ``tokens`` to the lengths of rows ``first`` to ``first + count - 1``.

        Raises ValueError where a row has no room for them.
        """
        self.check_room(first, count, tokens)
        if count == 1:
            self.lengths[first] += tokens
        else:
            self.lengths[first : first + count] += tokens

    def check_room(self, first: int, count: int, tokens: int) -> None:
        """Raise ValueError where one of the rows has no room for ``tokens`` more."""
        # max of a list: a numpy function called once per step runs from a cold processor cache
        lengths = self.lengths
        held = int(lengths[first]) if count == 1 else max(lengths[first : first + count].tolist())
        longest = held + tokens
        if longest > self.max_length:
            raise ValueError(f"{longest} tokens do not fit a cache of {self.max_length}")

    def truncate(self, row: int, length: int) -> None:
        """Drop all tokens of ``row`` from position ``length`` on."""
        if not 0 <= length <= self.lengths[row]:
            raise ValueError(f"length is {length}; row {row} holds {self.lengths[row]} tokens")
        self.lengths[row] = length

    def fork(
        self, row: int, targets: Sequence[int], *, start: int = 0, stop: int | None = None
    ) -> None:
        """Make every row in ``targets`` a copy of ``row``, replacing the tokens that it held.

        ``start`` skips copying the first ``start`` tokens, which the targets must already share.
        ``stop`` copies only the tokens before it.
        """
        length = int(self.lengths[row]) if stop is None else stop
        if not 0 <= length <= self.lengths[row]:
            raise ValueError(f"stop is {stop}; row {row} holds {self.lengths[row]} tokens")
        for target in targets:
            if not 0 <= start <= min(length, int(self.lengths[target])):
                raise ValueError(f"rows {row} and {target} do not both hold {start} tokens")
        moved = [target for target in targets if target != row]
        if moved:
            self._fork(row, moved, start, length)
            self.lengths[moved] = length

    @abstractmethod
    def _fork(self, row: int, targets: Sequence[int], start: int, length: int) -> None:
        """Give ``targets``, other rows, tokens ``start`` to ``length`` of ``row``."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> None:
        """Copy row ``rows[i]`` to row ``i``, repeats allowed, and empty the other rows."""

    def read(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Return a copy of tokens ``start`` to ``stop``: [n_layer, 2, n_head, tokens, stored_dim].

        ``stored_dim`` is the layout's.
        """
        if not 0 <= start <= stop <= self.lengths[row]:
            raise ValueError(
                f"cannot read tokens {start} to {stop}: row {row} holds {self.lengths[row]}"
            )
        return self._read(row, start, stop)

    @abstractmethod
    def _read(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Return a copy of tokens that ``row`` holds."""

    @abstractmethod
    def append(self, row: int, *pieces: NDArray[Any]) -> None:
        """Append ``pieces``, each as ``read`` returns it, to the end of ``row``.

        Raises ValueError where the row has no room for them.
        """

    def kept(self, row: int, start: int, stop: int) -> Kept:
        """Return tokens ``start`` to ``stop`` of ``row`` in a form that outlives the row."""
        return KeptArray(self.read(row, start, stop))

    def restore(self, row: int, pieces: Sequence[tuple[Kept, int]]) -> None:
        """Replace ``row`` by the first tokens of each piece, as many as the number beside it.

        The pieces were kept from rows with the same beginning, each from where the last one ended.
        """
        self.truncate(row, 0)
        self.append(row, *(kept.read()[:, :, :, :count] for kept, count in pieces))


class ContiguousCache(KVCache):
    """A cache whose rows lie apart, for onnxruntime's operators.

    ``data`` is [n_layer, 2, rows, n_head, max_length, head_dim]; pages that no token has reached
    are reserved, not used. Where the memory comes from ``spare``, ``data`` is valid only as long as
    this object lives.
    """

    def __init__(
        self, rows: int, max_length: int, layout: CacheLayout, spare: BufferPool | None = None
    ) -> None:
        super().__init__(rows, max_length, layout)
        shape = (layout.n_layer, 2, rows, layout.n_head, max_length, layout.head_dim)
        self.data: NDArray[Any] = (
            np.empty(shape, layout.dtype)
            if spare is None
            else spare.array(self, shape, layout.dtype)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values of all tokens held now."""
        return int(self.lengths.sum()) * self.layout.token_bytes

    def _fork(self, row: int, targets: Sequence[int], start: int, length: int) -> None:
        for layer in self.data[..., start:length, :]:  # [2, rows, n_head, tokens, head_dim]
            for part in layer:  # one at a time: it stays in the processor's cache for all copies
                source = part[row]  # [n_head, tokens, head_dim]
                for target in targets:
                    part[target] = source

    def select(self, rows: Sequence[int]) -> None:
        """Copy row ``rows[i]`` to row ``i``, repeats allowed, and empty the other rows."""
        lengths = [int(self.lengths[row]) for row in rows]
        moved = [place for place, row in enumerate(rows) if place != row]
        longest = max((lengths[place] for place in moved), default=0)
        sources = [rows[place] for place in moved]
        for layer in self.data:  # [2, rows, ...]; one layer at a time keeps the copy small
            layer[:, moved, :, :longest] = layer[:, sources, :, :longest]
        for row in range(self.rows):
            self.lengths[row] = lengths[row] if row < len(rows) else 0

    def _read(self, row: int, start: int, stop: int) -> NDArray[Any]:
        tokens: NDArray[Any] = self.data[:, :, row, :, start:stop].copy()
        return tokens

    def append(self, row: int, *pieces: NDArray[Any]) -> None:
        """Append ``pieces``, each as ``read`` returns it, to the end of ``row``."""
        start = int(self.lengths[row])
        self.advance(row, 1, sum(tokens.shape[3] for tokens in pieces))
        data = self.data
        for tokens in pieces:  # [n_layer, 2, n_head, count, head_dim]
            count = tokens.shape[3]
            data[:, :, row, :, start : start + count] = tokens
            start += count
