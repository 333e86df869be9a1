"""Packed tensors: a mask and the values it keeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arrays import (
    Array,
    ArrayLike,
    Weights,
    as_array,
    checked_out,
    empty_aligned,
    frozen,
    lies_as_kernels_need,
    resolve_threads,
    rows_columns,
)
from ._dtypes import dtype_info
from ._masks import Mask, checked_bits, checked_shape, given_bits
from ._prepared import PreparedMatrix, check_matrix, checked_activations

if TYPE_CHECKING:
    import numpy.typing as npt


class PackedTensor:
    """A tensor stored as one bit for every element and the elements that are not zero.

    Made by `pack` and by `load_file`; the constructor is for parts that come from elsewhere, and
    checks that they fit together. The parts are not copied, and are read-only from here on.

    Parameters
    ----------
    shape : tuple of int
        The shape of the dense tensor. Its rows are the slices of the last axis.
    dtype : dtype
        float16, bfloat16, float32, float64, float8_e4m3fn, float8_e5m2, int8 or uint8.
    mask : ndarray of uint8, shape (rows, ceil(columns / 8))
        Bit j of byte b in a row is element 8 b + j of that row; 1 is kept. Padding bits are 0.
    values : ndarray, shape (kept,)
        The kept elements, row by row, of `dtype`.
    row_offsets : ndarray of int64, shape (rows + 1,), optional
        Where each row's values start, and their total; computed if not given.

    Raises
    ------
    TypeError
        If a part has the wrong dtype.
    ValueError
        If the parts do not fit together.

    Notes
    -----
    Takes ``b (1 - s) + 1`` bits a weight at sparsity s, for a dtype of b bits, and 8 bytes a row.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> p = pp.pack(np.array([[0, 7, 0, 0, 0, 0, 0, 56]], dtype=np.int8))
    >>> p
    PackedTensor(shape=(1, 8), dtype=int8, kept=2, sparsity=0.75, nbytes=19)
    >>> p.mask, p.values
    (array([[130]], dtype=uint8), array([ 7, 56], dtype=int8))
    """

    __slots__ = ("_dtype", "_mask", "_prepared", "_row_offsets", "_shape", "_values")
    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy leaves x @ packed to this class, which has none

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        mask: npt.NDArray[np.uint8],
        values: Array,
        row_offsets: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._shape = checked_shape(shape)
        self._dtype = dtype_info(np.dtype(dtype), "dtype").numpy
        self._mask = checked_bits(self._shape, mask, "mask")
        counted = _offsets(self._mask)
        if row_offsets is not None:
            _check_offsets(row_offsets, counted)
        self._row_offsets: npt.NDArray[np.int64] | None = frozen(counted)
        self._values = frozen(_checked_values(values, self._dtype, int(counted[-1])))
        self._prepared: dict[str, PreparedMatrix] = {}

    @classmethod
    def _of_parts(
        cls,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        mask: npt.NDArray[np.uint8],
        values: Array,
    ) -> PackedTensor:
        """Make one of parts that a kernel has just made, and that fit."""
        packed = cls.__new__(cls)
        packed._shape, packed._dtype = shape, dtype
        packed._mask, packed._values = frozen(mask), frozen(values)
        packed._row_offsets, packed._prepared = None, {}
        return packed

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the dense tensor."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self._dtype

    @property
    def mask(self) -> npt.NDArray[np.uint8]:
        """The packed mask, read-only: shape (rows, ceil(columns / 8))."""
        return self._mask

    @property
    def values(self) -> Array:
        """The kept elements, row by row, read-only: shape (kept,)."""
        return self._values

    @property
    def row_offsets(self) -> npt.NDArray[np.int64]:
        """Where each row's values start, and their total, read-only: shape (rows + 1,)."""
        if self._row_offsets is None:
            self._row_offsets = frozen(_offsets(self._mask))
        return self._row_offsets

    @property
    def size(self) -> int:
        """The number of elements of the dense tensor."""
        return math.prod(self._shape)

    @property
    def kept(self) -> int:
        """How many elements are stored."""
        return self._values.size

    @property
    def sparsity(self) -> float:
        """The part of the elements that is not stored; 0 if there are none."""
        return 1 - self.kept / self.size if self.size else 0.0

    @property
    def nbytes(self) -> int:
        """The bytes of the mask, the values and the row offsets."""
        offsets = 8 * (self._mask.shape[0] + 1)
        return int(self._mask.nbytes + self._values.nbytes + offsets)

    @property
    def bits_per_weight(self) -> float:
        """The bits stored for each element of the dense tensor; 0 if there are none."""
        return 8 * self.nbytes / self.size if self.size else 0.0

    def to_dense(self, out: ArrayLike | None = None, *, num_threads: int | None = None) -> Array:
        """Unpack, with +0.0 where nothing is stored.

        Parameters
        ----------
        out : array_like, optional
            Write here instead of a new array: same shape and dtype, writable. Reusing memory is much
            faster than asking the system for fresh pages.
        num_threads : int, optional
            Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the usable cores.

        Returns
        -------
        ndarray
            The dense tensor; `out`, if it was given.

        Examples
        --------
        >>> import numpy as np
        >>> import prunepack as pp
        >>> pp.pack(np.array([0.0, 2.5, -0.0])).to_dense()
        array([0. , 2.5, 0. ])
        """
        threads = resolve_threads(num_threads)
        target = None if out is None else checked_out(out, self._shape, self._dtype)
        in_place = (
            target is not None
            and lies_as_kernels_need(target)
            and not np.may_share_memory(target, self._values)
            and not np.may_share_memory(target, self._mask)
        )
        dense = (
            target if target is not None and in_place else empty_aligned(self._shape, self._dtype)
        )
        info = dtype_info(self._dtype, "dtype")
        rows, columns = rows_columns(self._shape)
        _core.unpack(
            self._mask,
            self._values,
            info.name,
            rows,
            columns,
            dense,
            threads,
        )
        if target is not None and not in_place:
            target[...] = dense
        return dense if out is None else out  # type: ignore[return-value]

    def prepare(
        self,
        layout: str | None = None,
        *,
        activations: str | None = None,
        num_threads: int | None = None,
    ) -> PreparedMatrix:
        """Put a matrix into the order in which the kernels of `linear` read it.

        Parameters
        ----------
        layout : {"dense", "bitmask", "nm", "blocks", "index", "csr"}, optional
            By default the one that is likely to be the fastest here, which can be "dense".
            "nm" is the smaller of "nm4" and "nm16", which can be asked for as well.
        activations : {"float32", "bfloat16", "int8"}, optional
            What x will be rounded to, which may make another layout the fastest; see `linear`.
        num_threads : int, optional
            Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the usable cores.

        Returns
        -------
        PreparedMatrix
            Without `layout` always the same one for the same `activations`: the tensor keeps it
            for `linear` and ``@``, the first of which makes it. It takes memory of its own, which
            `nbytes` of the tensor does not count, and keeps the mask and the values, from which
            products with many rows may be computed.

        Raises
        ------
        TypeError
            If the dtype is not float32, float16, bfloat16 or int8.
        ValueError
            If the tensor is not 2-D, or does not fit `layout`.

        Examples
        --------
        >>> import numpy as np
        >>> import prunepack as pp
        >>> pp.pack(np.eye(64, dtype=np.float32)).prepare("index").layout
        'index'
        """
        threads = resolve_threads(num_threads)
        check_matrix(self._shape, self._dtype)
        mode = checked_activations(activations, self._dtype)
        return self._ready(mode, threads) if layout is None else self._panels(layout, mode, threads)

    def _ready(self, mode: str, threads: int) -> PreparedMatrix:
        """Return the matrix in the layout of choice, which is made once."""
        found = self._prepared.get(mode)
        if found is not None:
            return found
        check_matrix(self._shape, self._dtype)
        # Two threads may both get here. A lock would be held in the child of a fork for ever.
        return self._prepared.setdefault(mode, self._panels(None, mode, threads))

    def _product_as_is(
        self, x: object, scales: object, bias: object, out: object, num_threads: object
    ) -> Array | None:
        """Return what `linear` does, if the matrix is ready and nothing must be converted."""
        found = self._prepared.get("float32")
        if found is None:
            return None
        return _core.linear_as_is(found._panels, x, scales, bias, out, num_threads)

    def _panels(self, layout: str | None, mode: str, threads: int) -> PreparedMatrix:
        return PreparedMatrix._of_parts(
            self._shape, self._dtype, self._mask, self._values, layout, mode, threads
        )

    def __matmul__(self, x: ArrayLike) -> Array:
        """Return the product with a vector, (inputs,), or with the columns of (inputs, batch)."""
        return self.prepare() @ x

    def to_mask(self) -> Mask:
        """Return the mask alone."""
        return Mask(self._shape, self._mask)

    def __eq__(self, other: object) -> bool:
        """Tell whether shape, dtype, mask and the bits of the values are the same."""
        if not isinstance(other, PackedTensor):
            return NotImplemented
        bits = dtype_info(self._dtype, "dtype").bits
        return (
            self._shape == other._shape
            and self._dtype == other._dtype
            and np.array_equal(self._mask, other._mask)
            and np.array_equal(self._values.view(bits), other._values.view(bits))
        )

    def __reduce__(self) -> tuple[type[PackedTensor], tuple[Any, ...]]:
        return PackedTensor, (self._shape, self._dtype, self._mask, self._values)

    def __repr__(self) -> str:
        return (
            f"PackedTensor(shape={self._shape}, dtype={self._dtype}, kept={self.kept}, "
            f"sparsity={self.sparsity:.3g}, nbytes={self.nbytes})"
        )


