"""Matrices made ready for computing, and products with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import ml_dtypes
import numpy as np

from . import _core
from ._arrays import (
    Array,
    ArrayLike,
    as_array,
    checked_out,
    contiguous,
    lies_as_kernels_need,
    resolve_threads,
)
from ._dtypes import dtype_info

if TYPE_CHECKING:
    import numpy.typing as npt

FLOAT32 = np.dtype(np.float32)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
# What x may be, with the kernels' word for it.
X_DTYPES = {FLOAT32: "float32", np.dtype(np.float16): "float16", BFLOAT16: "bfloat16"}
WEIGHT_DTYPES = (*X_DTYPES, np.dtype(np.int8))
LAYOUTS = ("dense", "bitmask", "nm4", "nm16", "blocks", "index", "csr")

# What x may be rounded to, and the weights it goes with.
ACTIVATIONS = {
    "float32": WEIGHT_DTYPES,
    "bfloat16": (BFLOAT16,),
    "int8": (np.dtype(np.int8),),
}


class PreparedMatrix:
    """A packed matrix in the order in which the kernels read it.

    Made by `PackedTensor.prepare`; taken by `linear` in the place of the packed tensor. Made for
    the CPU at hand, so it is neither stored nor pickled.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = pp.prune(np.arange(1, 4097, dtype=np.float32).reshape(64, 64), pp.NM(3, 4))
    >>> pp.pack(w).prepare("nm")
    PreparedMatrix(shape=(64, 64), dtype=float32, layout=nm4 (3:4), nbytes=4352)
    """

    __slots__ = ("_dtype", "_panels", "_shape")
    __array_ufunc__ = None  # NumPy leaves x @ matrix to this class, which has none

    _shape: tuple[int, ...]
    _dtype: np.dtype[Any]
    _panels: _core.Prepared

    def __init__(self) -> None:
        msg = "a PreparedMatrix is made by PackedTensor.prepare()"
        raise TypeError(msg)

    @classmethod
    def _of_parts(
        cls,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        mask: npt.NDArray[np.uint8],
        values: Array,
        layout: str | None,
        activations: str,
        threads: int,
    ) -> PreparedMatrix:
        """Prepare the matrix of these parts, which fit."""
        _check_layout(layout)
        info = dtype_info(dtype, "dtype")

        rows, columns = shape

        def panels(layout: str | None) -> _core.Prepared:
            return _core.prepare(
                mask,
                values,
                info.name,
                rows,
                columns,
                layout,
                activations,
                threads,
            )

        made = cls.__new__(cls)
        made._shape, made._dtype = shape, dtype
        if layout == "nm":
            made._panels = min(panels("nm4"), panels("nm16"), key=lambda found: found.nbytes)
        else:
            made._panels = panels(layout)
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the matrix: outputs, inputs."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the weights."""
        return self._dtype

    @property
    def layout(self) -> str:
        """The layout in use: dense, bitmask, nm4, nm16, blocks, index or csr."""
        return self._panels.layout

    @property
    def nbytes(self) -> int:
        """The bytes that this form of the matrix takes."""
        return self._panels.nbytes

    def __matmul__(self, x: ArrayLike) -> Array:
        """Return the product of the matrix and a vector, or the columns of a matrix."""
        array = as_array(x, "x")
        if array.ndim not in (1, 2):
            msg = f"x must be a vector or a matrix for @, got shape {array.shape}; see linear"
            raise ValueError(msg)
        mode = checked_activations(default_activations(None, array.dtype, self._dtype), self._dtype)
        return multiply(array.T, self, None, None, mode, None, resolve_threads(None)).T

    def _multiply(
        self,
        x: Array,
        x_dtype: str,
        y: npt.NDArray[np.float32],
        bias: npt.NDArray[np.float32] | None,
        scales: npt.NDArray[np.float32] | None,
        activations: str,
        threads: int,
        *,
        openmp: bool = False,
    ) -> None:
        """Write into `y` what `linear` returns, for arguments that were checked.

        With `openmp` the threads are those of the OpenMP runtime that some other library has
        brought, if there is one.
        """
        _core.linear(self._panels, x, x_dtype, activations, scales, bias, y, threads, openmp)

    def _product_as_is(
        self, x: object, scales: object, bias: object, out: object, num_threads: object
    ) -> Array | None:
        """Return what `linear` does, if no argument has to be converted; else None."""
        return _core.linear_as_is(self._panels, x, scales, bias, out, num_threads)

    def __reduce__(self) -> NoReturn:
        msg = (
            "a PreparedMatrix cannot be pickled, because it is made for the CPU at hand; "
            "pickle the PackedTensor"
        )
        raise TypeError(msg)

    def __repr__(self) -> str:
        panels = self._panels
        details = {
            "nm4": f" ({4 - panels.kept}:4)",
            "nm16": f" ({16 - panels.kept}:16)",
            "blocks": f" ({16 // panels.breadth}x{panels.breadth})" if panels.breadth else "",
        }
        layout = panels.layout + details.get(panels.layout, "")
        return (
            f"PreparedMatrix(shape={self._shape}, dtype={self._dtype}, layout={layout}, "
            f"nbytes={self.nbytes})"
        )


