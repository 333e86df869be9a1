"""Masks: which weights stay."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arrays import ArrayLike, Weights, as_array, frozen, resolve_threads
from ._patterns import Pattern, check_pattern

if TYPE_CHECKING:
    import numpy.typing as npt


class Mask:
    """Which weights of a tensor are kept, one bit each.

    Parameters
    ----------
    shape : tuple of int
        The shape of the weights.
    bits : ndarray of uint8, shape (rows, ceil(columns / 8))
        Bit j of byte b in a row is element 8 b + j of that row; 1 is kept. A row is a slice of the
        last axis, and its padding bits are 0. Not copied.

    Raises
    ------
    TypeError
        If `bits` is not uint8.
    ValueError
        If it has another shape, or a padding bit is set.

    See Also
    --------
    Mask.from_bool : Make one from a bool array.
    prune_mask : Make one from weights.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> mask = pp.Mask.from_bool(np.array([[True, False, True]]))
    >>> mask
    Mask(shape=(1, 3), kept=2, sparsity=0.333)
    >>> mask.bits
    array([[5]], dtype=uint8)
    """

    __slots__ = ("_bits", "_kept", "_shape")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: tuple[int, ...], bits: npt.NDArray[np.uint8]) -> None:
        self._shape = checked_shape(shape)
        self._bits = checked_bits(self._shape, bits, "bits")
        self._kept: int | None = None

    @classmethod
    def _of_parts(cls, shape: tuple[int, ...], bits: npt.NDArray[np.uint8]) -> Mask:
        """Make one of bits that a kernel has just made, and that fit."""
        mask = cls.__new__(cls)
        mask._shape, mask._bits, mask._kept = shape, frozen(bits), None
        return mask

    @classmethod
    def from_bool(cls, keep: ArrayLike) -> Mask:
        """Make a mask from a bool array, True where a weight is kept.

        Examples
        --------
        >>> import numpy as np
        >>> Mask.from_bool(np.array([True, False, False, True])).bits
        array([[9]], dtype=uint8)
        """
        array = bool_array(keep, "keep")
        rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1] if array.shape else 1)
        return cls(array.shape, np.packbits(rows, axis=1, bitorder="little"))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights."""
        return self._shape

    @property
    def bits(self) -> npt.NDArray[np.uint8]:
        """The packed bits, read-only: shape (rows, ceil(columns / 8))."""
        return self._bits

    @property
    def kept(self) -> int:
        """How many weights are kept."""
        if self._kept is None:
            # A file may claim any number of rows, if they are empty.
            self._kept = int(_core.count_rows(self._bits).sum()) if self._bits.size else 0
        return self._kept

    @property
    def sparsity(self) -> float:
        """The part of the weights that is pruned; 0 if there are none."""
        size = math.prod(self._shape)
        return 1 - self.kept / size if size else 0.0

    @property
    def nbytes(self) -> int:
        """The bytes the packed bits take."""
        return self._bits.nbytes

    def to_bool(self) -> npt.NDArray[np.bool_]:
        """Unpack to a bool array of the weights' shape, True where a weight is kept.

        Examples
        --------
        >>> import numpy as np
        >>> Mask((2, 2), np.array([[1], [2]], dtype=np.uint8)).to_bool()
        array([[ True, False],
               [False,  True]])
        """
        columns = self._shape[-1] if self._shape else 1
        if columns == 0:
            return np.empty(self._shape, dtype=np.bool_)
        unpacked = np.unpackbits(self._bits, axis=1, count=columns, bitorder="little")
        return unpacked.view(np.bool_).reshape(self._shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self._shape == other._shape and np.array_equal(self._bits, other._bits)

    def __reduce__(self) -> tuple[type[Mask], tuple[Any, ...]]:
        return Mask, (self._shape, self._bits)

    def __repr__(self) -> str:
        return f"Mask(shape={self._shape}, kept={self.kept}, sparsity={self.sparsity:.3g})"


def prune_mask(
    w: ArrayLike,
    pattern: Pattern,
    *,
    importance: ArrayLike | None = None,
    num_threads: int | None = None,
) -> Mask:
    """Decide which weights a pattern keeps.

    Parameters
    ----------
    w : array_like
        The weights: a NumPy array, or an object in CPU memory that shares it through DLPack (a torch
        tensor) or the buffer protocol. float16, bfloat16, float32, float64, float8_e4m3fn,
        float8_e5m2, int8 or uint8, of any shape. Read in place; copied only if not C-contiguous.
    pattern : Unstructured, Threshold, NM or Block
        The rule.
    importance : array_like, optional
        Rank by the magnitudes of this array, of the same shape, instead of the weights. Wanda's is
        ``abs(w) * norm(x)`` with ``Unstructured(s, scope="row")``.
    num_threads : int, optional
        Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the cores this process may use.
        The result is the same for any number.

    Returns
    -------
    Mask
        One bit a weight, 1 = kept.

    Raises
    ------
    TypeError
        If `w` or `importance` is no array of a dtype named above.
    ValueError
        If their shapes differ, or `pattern` does not fit the shape.

    Notes
    -----
    Reads every weight once, and writes one bit for it.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0.5, -3.0, 1.0, 2.0]], dtype=np.float32)
    >>> pp.prune_mask(w, pp.NM(2, 4)).to_bool()
    array([[False,  True, False,  True]])
    """
    check_pattern(pattern)
    array = as_array(w, "w")
    weights = Weights.of(array, "w")
    bits = mask_bits(weights, pattern, importance, resolve_threads(num_threads))
    return Mask._of_parts(array.shape, bits)


def mask_bits(
    weights: Weights, pattern: Pattern, importance: ArrayLike | None, threads: int
) -> npt.NDArray[np.uint8]:
    """Compute the packed bits of the mask."""
    ranked = weights
    if importance is not None:
        ranked = Weights.of(as_array(importance, "importance"), "importance")
        if ranked.shape != weights.shape:
            msg = f"importance must have the shape of w, {weights.shape}, got {ranked.shape}"
            raise ValueError(msg)
    mask = ranked.empty_mask()
    pattern._write_mask(ranked, mask, threads)
    return mask


def given_bits(mask: Mask | npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return the packed bits of a mask for weights of `shape`."""
    if not isinstance(mask, Mask):
        mask = Mask.from_bool(bool_array(mask, "mask"))
    if mask.shape != shape:
        msg = f"mask must have the shape of w, {shape}, got {mask.shape}"
        raise ValueError(msg)
    return mask.bits


def bool_array(keep: ArrayLike, argument: str) -> npt.NDArray[np.bool_]:
    """Check that `keep` is a bool array, and return it."""
    array = as_array(keep, argument)
    if array.dtype != np.bool_:
        msg = f"{argument} must be a Mask or a bool array, got {array.dtype}"
        raise TypeError(msg)
    return array


def checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Check that `shape` is one, and return it as a tuple of int."""
    try:
        extents = tuple(operator.index(extent) for extent in shape)
    except TypeError:
        msg = f"shape must be a tuple of int, got {shape!r}"
        raise TypeError(msg) from None
    if any(extent < 0 for extent in extents):
        msg = f"shape must not hold a negative number, got {extents}"
        raise ValueError(msg)
    return extents


def checked_bits(
    shape: tuple[int, ...], bits: npt.NDArray[np.uint8], argument: str
) -> npt.NDArray[np.uint8]:
    """Check that `bits` is the packed mask of a tensor of `shape`; return a read-only view."""
    if not isinstance(bits, np.ndarray) or bits.dtype != np.uint8:
        given = getattr(bits, "dtype", type(bits).__name__)
        msg = f"{argument} must be an array of uint8, got {given}"
        raise TypeError(msg)
    columns = shape[-1] if shape else 1
    wanted = (math.prod(shape[:-1]), (columns + 7) // 8)
    if bits.shape != wanted:
        msg = f"{argument} must have shape {wanted} for weights of shape {shape}, got {bits.shape}"
        raise ValueError(msg)
    if columns % 8 and (bits[:, -1] >> columns % 8).any():
        row = int(np.flatnonzero(bits[:, -1] >> columns % 8)[0])
        msg = f"{argument} must have 0 in the padding bits of every row, got a 1 in row {row}"
        raise ValueError(msg)
    return frozen(np.ascontiguousarray(bits))