def pack(
    w: ArrayLike,
    mask: Mask | npt.NDArray[np.bool_] | None = None,
    *,
    num_threads: int | None = None,
) -> PackedTensor:
    """Pack a tensor into one bit for every element and its non-zero elements.

    Parameters
    ----------
    w : array_like
        The tensor, pruned or not: a NumPy array, or an object in CPU memory that shares it through
        DLPack (a torch tensor) or the buffer protocol. float16, bfloat16, float32, float64,
        float8_e4m3fn, float8_e5m2, int8 or uint8. Read in place; copied only if not C-contiguous.
    mask : Mask or ndarray of bool, optional
        Prune at the same time: elements it does not keep are left out, as if they were zero.
    num_threads : int, optional
        Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the usable cores.

    Returns
    -------
    PackedTensor
        Without a zero among its values: -0.0 counts as zero; NaN, infinities and subnormals are kept.

    Raises
    ------
    TypeError
        If `w` is no array of a dtype named above, or `mask` is no mask.
    ValueError
        If the shape of `mask` is not that of `w`.

    Notes
    -----
    Reads every element once. Smaller than the dense tensor if more than one bit in b is saved: at
    16 bits, above 6.25 % sparsity.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0.5, -3.0, 1.0, 2.0]], dtype=np.float32)
    >>> p = pp.pack(w, pp.prune_mask(w, pp.NM(2, 4)))
    >>> p.values
    array([-3.,  2.], dtype=float32)
    >>> p == pp.pack(pp.prune(w, pp.NM(2, 4)))
    True
    """
    weights = Weights.of(as_array(w, "w"), "w")
    # Room for everything costs nothing: pages that are never written are never there.
    values = np.empty(weights.array.size, dtype=weights.info.numpy)
    bits, kept = _write_parts(weights, mask, values, num_threads)
    values.resize(kept, refcheck=False)
    return PackedTensor._of_parts(weights.shape, weights.info.numpy, bits, values)