def multiply(
    array: Array,
    matrix: PreparedMatrix,
    bias: ArrayLike | None,
    scales: ArrayLike | None,
    mode: str,
    out: ArrayLike | None,
    threads: int,
) -> Array:
    """Carry out `linear` with a matrix that is ready, and activations that go with it."""
    outputs, inputs = matrix._shape
    dtype = array.dtype
    _check_x(array, inputs)
    shape = (*array.shape[:-1], outputs)
    target = None if out is None else checked_out(out, shape, dtype)
    checked_scales = None if scales is None else channel_vector(scales, outputs, "scales")
    checked_bias = None if bias is None else channel_vector(bias, outputs, "bias")
    in_place = (
        target is not None
        and dtype == FLOAT32
        and lies_as_kernels_need(target)
        and not _shares(target, checked_scales)
        and not _shares(target, checked_bias)
    )
    y = target if target is not None and in_place else np.empty(shape, FLOAT32)
    x = contiguous(array)
    if len(shape) != 2:
        batch = array.size // inputs if inputs else math.prod(shape[:-1])
        x, rows = x.reshape(batch, inputs), y.reshape(batch, outputs)
    else:
        rows = y
    matrix._multiply(x, X_DTYPES[dtype], rows, checked_bias, checked_scales, mode, threads)
    if target is not None:
        if not in_place:
            target[...] = _rounded(y, dtype)
        return out  # type: ignore[return-value]
    return y if dtype == FLOAT32 else _rounded(y, dtype)


def _rounded(y: Array, dtype: np.dtype[Any]) -> Array:
    if dtype == FLOAT32:
        return y
    with np.errstate(over="ignore"):  # infinity is what float16 has for it
        return y.astype(dtype)


def _check_x(array: Array, inputs: int) -> None:
    if array.dtype not in X_DTYPES:
        msg = (
            f"x must be float32, float16 or bfloat16, got {array.dtype}; "
            "convert it with x.astype(np.float32)"
        )
        raise TypeError(msg)
    if array.ndim == 0 or array.shape[-1] != inputs:
        msg = f"x must have the {inputs} inputs of the matrix on its last axis, got {array.shape}"
        raise ValueError(msg)


def default_activations(
    activations: str | None, x: np.dtype[Any], weights: np.dtype[Any]
) -> str | None:
    """Leave bfloat16 beside bfloat16 as it is: what loses nothing and may be faster."""
    return "bfloat16" if activations is None and x == weights == BFLOAT16 else activations


def checked_activations(activations: str | None, dtype: np.dtype[Any]) -> str:
    """Return what x is rounded to, after checking that weights of `dtype` go with it."""
    name = "float32" if activations is None else activations
    if not isinstance(name, str) or name not in ACTIVATIONS:
        msg = f"activations must be {', '.join(ACTIVATIONS)} or None, got {activations!r}"
        raise ValueError(msg)
    if dtype not in ACTIVATIONS[name]:
        _check_dtype(dtype)
        msg = f"activations of {name} must go with weights of {name}, got weights of {dtype}"
        raise TypeError(msg)
    return name


def channel_vector(source: ArrayLike, outputs: int, argument: str) -> Array:
    """View one number for each output channel as float32; other floats are converted."""
    array = as_array(source, argument)
    if array.dtype not in X_DTYPES:
        msg = f"{argument} must be float32, float16 or bfloat16, got {array.dtype}"
        raise TypeError(msg)
    if array.shape != (outputs,):
        msg = f"{argument} must have shape ({outputs},), one for each output, got {array.shape}"
        raise ValueError(msg)
    return contiguous(array.astype(FLOAT32, copy=False))


def _shares(target: Array, other: Array | None) -> bool:
    return other is not None and np.may_share_memory(target, other)


def check_matrix(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Check that weights of this shape and dtype can be computed with."""
    _check_dtype(dtype)
    if len(shape) != 2:
        msg = f"weights to compute with must be 2-D (outputs, inputs), got shape {shape}"
        raise ValueError(msg)


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype not in WEIGHT_DTYPES:
        names = ", ".join(known.name for known in WEIGHT_DTYPES)
        msg = f"weights to compute with must be one of {names}, got {dtype}"
        raise TypeError(msg)


def _check_layout(layout: str | None) -> None:
    names = (*LAYOUTS, "nm")
    if layout is not None and layout not in names:
        msg = f"layout must be one of {', '.join(names)} or None, got {layout!r}"
        raise ValueError(msg)
