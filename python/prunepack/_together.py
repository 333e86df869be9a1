"""How many weights each tensor loses when the tensors of a model are ranked together.

Each tensor is counted in a histogram of its keys, and the bins of all tensors are put in the order
of importance. Of the bins that may hold the last pruned weight, finer histograms are made until
each is of one importance. So the answer is exact, and memory is bounded by the number of bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _core
from ._patterns import Unstructured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

    from ._arrays import Array, Weights
    from ._dtypes import DtypeInfo

    Keys = npt.NDArray[np.uint64]
    Counts = npt.NDArray[np.int64]

    # Calls a function with each of the named tensors and a number of threads to use, and yields
    # the names and the results.
    Look = Callable[[str, Weights, int], "Seen"]
    Through = Callable[[Sequence[str], Look], Iterable[tuple[str, "Seen"]]]

BIN_BITS = 16

MOST_BINS = 1 << 21
"""How many bins all histograms may have together; beyond that they are made coarser."""

LEAST_BINS = 32
"""How many each tensor may have all the same, so that every pass gets nearer."""


@dataclass(frozen=True)
class Histogram:
    """How many of a tensor's weights have which keys, in the bins that are not empty."""

    low: int
    shift: int
    below: int
    bins: Keys
    counts: Counts

    @classmethod
    def of(cls, bits: Array, info: DtypeInfo, low: int, high: int, threads: int) -> Histogram:
        """Count the weights with keys from `low` to `high`; those below are only added up.

        Every NaN is counted as the first of them.
        """
        shift = max(0, (high - low).bit_length() - BIN_BITS)
        counts = np.zeros(((high - low) >> shift) + 3, dtype=np.int64)
        _core.key_histogram(bits, info.name, low, shift, counts, threads)
        if high == largest_key(info):
            counts[-2] += counts[-1]
        bins = np.flatnonzero(counts[1:-1])
        return cls(low, shift, int(counts[0]), bins.astype(np.uint64), counts[1:-1][bins])

    @classmethod
    def empty(cls) -> Histogram:
        """Return the histogram of no weights."""
        return cls(0, 0, 0, np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))

    @property
    def first(self) -> Keys:
        """The smallest key of each bin."""
        return np.uint64(self.low) + (self.bins << np.uint64(self.shift))

    def coarser(self) -> Histogram:
        """Put each two bins together."""
        halves = self.bins >> np.uint64(1)
        starts = np.flatnonzero(np.diff(halves, prepend=np.uint64(2**64 - 1)))
        counts = np.add.reduceat(self.counts, starts) if starts.size else self.counts
        return Histogram(self.low, self.shift + 1, self.below, halves[starts], counts)

    def only(self, first: int, end: int) -> Histogram:
        """Leave the bins [first, end), and count those in front of them as below."""
        below = self.below + int(self.counts[:first].sum())
        return Histogram(self.low, self.shift, below, self.bins[first:end], self.counts[first:end])


@dataclass
class RankedTensor:
    """What is known of one tensor: between how many weights it may lose, and where they rank."""

    name: str
    info: DtypeInfo
    size: int
    least: int
    most: int
    norm: float = 1.0
    histogram: Histogram = field(default_factory=lambda: Histogram.empty())

    @classmethod
    def of(cls, name: str, info: DtypeInfo, size: int, pattern: Unstructured) -> RankedTensor:
        """Say what a pattern of the scope "model" lets a tensor lose."""
        least, most = (round(s * size) for s in (pattern.min_sparsity, pattern.max_sparsity))
        return cls(name, info, size, least, most)

    @property
    def keys(self) -> tuple[int, int]:
        """The smallest and the largest key in the bins."""
        known = self.histogram
        return int(known.first[0]), min(
            int(known.first[-1]) + (1 << known.shift) - 1, largest_key(self.info)
        )

    def within(self, count: int) -> int:
        """Return `count`, but no fewer and no more weights than the tensor may lose."""
        return min(max(count, self.least), self.most)

    @property
    def surely(self) -> int:
        """How many weights it loses wherever in the bins the last one is."""
        return self.within(self.histogram.below)

    def places(self) -> Places:
        """Tell which weights of the bins it may lose or keep, and the importance of each bin."""
        known = self.histogram
        ends = known.below + np.concatenate([[0], np.cumsum(known.counts)])
        last = known.first + np.uint64((1 << known.shift) - 1)
        last = np.minimum(last, np.uint64(largest_key(self.info)))
        return Places(
            np.diff(np.clip(ends, self.least, self.most)),
            _core.importances(self.info.name, known.first, self.norm),
            _core.importances(self.info.name, last, self.norm),
        )


class Places(NamedTuple):
    """For each bin: how many weights are open, and from which importance to which they rank."""

    open: Counts
    first: Keys
    last: Keys


def largest_key(info: DtypeInfo) -> int:
    """Return the key of the largest integer of a dtype, or of its first NaN."""
    if info.numpy.kind in "iu":
        return max(
            abs(int(bound)) for bound in (np.iinfo(info.numpy).min, np.iinfo(info.numpy).max)
        )
    if info.name == "float8_e4m3fn":  # the only one without infinities
        return 127
    return int(np.array(np.inf, info.numpy).view(info.bits)) + 1