def pack_into(
    memory: memoryview,
    w: Array,
    mask: Mask | npt.NDArray[np.bool_] | None = None,
    *,
    num_threads: int | None = None,
) -> PackedTensor:
    """Pack a tensor as `pack` does, its values into memory that has room for all of them."""
    weights = Weights.of(w, "w")
    values = np.frombuffer(memory, weights.info.numpy)
    bits, kept = _write_parts(weights, mask, values, num_threads)
    return PackedTensor._of_parts(weights.shape, weights.info.numpy, bits, values[:kept])


def _write_parts(
    weights: Weights,
    mask: Mask | npt.NDArray[np.bool_] | None,
    values: Array,
    num_threads: int | None,
) -> tuple[npt.NDArray[np.uint8], int]:
    """Write the values; return the bits of the mask, and how many values there are."""
    given = None if mask is None else given_bits(mask, weights.shape)
    bits = weights.empty_mask()
    kept = _core.pack(
        weights.array,
        weights.info.name,
        weights.rows,
        weights.columns,
        given,
        bits,
        values,
        resolve_threads(num_threads),
    )
    return bits, kept


def _offsets(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(mask.shape[0] + 1, dtype=np.int64)
    np.cumsum(_core.count_rows(mask), out=offsets[1:])
    return offsets


def _check_offsets(given: npt.NDArray[np.int64], counted: npt.NDArray[np.int64]) -> None:
    if _dtype_name(given) != "int64":
        msg = f"row_offsets must be an array of int64, got {_dtype_name(given)}"
        raise TypeError(msg)
    if not np.array_equal(given, counted):
        msg = (
            "row_offsets must be where each row's values start, then their total, as the mask "
            f"counts them: {counted.size} numbers up to {counted[-1]}"
        )
        raise ValueError(msg)


def _checked_values(values: Array, dtype: np.dtype[Any], kept: int) -> Array:
    if _dtype_name(values) != dtype.name:
        msg = f"values must be an array of {dtype}, got {_dtype_name(values)}"
        raise TypeError(msg)
    if values.shape != (kept,):
        msg = f"values must have shape ({kept},), one for each 1 of the mask, got {values.shape}"
        raise ValueError(msg)
    return np.ascontiguousarray(values)


def _dtype_name(part: object) -> str:
    """Name the dtype of an array, or the type of what is none."""
    if not isinstance(part, np.ndarray):
        return type(part).__name__
    return part.dtype.name if part.dtype.isnative else str(part.dtype)
