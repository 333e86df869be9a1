"""Pruning dense weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import _core
from ._arrays import (
    Array,
    ArrayLike,
    Weights,
    as_array,
    checked_out,
    lies_as_kernels_need,
    resolve_threads,
)
from ._masks import Mask, given_bits, mask_bits
from ._patterns import Pattern, check_pattern

if TYPE_CHECKING:
    import numpy.typing as npt


def prune(
    w: ArrayLike,
    pattern: Pattern,
    *,
    importance: ArrayLike | None = None,
    out: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    """Prune weights: a dense copy with +0.0 in place of what the pattern prunes.

    Parameters
    ----------
    w : array_like
        The weights: a NumPy array, or an object in CPU memory that shares it through DLPack (a torch
        tensor) or the buffer protocol. float16, bfloat16, float32, float64, float8_e4m3fn,
        float8_e5m2, int8 or uint8, of any shape. Read in place; copied only if not C-contiguous.
    pattern : Unstructured, Threshold, NM or Block
        The rule.
    importance : array_like, optional
        Rank by the magnitudes of this array, of the same shape, instead of the weights.
    out : array_like, optional
        Write here instead of a new array: same shape and dtype, writable. ``out=w`` prunes in place.
        Reusing memory is much faster than asking the system for fresh pages.
    num_threads : int, optional
        Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the usable cores. The result is the
        same for any number.

    Returns
    -------
    ndarray
        The pruned weights; `out`, if it was given.

    Raises
    ------
    TypeError
        If an argument is no array of a dtype named above, or `out` has another dtype than `w`.
    ValueError
        If shapes differ, `out` is read-only, or `pattern` does not fit the shape.

    Notes
    -----
    What is kept keeps its bits. Reads every weight twice, and writes it once.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0.5, -3.0, 1.0, 2.0], [4.0, 3.0, 2.0, 1.0]], dtype=np.float32)
    >>> pp.prune(w, pp.NM(3, 4))
    array([[ 0., -3.,  0.,  0.],
           [ 4.,  0.,  0.,  0.]], dtype=float32)
    >>> _ = pp.prune(w, pp.Unstructured(0.5), out=w)
    >>> w
    array([[ 0., -3.,  0.,  0.],
           [ 4.,  3.,  2.,  0.]], dtype=float32)
    """
    check_pattern(pattern)
    array = as_array(w, "w")
    weights = Weights.of(array, "w")
    target = None if out is None else checked_out(out, array.shape, array.dtype)
    threads = resolve_threads(num_threads)
    mask = mask_bits(weights, pattern, importance, threads)
    pruned = _apply(weights, mask, target, threads)
    return pruned if out is None else out  # type: ignore[return-value]


def apply_mask(
    w: ArrayLike,
    mask: Mask | npt.NDArray[np.bool_],
    *,
    out: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Array:
    """Prune weights with a mask: a dense copy with +0.0 where the mask is 0.

    Parameters
    ----------
    w : array_like
        The weights, as for `prune`.
    mask : Mask or ndarray of bool
        Which weights are kept, in the shape of `w`.
    out : array_like, optional
        Write here instead of a new array: same shape and dtype, writable. ``out=w`` prunes in place.
    num_threads : int, optional
        Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the usable cores.

    Returns
    -------
    ndarray
        The pruned weights; `out`, if it was given.

    Raises
    ------
    TypeError
        If `w` is no array of a dtype that can be pruned, or `mask` is no mask.
    ValueError
        If the shapes differ, or `out` is read-only.

    See Also
    --------
    pack : The same with the result packed.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0.5, -3.0, 1.0, 2.0]])
    >>> mask = pp.prune_mask(w, pp.NM(2, 4))
    >>> pp.apply_mask(w + 1, mask)  # fine-tuned, and pruned as before
    array([[ 0., -2.,  0.,  3.]])
    """
    array = as_array(w, "w")
    weights = Weights.of(array, "w")
    bits = given_bits(mask, array.shape)
    target = None if out is None else checked_out(out, array.shape, array.dtype)
    pruned = _apply(weights, bits, target, resolve_threads(num_threads))
    return pruned if out is None else out  # type: ignore[return-value]


def _apply(
    weights: Weights, mask: npt.NDArray[np.uint8], target: Array | None, threads: int
) -> Array:
    if (
        target is not None
        and lies_as_kernels_need(target)
        and not _overlaps_badly(target, weights.array)
    ):
        pruned = target
    else:
        pruned = np.empty(weights.shape, dtype=weights.info.numpy)
    _core.apply_mask(
        weights.array,
        weights.info.name,
        weights.rows,
        weights.columns,
        mask,
        pruned,
        threads,
    )
    if target is not None and pruned is not target:
        target[...] = pruned
    return pruned


def _overlaps_badly(target: Array, array: Array) -> bool:
    """Tell whether writing `target` would change weights not yet read: it is not `array` itself."""
    return (
        target is not array
        and np.may_share_memory(target, array)
        and target.ctypes.data != array.ctypes.data
    )
