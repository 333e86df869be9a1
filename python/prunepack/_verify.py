"""Checking that weights obey a pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ._arrays import Array, ArrayLike, Weights, as_array, resolve_threads
from ._masks import mask_bits, prune_mask
from ._packed import PackedTensor
from ._patterns import NM, Block, Pattern, Threshold, Unstructured, check_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

Index: TypeAlias = tuple[int, ...]

AT_ONCE = 1 << 22  # weights whose groups are counted at a time


@dataclass(frozen=True)
class Verification:
    """What `verify` found. True in a condition if the weights obey the pattern.

    Attributes
    ----------
    pattern : Unstructured, Threshold, NM or Block
        The rule that was checked.
    groups : int
        How many groups were checked: populations, weights, groups of m, or (for blocks) the tensor.
    broken : int
        How many of them have too few zeros.
    first : tuple of int or None
        The index of the first weight of the first broken group; None if there is none.
    message : str
        The same for people.
    """

    pattern: Pattern
    groups: int
    broken: int
    first: tuple[int, ...] | None
    message: str

    @property
    def ok(self) -> bool:
        """True if no group is broken."""
        return self.broken == 0

    def __bool__(self) -> bool:
        return self.ok


def verify(
    w: ArrayLike | PackedTensor, pattern: Pattern, *, num_threads: int | None = None
) -> Verification:
    """Check that weights have at least the zeros a pattern asks for, where it asks for them.

    Parameters
    ----------
    w : array_like or PackedTensor
        The weights.
    pattern : Unstructured, Threshold, NM or Block
        The rule. Which weights are zero is checked, not whether they were the right ones to prune.
    num_threads : int, optional
        Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the cores this process may use.

    Returns
    -------
    Verification
        How many groups break the pattern, and where the first one is.

    Raises
    ------
    TypeError
        If `w` is no array of a dtype that can be pruned.
    ValueError
        If `pattern` does not fit the shape.

    Notes
    -----
    As fast as pruning where the pattern is obeyed. To find where it is broken takes much longer, and
    a few bytes of memory for every weight.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0.0, 5.0, 0.0, 6.0], [0.0, 7.0, 8.0, 9.0]])
    >>> pp.verify(w, pp.NM(2, 4)).message
    '1 of 2 groups break 2:4 (50 % sparse); the first at (1, 0): 1 zero of 4 weights, 2 needed'
    >>> bool(pp.verify(w, pp.Unstructured(0.25)))
    True
    """
    check_pattern(pattern)
    threads = resolve_threads(num_threads)
    dense = w.to_dense(num_threads=threads) if isinstance(w, PackedTensor) else as_array(w, "w")
    weights = Weights.of(dense, "w")
    if _prunes_nothing(weights, pattern, threads):
        groups = _groups(pattern, dense.shape)
        return Verification(pattern, groups, 0, None, f"all {groups} groups obey {pattern}")
    return _verify(pattern, dense)


def _prunes_nothing(weights: Weights, pattern: Pattern, threads: int) -> bool:
    """Tell whether all that the pattern would prune is zero, which is what obeying it means."""
    kept = mask_bits(weights, pattern, None, threads)
    nonzero = mask_bits(weights, Threshold(0.0), None, threads)
    np.bitwise_not(kept, out=kept)
    return not np.bitwise_and(kept, nonzero, out=kept).any()


def _groups(pattern: Pattern, shape: tuple[int, ...]) -> int:
    if isinstance(pattern, NM):
        outer, length, inner = pattern._lines(shape)
        return outer * inner * -(-length // pattern.m)
    if isinstance(pattern, Unstructured):
        return pattern._populations(shape)
    return 1 if isinstance(pattern, Block) else math.prod(shape)


@singledispatch
def _verify(pattern: Pattern, dense: Array) -> Verification:
    raise NotImplementedError(pattern, dense.shape)


@_verify.register
def _(pattern: NM, dense: Array) -> Verification:
    outer, length, inner = pattern._lines(dense.shape)
    lines = dense.reshape(outer, length, inner)
    step = min(pattern.m, max(length, 1))
    starts = np.arange(0, length, step)
    sizes = np.minimum(step, length - starts)
    needed = np.array([pattern._pruned(int(size)) for size in sizes], dtype=np.int64)

    def zeros_of(some: Array) -> npt.NDArray[np.int64]:
        kept = np.add.reduceat(_nonzero(some), starts, axis=1, dtype=np.int64)
        return sizes[:, np.newaxis] - kept

    broken = np.zeros((outer, starts.size, inner), dtype=np.bool_)
    if dense.size:
        some = max(1, AT_ONCE // (length * inner))
        for o in range(0, outer, some):
            broken[o : o + some] = zeros_of(lines[o : o + some]) < needed[:, np.newaxis]

    def first(where: Index) -> tuple[Index, str]:
        o, group, i = where
        flat = (o * length + int(starts[group])) * inner + i
        zeros = int(zeros_of(lines[o : o + 1])[0, group, i])
        return _index(flat, dense.shape), _shortage(zeros, sizes[group], needed[group])

    return _verification(pattern, broken, first)


@_verify.register
def _(pattern: Unstructured, dense: Array) -> Verification:
    populations = pattern._populations(dense.shape)
    size = dense.size // populations
    needed = pattern._pruned(dense.size, populations)
    zeros = size - np.count_nonzero(_nonzero(dense).reshape(populations, size), axis=1)

    def first(where: Index) -> tuple[Index, str]:
        return _index(where[0] * size, dense.shape), _shortage(zeros[where], size, needed)

    return _verification(pattern, np.asarray(zeros < needed), first)


@_verify.register
def _(pattern: Threshold, dense: Array) -> Verification:
    broken = _nonzero(dense) & ~prune_mask(dense, pattern).to_bool()

    def first(where: Index) -> tuple[Index, str]:
        return where, f"the weight is {dense[where]}"

    return _verification(pattern, broken, first)


@_verify.register
def _(pattern: Block, dense: Array) -> Verification:
    tile = pattern._tile(dense.shape)
    nonzero = _nonzero(dense).reshape(dense.shape or (1,))
    for axis, step in enumerate(tile):
        if nonzero.size:
            starts = np.arange(0, nonzero.shape[axis], step)
            nonzero = np.logical_or.reduceat(nonzero, starts, axis=axis)
    zero_tiles = int(nonzero.size - np.count_nonzero(nonzero))
    needed = pattern._pruned(dense.shape, tile)

    def first(where: Index) -> tuple[Index, str]:  # noqa: ARG001
        tiles = "tile" if zero_tiles == 1 else "tiles"
        return (0,) * dense.ndim, f"{zero_tiles} {tiles} of {nonzero.size} zero, {needed} needed"

    return _verification(pattern, np.array([zero_tiles < needed]), first)


def _nonzero(dense: Array) -> npt.NDArray[np.bool_]:
    return prune_mask(dense, Threshold(0.0)).to_bool()


def _verification(
    pattern: Pattern, broken: npt.NDArray[np.bool_], first: Callable[[Index], tuple[Index, str]]
) -> Verification:
    count = int(np.count_nonzero(broken))
    if count == 0:
        message = f"all {broken.size} groups obey {pattern}"
        return Verification(pattern, broken.size, 0, None, message)
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(broken)), broken.shape))
    index, shortage = first(where)
    groups = "group breaks" if broken.size == 1 else "groups break"
    message = f"{count} of {broken.size} {groups} {pattern}; the first at {index}: {shortage}"
    return Verification(pattern, broken.size, count, index, message)


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def _shortage(zeros: int, size: int, needed: int) -> str:
    return f"{zeros} {'zero' if zeros == 1 else 'zeros'} of {size} weights, {needed} needed"
