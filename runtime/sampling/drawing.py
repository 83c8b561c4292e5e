"""Drawing: tokens of logits by the library of kernels, or by numpy where there is none.

Both give the same tokens for the same random numbers. ``truncation`` is the definition: weights are
float32, exponentials and sums float64.
"""

import ctypes
import math
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.native.library import library
from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.sampling.truncation import NOT_FINITE, draw

_MOST_BANNED: Final = 64


class _Parameters(ctypes.Structure):
    """``Gpt2edgeDraw`` of native/src/draw.h."""

    _fields_ = (
        ("top_p", ctypes.c_double),
        ("top_k", ctypes.c_int64),
        ("temperature", ctypes.c_float),
        ("min_p", ctypes.c_float),
        ("min_p_bound", ctypes.c_float),
    )


class _Work(threading.local):
    """Memory that each thread lends the library: a random number, a result, banned ids, scratch.

    The addresses are kept, because asking numpy for one takes as long as a tenth of a draw.
    """

    def __init__(self) -> None:
        self.share = ctypes.c_double()
        self.chosen = ctypes.c_int64()
        self.share_at = ctypes.addressof(self.share)
        self.chosen_at = ctypes.addressof(self.chosen)
        self.banned: Sequence[int] = ()
        self.banned_ids = np.empty(0, np.int64)
        self.banned_at = 0
        self.size = -1
        self.scratch = np.empty(0, np.float64)
        self.scratch_at = 0

    def fit(self, size: int) -> None:
        """Make room for a row of ``size`` logits."""
        self.size = size
        self.banned = ()
        self.scratch = np.empty(2 * (size + 65), np.float64)
        self.scratch_at = self.scratch.ctypes.data

    def ban(self, banned: Sequence[int]) -> bool:
        """Keep ``banned`` as an array; return False where the library cannot take them."""
        if len(banned) > _MOST_BANNED or not all(0 <= item < self.size for item in banned):
            return False
        self.banned_ids = np.array(banned, np.int64)
        self.banned_at = self.banned_ids.ctypes.data
        self.banned = banned
        return True


_WORK: Final = _Work()


class Drawing:
    """Draws tokens by the parameters of one request; copies of its sampler share it."""

    __slots__ = ("_at", "_draw", "_parameters", "_params")

    def __init__(self, params: SamplingParams) -> None:
        self._params = params
        self._draw: Any = None
        if params.is_random and params.typical_p == 1:
            self._draw = _function()
        if self._draw is not None:
            bound = params.temperature * math.log(params.min_p) if params.min_p else 0.0
            self._parameters = _Parameters(
                params.top_p, params.top_k, params.temperature, params.min_p, bound
            )
            self._at = ctypes.addressof(self._parameters)

    def one(self, logits: Logits, share: float, banned: Sequence[int]) -> int:
        """Draw a token of ``logits`` [vocab_size], but none of ``banned``.

        ``share`` is a random number in [0, 1). Raises ValueError where the largest logit is not
        finite. The banned logits are changed during the call.
        """
        work, size = _WORK, logits.size
        if self._draw is None or not _is_plain(logits):
            return self._by_numpy(logits, share, banned)
        if work.size != size:
            work.fit(size)
        if banned != work.banned and not work.ban(banned):
            return self._by_numpy(logits, share, banned)
        work.share.value = share
        failed = self._draw(
            *(self._at, logits.ctypes.data, 1, size, size, work.share_at),
            *(work.banned_at, len(banned), work.scratch_at, work.chosen_at),
        )
        if failed >= 0:
            raise ValueError(NOT_FINITE)
        return work.chosen.value

    def rows(self, logits: Logits, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draw a token of each row of ``logits`` [rows, vocab_size] by its share, [rows]."""
        rows, size = logits.shape
        if self._draw is None or logits.dtype != np.float32 or logits.strides[1] != 4:
            return draw(self._params, logits, shares)
        if _WORK.size != size:
            _WORK.fit(size)
        chosen = np.empty(rows, np.int64)
        failed = self._draw(
            *(self._at, logits.ctypes.data, rows, size, logits.strides[0] // 4),
            *(shares.ctypes.data, None, 0, _WORK.scratch_at, chosen.ctypes.data),
        )
        if failed >= 0:
            raise ValueError(NOT_FINITE)
        return chosen

    def _by_numpy(self, logits: Logits, share: float, banned: Sequence[int]) -> int:
        row = logits[None]  # [1, vocab_size]
        if banned:
            row = row.copy()
            row[0, list(banned)] = -np.inf
        return int(draw(self._params, row, np.array([share]))[0])


def _is_plain(logits: Logits) -> bool:
    """Return whether the library may read ``logits``, and change them during a draw."""
    flags = logits.flags
    return logits.dtype == np.float32 and flags.c_contiguous and flags.writeable


@cache
def _function() -> Any:
    """Return the library's draw, or None where there is no library."""
    found = library()
    if found is None:
        return None
    function = found.functions.gpt2edge_draw
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = (
        *(pointer, pointer, number, number, number, pointer),
        *(pointer, number, pointer, pointer),
    )
    function.restype = number
    return function
