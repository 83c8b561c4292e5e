"""From logits to tokens, for many rows at once: the cuts and the draw, in numpy.

The order is transformers': temperature, top-k, top-p (the nucleus of Holtzman et al. 2019), min-p,
typical-p (Meister et al. 2022). No row's token depends on
another row, nor on how many there are. The cuts seldom sort the vocabulary: a bound on the k-th
largest logit, or on what a nucleus can hold, picks the candidates first, and only they are sorted.
Of 50,257 logits a row, reading them is what costs: top-k reads them once. For one row it is the
number of different functions: a model's step leaves nothing of them in the processor's caches, so
each costs 10 to 30 us (``ndarray.max`` goes through Python, ``np.maximum.reduce`` does not).
"""

import math
import threading
from bisect import bisect_left, bisect_right
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.runtime.sampling.params import SamplingParams

Rows = NDArray[np.float32]
"""[rows, n]"""

CELLS: Final = 1 << 16
"""Numbers worked on at once: with all that is made of them they fit a processor's cache."""

_BLOCK: Final = 64
_LARGEST_GROUP: Final = 128
_SLICES: Final = 16
_SOON_SORTED: Final = 512
_NEGLIGIBLE: Final = np.float32(1e-4)


class _Scratch(threading.local):
    """Arrays kept by each thread from one draw to the next.

    New ones would come from fresh pages of memory, which costs more than the arithmetic on them.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Rows] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> Rows:
        """The scratch array ``name`` in that shape, holding anything."""
        size = shape[0] * shape[1]
        array = self._arrays.get(name)
        if array is None or array.size < size:
            array = self._arrays[name] = np.empty(size, np.float32)
        return array[:size].reshape(shape)


SCRATCH: Final = _Scratch()


def draw(params: SamplingParams, logits: Rows, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Token ids [rows], one of each row of ``logits`` [rows, vocab_size], which stay as they are.

    ``shares`` [rows] in [0, 1) are the random numbers: how much of each row's probability is
    passed over. Raises ValueError where the largest logit of a row is not finite.
    """
    rows, size = logits.shape
    at_once = max(1, CELLS // size)
    if rows > at_once and not _groups(size, params.top_k):  # then more is made that is as large
        parts = [slice(first, first + at_once) for first in range(0, rows, at_once)]
        return np.concatenate([draw(params, logits[part], shares[part]) for part in parts])
    if 0 < params.top_k < size:
        return _draw_of_top_k(params, logits, shares)
    kept, weights = _candidates(params, logits)
    places = places_of(shares, weights)
    return places if kept is None else _at_each(kept, places)


def _draw_of_top_k(
    params: SamplingParams, logits: Rows, shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """``draw`` from the ``top_k`` largest, in whose descending order each cut takes off an end."""
    kept, largest, top = _top_k(logits, params.top_k)
    check_finite(top)
    weights = _weights(params, largest, top)
    running = weights.cumsum(axis=1, dtype=np.float64)
    if len(kept) == 1 and params.typical_p == 1:
        return kept[:, _place_in_one(params, weights, running[0].tolist(), float(shares[0]))]
    ends = _ends(params, weights, running)
    if params.typical_p < 1:
        np.copyto(weights, 0, where=np.arange(params.top_k) >= ends[:, None])
        _cut_atypical(params, weights)
        return _at_each(kept, places_of(shares, weights))
    targets = _targets(shares, _at_each(running, ends - 1))
    return _at_each(kept, (running > targets[:, None]).argmax(axis=1))


def _place_in_one(params: SamplingParams, weights: Rows, running: list[float], share: float) -> int:
    """What many rows get, bit by bit: for one, calls of numpy are most of the time."""
    end = len(running)
    if params.top_p < 1:
        end = bisect_left(running, params.top_p * running[-1]) + 1
    if params.min_p > 0:
        end = min(end, int(np.count_nonzero(weights >= params.min_p)))
    total = running[end - 1]
    return bisect_right(running, min(share * total, math.nextafter(total, 0)))


def _ends(params: SamplingParams, weights: Rows, running: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the descending ``weights`` of each row the nucleus and ``min_p`` leave."""
    ends = np.full(len(weights), weights.shape[1])
    if params.top_p < 1:
        ends = (running >= params.top_p * running[:, -1:]).argmax(axis=1) + 1
    if params.min_p > 0:
        ends = np.minimum(ends, np.count_nonzero(weights >= params.min_p, axis=1))
    return ends


def _candidates(params: SamplingParams, logits: Rows) -> tuple[NDArray[np.int64] | None, Rows]:
    """Token ids [rows, n] (None: all of them) and their weights, 0 for one that is cut away."""
    kept = None
    top: Rows = np.maximum.reduce(logits, axis=1, keepdims=True)
    check_finite(top)
    if params.top_p == 1 and params.min_p > 0:
        bound = np.float32(params.temperature * math.log(params.min_p))
        kept, logits = _packed(logits, _where(logits >= top + bound), -np.inf)
    weights = _weights(params, logits, top)
    if params.top_p < 1:
        needed = params.top_p * np.add.reduce(weights, axis=1, dtype=np.float64)
        np.copyto(weights, 0, where=_outside_nucleus(weights, needed))
    if params.min_p > 0:
        np.copyto(weights, 0, where=weights < params.min_p)
    _cut_atypical(params, weights)
    return kept, weights


def _weights(params: SamplingParams, logits: Rows, top: Rows) -> Rows:
    """The likelihood of each of ``logits`` [rows, n], that of the likeliest being 1."""
    weights = np.subtract(logits, top, out=SCRATCH.array("weights", logits.shape))
    if params.temperature != 1:
        weights /= np.float32(params.temperature)
    return np.exp(weights, out=weights)


def check_finite(largest: Rows) -> None:
    """Raise ValueError where one of the ``largest`` logits of rows is not finite."""
    if not all(map(math.isfinite, largest.ravel().tolist())):
        raise ValueError("no token is left to draw: the largest processed logit is not finite")


def places_of(shares: NDArray[np.float64], weights: Rows) -> NDArray[np.int64]:
    """The place [rows] where the running sum of each row passes ``shares`` [rows] of its total.

    Sums of blocks find the block first: a running sum over a vocabulary is slow in numpy. Zeros
    behind a row change no bit of it.
    """
    rows, size = weights.shape
    starts = np.arange(0, size, _BLOCK)
    sums = np.add.reduceat(weights, starts, axis=1, dtype=np.float64)
    if rows == 1:
        number, rest = _first_above(sums[0], float(shares[0]))
        start = number * _BLOCK
        within, _ = _first_above(weights[0, start : start + _BLOCK], rest)
        return np.array([start + within])
    if size <= _BLOCK:
        return _places_above(weights, _targets(shares, sums[:, 0]) / sums[:, 0])
    running = sums.cumsum(axis=1)
    numbers, targets = _passed(running, shares)
    at = np.arange(rows), numbers
    rests = (targets - (running[at] - sums[at])) / sums[at]
    inner = starts[numbers][:, None] + np.arange(_BLOCK)  # [rows, block]
    weights = weights[at[0][:, None], np.minimum(inner, size - 1)]
    weights[inner >= size] = 0  # behind the end of the last block
    return starts[numbers] + _places_above(weights, rests)


def _at_each(values: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """What stands in each row of ``values`` [rows, n] at its place of ``places`` [rows]."""
    found: NDArray[Any] = values[np.arange(len(values)), places]
    return found


def _first_above(amounts: NDArray[np.floating], share: float) -> tuple[int, float]:
    """The first place whose running sum is above ``share`` of it all, and the share passed there.

    What is computed for many rows, bit by bit: for one, calls of numpy are most of the time.
    """
    running = amounts.cumsum(dtype=np.float64)
    total = float(running[-1])
    target = min(share * total, math.nextafter(total, 0))
    place = int(running.searchsorted(target, side="right"))
    amount = float(amounts[place])
    return place, (target - (float(running[place]) - amount)) / amount


def _places_above(weights: Rows, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Each row's first place whose running sum is above its share of all its ``weights``."""
    return _passed(weights.cumsum(axis=1, dtype=np.float64), shares)[0]


def _passed(
    running: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each row's first place in ``running`` sums above its share of the last, and that share."""
    targets = _targets(shares, running[:, -1])
    return (running > targets[:, None]).argmax(axis=1), targets


def _targets(shares: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """What of ``total`` [rows] is passed over: ``shares`` of it, less than all."""
    return np.minimum(shares * total, np.nextafter(total, 0))  # rounding may reach the total


def top_k_indices(values: Rows, k: int) -> NDArray[np.int64]:
    """Indices [rows, k] of the ``k`` largest of each row, in descending order, then by index."""
    return _top_k(values, k)[0]


def _top_k(values: Rows, k: int) -> tuple[NDArray[np.int64], Rows, Rows]:
    """``top_k_indices``, the values there, and the largest value of each row [rows, 1].

    The k-th largest of the maxima of groups is no larger than the k-th largest value, so every
    value of the answer is at least that, and few others are.
    """
    rows, size = values.shape
    numbers = np.arange(rows)[:, None]
    groups = _groups(size, k)
    if not groups or values.size <= _SOON_SORTED:
        order = (-values).argsort(axis=1, kind="stable")[:, :k]
        return order, values[numbers, order], values.max(axis=1, keepdims=True)
    few = values.size <= CELLS
    maxima = values if few else _maxima(values, max(groups, size // _SLICES))
    coarse = _maxima(maxima, groups)
    coarse.partition(groups - k, axis=1)
    highest = coarse[:, groups - k :]  # their largest is the row's, or a NaN where one is
    bound = highest[:, :1]
    flat = _where(values >= bound) if few else _at_least(values, maxima, bound)
    found, largest = _packed(values, flat, -np.inf)
    order = (-largest).argsort(axis=1, kind="stable")[:, :k]
    return (
        found[numbers, order],
        largest[numbers, order],
        np.maximum.reduce(highest, axis=1, keepdims=True),
    )


def _groups(size: int, k: int) -> int:
    """How many groups of ``size`` values: several to each of k, each value alone where these would
    be too few, or 0 where a sort of all is as quick."""
    if not 0 < 2 * k <= size:
        return 0
    return size // min(_LARGEST_GROUP, max(1, size // (4 * k)))


def _maxima(values: Rows, groups: int) -> Rows:
    """The largest of each group [rows, groups]; group g has the values at g, groups + g and so on.

    They lie apart because the maximum of whole slices is what numpy is quick at.
    """
    rows, size = values.shape
    members, rest = divmod(size, groups)
    slices = values[:, : size - rest].reshape(rows, members, groups)
    maxima: Rows = np.maximum.reduce(slices, axis=1)
    if rest:
        head = maxima[:, :rest]
        np.maximum(head, values[:, size - rest :], out=head)
    return maxima


def _at_least(values: Rows, maxima: Rows, bound: Rows) -> NDArray[np.int64]:
    """Ascending places, in ``values`` as one line, of those that reach their row's ``bound``.

    Only the groups whose maximum reaches it are read, which are few.
    """
    size, groups = values.shape[1], maxima.shape[1]
    members, rest = divmod(size, groups)
    inside = size - rest
    found = _where(~(maxima < bound))  # a NaN hides what else is in its group
    rows, hits = np.divmod(found, groups)
    slices = values[:, :inside].reshape(len(values), members, groups)
    reaching = _where(slices[rows, :, hits] >= bound[rows])  # of [found, members]
    at, steps = np.divmod(reaching, members)
    places: NDArray[np.int64] = rows[at] * size + steps * groups + hits[at]
    if rest:
        rows, columns = np.divmod(_where(values[:, inside:] >= bound), rest)
        places = np.concatenate((places, rows * size + inside + columns))
    places.sort()
    return places


def _where(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places of the true ones, in ``mask`` as one line: numpy's flatnonzero by shorter ways."""
    return mask.reshape(-1).nonzero()[0]


def _packed(
    values: Rows, flat: NDArray[np.int64], padding: float
) -> tuple[NDArray[np.int64], Rows]:
    """Indices and values, row by row, at the places ``flat`` of ``values`` as one line, ascending.

    ``padding`` stands behind those of short rows, under indices that mean nothing.
    """
    rows, size = values.shape
    if rows == 1:
        return flat[None], values[:, flat]
    firsts = np.arange(rows + 1) * size
    edges = flat.searchsorted(firsts)
    ends = edges[1:, None]
    longest = int((edges[1:] - edges[:-1]).max())
    places = edges[:-1, None] + np.arange(longest)  # [rows, longest]
    taken = flat.take(places, mode="clip")
    packed = values.take(taken)
    np.copyto(packed, padding, where=places >= ends)
    return taken - firsts[:-1, None], packed


def _outside_nucleus(weights: Rows, needed: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where each row is not among its fewest largest ``weights`` that hold ``needed`` [rows].

    Weights are relative to the largest: those under a bound are left out of the sort where the
    others hold enough. Of equal weights the first ones are taken.
    """
    largest = weights
    if weights.shape[1] > _LARGEST_GROUP:
        _, largest = _packed(weights, _where(weights >= _NEGLIGIBLE), 0)
        if (largest.sum(axis=1, dtype=np.float64) < needed).any():
            largest = weights
    largest = np.sort(largest, axis=1)[:, ::-1]
    last = _last_needed(largest, needed)
    numbers = np.arange(len(largest))
    smallest = largest[numbers, last]
    outside: NDArray[np.bool_] = weights < smallest[:, None]
    following = largest[numbers, np.minimum(last + 1, largest.shape[1] - 1)]
    for row in np.flatnonzero((following == smallest) & (smallest > 0)):
        equals = np.flatnonzero(weights[row] == smallest[row])
        surplus = weights.shape[1] - outside[row].sum() - last[row] - 1
        outside[row, equals[equals.size - surplus :]] = True
    return outside


def _last_needed(largest: Rows, needed: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place [rows] at which the running sum of each row, largest first, holds ``needed``."""
    enough = largest.astype(np.float64).cumsum(axis=1) >= needed[:, None]
    last: NDArray[np.int64] = enough.argmax(axis=1)
    last[~enough[:, -1]] = largest.shape[1] - 1  # rounding: it takes all of them
    return last


def _cut_atypical(params: SamplingParams, weights: Rows) -> None:
    if params.typical_p < 1:
        for row in weights:
            np.copyto(row, 0, where=_atypical(row, params.typical_p))


def _atypical(weights: NDArray[np.float32], mass: float) -> NDArray[np.bool_]:
    """Where ``weights`` [n] are not among the fewest that hold ``mass`` of their sum and whose
    surprise is nearest its mean."""
    possible = np.flatnonzero(weights)
    shares = weights[possible].astype(np.float64)
    shares /= shares.sum()
    surprise = -np.log(shares)
    distance = np.abs(surprise - (shares * surprise).sum())
    order = np.argsort(distance, kind="stable")
    last = int((shares[order].cumsum() < mass).sum())
    outside = np.ones(weights.size, bool)
    outside[possible[distance <= distance[order[min(last, order.size - 1)]]]] = False
    return outside
