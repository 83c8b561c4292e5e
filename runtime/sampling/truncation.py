"""Truncation and sampling: draw tokens from the logits of many rows at once, in numpy.

``drawing`` does the same by the library of kernels, where there is one, and is tested against this.
The order is transformers': temperature, top-k, top-p (the nucleus of Holtzman et al. 2019), min-p,
typical-p (Meister et al. 2022). The token of a row depends neither on the other rows nor on their
number. Truncation rarely sorts the vocabulary: a lower bound on the k-th largest logit, or on the
weights in the nucleus, selects candidates first, and only these are sorted. With many rows of
50,257 logits, reading memory dominates the time, and top-k reads each logit once. With one row the
number of different functions dominates: a model's step evicts their code from the processor's
caches, so each costs 10 to 30 us (``ndarray.max`` goes through Python, ``np.maximum.reduce`` does
not).
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
"""Numbers processed at once: with all intermediate arrays they fit a processor's cache."""

NOT_FINITE: Final = "no token is left to draw: the largest processed logit is not finite"

_BLOCK: Final = 64
_LARGEST_GROUP: Final = 128
_SLICES: Final = 16
_SOON_SORTED: Final = 512
_NEGLIGIBLE: Final = np.float32(1e-4)


class _Scratch(threading.local):
    """Arrays that each thread keeps from one draw to the next.

    Touching fresh memory pages costs more than the arithmetic on the arrays.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Rows] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> Rows:
        """Return the scratch array ``name`` in this shape, uninitialized."""
        size = shape[0] * shape[1]
        array = self._arrays.get(name)
        if array is None or array.size < size:
            array = self._arrays[name] = np.empty(size, np.float32)
        return array[:size].reshape(shape)


SCRATCH: Final = _Scratch()


def draw(params: SamplingParams, logits: Rows, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw token ids [rows], one from each row of ``logits`` [rows, vocab_size].

    ``logits`` are not changed. ``shares`` [rows] are random numbers in [0, 1): each selects the
    token at which the cumulative probability of its row passes it. Raises ValueError where the
    largest logit of a row is not finite.
    """
    rows, size = logits.shape
    at_once = max(1, CELLS // size)
    if rows > at_once and not _groups(size, params.top_k):  # intermediates of the same size
        parts = [slice(first, first + at_once) for first in range(0, rows, at_once)]
        return np.concatenate([draw(params, logits[part], shares[part]) for part in parts])
    if 0 < params.top_k < size:
        return _draw_of_top_k(params, logits, shares)
    kept, weights = _candidates(params, logits)  # [rows, n] each
    places = places_of(shares, weights)  # [rows]
    return places if kept is None else _at_each(kept, places)


def _draw_of_top_k(
    params: SamplingParams, logits: Rows, shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Draw from the ``top_k`` largest logits, in descending order: truncation cuts off the end."""
    kept, largest, top = _top_k(logits, params.top_k)  # [rows, top_k] twice, [rows, 1]
    check_finite(top)
    weights = _weights(params, largest, top)  # [rows, top_k]
    running = weights.cumsum(axis=1, dtype=np.float64)  # [rows, top_k]
    if len(kept) == 1 and params.typical_p == 1:
        return kept[:, _place_in_one(params, weights, running[0].tolist(), float(shares[0]))]
    ends = _ends(params, weights, running)  # [rows]
    if params.typical_p < 1:
        np.copyto(weights, 0, where=np.arange(params.top_k) >= ends[:, None])
        _cut_atypical(params, weights)
        return _at_each(kept, places_of(shares, weights))
    targets = _targets(shares, _at_each(running, ends - 1))  # [rows]
    return _at_each(kept, (running > targets[:, None]).argmax(axis=1))


def _place_in_one(params: SamplingParams, weights: Rows, running: list[float], share: float) -> int:
    """Return the index drawn from one row, bit for bit as for many rows.

    For one row, calls of numpy functions would take most of the time.
    """
    end = len(running)
    if params.top_p < 1:
        end = bisect_left(running, params.top_p * running[-1]) + 1
    if params.min_p > 0:
        end = min(end, int(np.count_nonzero(weights >= params.min_p)))
    total = running[end - 1]
    return bisect_right(running, min(share * total, math.nextafter(total, 0)))


def _ends(params: SamplingParams, weights: Rows, running: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many of each row's descending ``weights`` top-p and min-p keep, [rows]."""
    ends = np.full(len(weights), weights.shape[1])
    if params.top_p < 1:
        ends = (running >= params.top_p * running[:, -1:]).argmax(axis=1) + 1
    if params.min_p > 0:
        ends = np.minimum(ends, np.count_nonzero(weights >= params.min_p, axis=1))
    return ends


def _candidates(params: SamplingParams, logits: Rows) -> tuple[NDArray[np.int64] | None, Rows]:
    """Return token ids [rows, n], or None for all, and weights [rows, n], 0 where truncated."""
    kept = None
    top: Rows = np.maximum.reduce(logits, axis=1, keepdims=True)  # [rows, 1]
    check_finite(top)
    if params.top_p == 1 and params.min_p > 0:
        bound = np.float32(params.temperature * math.log(params.min_p))
        # [rows, vocab_size] -> [rows, n], n being the most candidates of a row
        kept, logits = _packed(logits, _where(logits >= top + bound), -np.inf)
    weights = _weights(params, logits, top)  # [rows, n]
    if params.top_p < 1:
        needed = params.top_p * np.add.reduce(weights, axis=1, dtype=np.float64)  # [rows]
        np.copyto(weights, 0, where=_outside_nucleus(weights, needed))
    if params.min_p > 0:
        np.copyto(weights, 0, where=weights < params.min_p)
    _cut_atypical(params, weights)
    return kept, weights


def _weights(params: SamplingParams, logits: Rows, top: Rows) -> Rows:
    """Return exp((logits - top) / temperature) [rows, n]; the most likely token has weight 1."""
    weights = np.subtract(logits, top, out=SCRATCH.array("weights", logits.shape))
    if params.temperature != 1:
        weights /= np.float32(params.temperature)
    # in float64, then rounded: the same bits on every processor, and as the kernels have them
    return np.exp(weights, out=weights, dtype=np.float64, casting="same_kind")


def check_finite(largest: Rows) -> None:
    """Raise ValueError where one of the rows' ``largest`` logits is not finite."""
    if not all(map(math.isfinite, largest.ravel().tolist())):
        raise ValueError(NOT_FINITE)


def places_of(shares: NDArray[np.float64], weights: Rows) -> NDArray[np.int64]:
    """Return the index [rows] where each row's cumulative sum passes its share of the total.

    ``shares`` are [rows], ``weights`` [rows, n]. Sums of blocks find the block first, because a
    cumulative sum over a vocabulary is slow in numpy. Zeros after a row change no bit of it.
    """
    rows, size = weights.shape
    starts = np.arange(0, size, _BLOCK)
    sums = np.add.reduceat(weights, starts, axis=1, dtype=np.float64)  # [rows, blocks]
    if rows == 1:
        number, rest = _first_above(sums[0], float(shares[0]))
        start = number * _BLOCK
        within, _ = _first_above(weights[0, start : start + _BLOCK], rest)
        return np.array([start + within])
    if size <= _BLOCK:
        return _places_above(weights, _targets(shares, sums[:, 0]) / sums[:, 0])
    running = sums.cumsum(axis=1)  # [rows, blocks]
    numbers, targets = _passed(running, shares)  # [rows] each
    chosen = np.arange(rows), numbers  # the block of each row
    rests = (targets - (running[chosen] - sums[chosen])) / sums[chosen]  # [rows]
    inner = starts[numbers][:, None] + np.arange(_BLOCK)  # [rows, block]
    weights = weights[chosen[0][:, None], np.minimum(inner, size - 1)]  # [rows, block]
    weights[inner >= size] = 0  # after the end of the last block
    return starts[numbers] + _places_above(weights, rests)


def _at_each(values: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """Return the value [rows] of each row of ``values`` [rows, n] at its index in ``places``."""
    found: NDArray[Any] = values[np.arange(len(values)), places]
    return found


def _first_above(amounts: NDArray[np.floating], share: float) -> tuple[int, float]:
    """Return the first index where the cumulative sum exceeds ``share`` of the total, and the rest.

    The rest is how far the target lies above the sum before that index, as a share of the amount
    there. Both equal the results for many rows bit for bit; with one row, the calls of numpy that
    those need would take most of the time.
    """
    running = amounts.cumsum(dtype=np.float64)
    total = float(running[-1])
    target = min(share * total, math.nextafter(total, 0))
    place = int(running.searchsorted(target, side="right"))
    amount = float(amounts[place])
    return place, (target - (float(running[place]) - amount)) / amount


def _places_above(weights: Rows, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each row's first index where the cumulative sum exceeds its share of the total."""
    return _passed(weights.cumsum(axis=1, dtype=np.float64), shares)[0]


def _passed(
    running: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each row's first index where ``running`` exceeds its share of the last, and targets.

    ``running`` [rows, n] are cumulative sums; both results are [rows].
    """
    targets = _targets(shares, running[:, -1])  # [rows]
    return (running > targets[:, None]).argmax(axis=1), targets


def _targets(shares: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``shares`` of ``total`` [rows], always less than the total."""
    return np.minimum(shares * total, np.nextafter(total, 0))  # rounding may reach the total


def top_k_indices(values: Rows, k: int) -> NDArray[np.int64]:
    """Return indices [rows, k] of the ``k`` largest values of each row, largest first.

    Equal values are in the order of their indices.
    """
    return _top_k(values, k)[0]


def _top_k(values: Rows, k: int) -> tuple[NDArray[np.int64], Rows, Rows]:
    """Return ``top_k_indices``, the values there [rows, k], and each row's largest value [rows, 1].

    The k-th largest of the group maxima is a lower bound of the k-th largest value: all values of
    the result reach it, and few others do.
    """
    rows, size = values.shape
    numbers = np.arange(rows)[:, None]
    groups = _groups(size, k)
    if not groups or values.size <= _SOON_SORTED:
        order = (-values).argsort(axis=1, kind="stable")[:, :k]
        return order, values[numbers, order], values.max(axis=1, keepdims=True)
    few = values.size <= CELLS
    maxima = values if few else _maxima(values, max(groups, size // _SLICES))
    coarse = _maxima(maxima, groups)  # [rows, groups]
    coarse.partition(groups - k, axis=1)
    highest = coarse[:, groups - k :]  # [rows, k], with the row's largest value, or NaN if any
    bound = highest[:, :1]  # [rows, 1]
    flat = _where(values >= bound) if few else _at_least(values, maxima, bound)
    found, largest = _packed(values, flat, -np.inf)  # [rows, most candidates of a row] each
    order = (-largest).argsort(axis=1, kind="stable")[:, :k]
    return (
        found[numbers, order],
        largest[numbers, order],
        np.maximum.reduce(highest, axis=1, keepdims=True),
    )


def _groups(size: int, k: int) -> int:
    """Return the number of groups for ``size`` values, or 0 where sorting all is as fast.

    There are several groups for each of the k values; where values are few, each is a group.
    """
    if not 0 < 2 * k <= size:
        return 0
    return size // min(_LARGEST_GROUP, max(1, size // (4 * k)))


def _maxima(values: Rows, groups: int) -> Rows:
    """Return the largest value of each group, [rows, groups].

    Group g has the values at g, groups + g, 2 * groups + g and so on, because numpy computes the
    elementwise maximum of slices fast.
    """
    rows, size = values.shape
    members, rest = divmod(size, groups)
    slices = values[:, : size - rest].reshape(rows, members, groups)
    maxima: Rows = np.maximum.reduce(slices, axis=1)  # [rows, members, groups] -> [rows, groups]
    if rest:
        head = maxima[:, :rest]
        np.maximum(head, values[:, size - rest :], out=head)
    return maxima


def _at_least(values: Rows, maxima: Rows, bound: Rows) -> NDArray[np.int64]:
    """Return ascending flat indices of the ``values`` that reach their row's ``bound`` [rows, 1].

    Only the groups with a maximum that reaches the bound are read, and these are few.
    """
    size, groups = values.shape[1], maxima.shape[1]
    members, rest = divmod(size, groups)
    inside = size - rest
    found = _where(~(maxima < bound))  # also groups with a NaN, which hides their other values
    rows, hits = np.divmod(found, groups)
    slices = values[:, :inside].reshape(len(values), members, groups)
    reaching = _where(slices[rows, :, hits] >= bound[rows])  # of [found, members]
    group, steps = np.divmod(reaching, members)
    places: NDArray[np.int64] = rows[group] * size + steps * groups + hits[group]
    if rest:
        rows, columns = np.divmod(_where(values[:, inside:] >= bound), rest)
        places = np.concatenate((places, rows * size + inside + columns))
    places.sort()
    return places


def _where(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the flat indices where ``mask`` is True: numpy's flatnonzero with fewer calls."""
    return mask.reshape(-1).nonzero()[0]


def _packed(
    values: Rows, flat: NDArray[np.int64], padding: float
) -> tuple[NDArray[np.int64], Rows]:
    """Return indices and values [rows, longest] at ascending flat indices ``flat`` of ``values``.

    Rows with fewer values end with ``padding``, at meaningless indices.
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
    """Return a mask [rows, n], True where ``weights`` [rows, n] are outside the nucleus.

    The nucleus is the smallest set of each row's largest weights with a sum of at least ``needed``
    [rows]. Weights are relative to the largest: those under a bound are left out of the sort where
    the others reach that sum. Of equal weights the first ones are in the nucleus.
    """
    largest = weights
    if weights.shape[1] > _LARGEST_GROUP:
        _, largest = _packed(weights, _where(weights >= _NEGLIGIBLE), 0)
        if (largest.sum(axis=1, dtype=np.float64) < needed).any():
            largest = weights
    largest = np.sort(largest, axis=1)[:, ::-1]  # [rows, candidates], descending
    last = _last_needed(largest, needed)  # [rows]
    numbers = np.arange(len(largest))
    smallest = largest[numbers, last]  # [rows], the smallest weight in each nucleus
    outside: NDArray[np.bool_] = weights < smallest[:, None]
    following = largest[numbers, np.minimum(last + 1, largest.shape[1] - 1)]
    for row in np.flatnonzero((following == smallest) & (smallest > 0)):
        equals = np.flatnonzero(weights[row] == smallest[row])
        surplus = weights.shape[1] - outside[row].sum() - last[row] - 1
        outside[row, equals[equals.size - surplus :]] = True
    return outside


def _last_needed(largest: Rows, needed: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index [rows] where the cumulative sum of ``largest`` reaches ``needed``."""
    enough = largest.astype(np.float64).cumsum(axis=1) >= needed[:, None]
    last: NDArray[np.int64] = enough.argmax(axis=1)
    last[~enough[:, -1]] = largest.shape[1] - 1  # after rounding, all of them are needed
    return last


def _cut_atypical(params: SamplingParams, weights: Rows) -> None:
    if params.typical_p < 1:
        for row in weights:
            np.copyto(row, 0, where=_atypical(row, params.typical_p))


def _atypical(weights: NDArray[np.float32], mass: float) -> NDArray[np.bool_]:
    """Return a mask [n], True where ``weights`` [n] are outside the typical set.

    The typical set has the weights with a surprise nearest to the mean surprise, and as few of them
    as reach the share ``mass`` of the sum.
    """
    possible = np.flatnonzero(weights)
    shares = weights[possible].astype(np.float64)
    shares /= shares.sum()
    surprise = -np.log(shares)  # [possible], in nats
    distance = np.abs(surprise - (shares * surprise).sum())  # from the entropy
    order = np.argsort(distance, kind="stable")
    last = int((shares[order].cumsum() < mass).sum())
    outside = np.ones(weights.size, bool)
    outside[possible[distance <= distance[order[min(last, order.size - 1)]]]] = False
    return outside