def pruned_together(
    tensors: Sequence[RankedTensor], pattern: Unstructured, through: Through
) -> dict[str, int]:
    """Find how many weights each tensor loses.

    Parameters
    ----------
    tensors : sequence of RankedTensor
        In the order in which equals are pruned.
    pattern : Unstructured
        Of the scope "model".
    through : callable
        Goes through the tensors it is given the names of, in any order. Called for every pass.

    Raises
    ------
    ValueError
        If the bounds leave no way to prune as many as the pattern says, or a tensor that is to be
        normalised has no norm.
    """
    pruned = round(pattern.sparsity * sum(t.size for t in tensors))
    _check_can_lose(pruned, tensors, pattern)
    if pruned == sum(t.most for t in tensors):
        return {t.name: t.most for t in tensors}
    ranges = {t.name: (0, largest_key(t.info)) for t in tensors if t.size}
    unknown_norms = pattern.normalize is not None
    while missing := pruned - sum(t.surely for t in tensors):
        if ranges:
            _count(tensors, ranges, through, norms=unknown_norms)
            unknown_norms, ranges = False, _narrow(tensors, pruned)
            continue
        return _shared_out(tensors, missing)
    return {t.name: t.surely for t in tensors}


def exactly(count: int, size: int) -> Unstructured:
    """Return the pattern that prunes `count` of a tensor of `size` weights."""
    return Unstructured(count / size if size else 0.0)


class Seen(NamedTuple):
    """What one pass has found of a tensor."""

    histogram: Histogram
    norm: float | None


def _count(
    tensors: Sequence[RankedTensor],
    ranges: Mapping[str, tuple[int, int]],
    through: Through,
    *,
    norms: bool,
) -> None:
    """Make new histograms of the ranges of keys, and find the norms if they are needed."""

    def look(name: str, weights: Weights, threads: int) -> Seen:
        norm = _norm(name, weights, threads) if norms else None
        return Seen(Histogram.of(weights.array, weights.info, *ranges[name], threads), norm)

    named = {t.name: t for t in tensors}
    bins = sum(t.histogram.bins.size for t in tensors if t.name not in ranges)
    most_bins = max(MOST_BINS, LEAST_BINS * len(tensors))
    for name, seen in through(tuple(ranges), look):
        named[name].histogram = seen.histogram
        if seen.norm is not None:
            named[name].norm = seen.norm
        bins += seen.histogram.bins.size
        while bins > most_bins:
            for each in tensors:
                if each.histogram.bins.size > most_bins // len(tensors):
                    each.histogram = each.histogram.coarser()
            bins = sum(t.histogram.bins.size for t in tensors)


def _norm(name: str, weights: Weights, threads: int) -> float:
    squares = _core.sum_of_squares(weights.array, weights.info.name, threads)
    if not math.isfinite(squares) or (squares == 0 and _has_nonzero(weights, threads)):
        msg = (
            f"tensor {name!r} must have an L2 norm to be normalized, but its squares add up to"
            f" {squares:g}: it holds NaN, infinity, or numbers too large or small to square"
        )
        raise ValueError(msg)
    return math.sqrt(squares)


def _has_nonzero(weights: Weights, threads: int) -> bool:
    counts = np.zeros(3, dtype=np.int64)
    _core.key_histogram(weights.array, weights.info.name, 1, 0, counts, threads)
    return bool(counts[1:].any())


def _narrow(tensors: Sequence[RankedTensor], pruned: int) -> dict[str, tuple[int, int]]:
    """Leave the bins that may hold the last pruned weight; return the keys to look at closer."""
    missing = pruned - sum(t.surely for t in tensors)
    if missing == 0:
        return {}
    places = [t.places() for t in tensors]
    low, high = (_reached(missing, places, side) for side in ("first", "last"))
    ranges = {}
    for tensor, (counts, first, last) in zip(tensors, places, strict=True):
        inside = np.flatnonzero((counts > 0) & (last >= low) & (first <= high))
        begin = int(inside[0]) if inside.size else int(np.sum(last < low))
        end = int(inside[-1]) + 1 if inside.size else begin
        tensor.histogram = tensor.histogram.only(begin, end)
        if (first[inside] != last[inside]).any():
            ranges[tensor.name] = tensor.keys
    return ranges


def _reached(missing: int, places: Sequence[Places], side: str) -> np.uint64:
    """Return the importance at which `missing` weights have come, each bin all at once."""
    importances = np.concatenate([getattr(place, side) for place in places])
    order = np.argsort(importances)
    come = np.cumsum(np.concatenate([place.open for place in places])[order])
    reached: np.uint64 = importances[order[np.searchsorted(come, missing)]]
    return reached


def _shared_out(tensors: Sequence[RankedTensor], missing: int) -> dict[str, int]:
    """Prune `missing` of the weights that are left, all of one importance: first tensors first."""
    pruned = {}
    for tensor in tensors:
        more = min(missing, int(tensor.places().open.sum()))
        pruned[tensor.name] = tensor.surely + more
        missing -= more
    return pruned


def _check_can_lose(pruned: int, tensors: Sequence[RankedTensor], pattern: Unstructured) -> None:
    least, most = sum(t.least for t in tensors), sum(t.most for t in tensors)
    if least <= pruned <= most:
        return
    bound, count = ("min_sparsity", least) if pruned < least else ("max_sparsity", most)
    msg = (
        f"{bound} must leave a way to prune {pruned:,} of {sum(t.size for t in tensors):,} weights,"
        f" but rounded for each of {len(tensors):,} tensors it comes to {count:,}; move it away"
        f" from the sparsity of {pattern.sparsity:g}"
    )
    raise ValueError(msg)
