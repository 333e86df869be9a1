"""From what a caller has to what the kernels take: arrays, without a copy where that can be."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import ml_dtypes
import numpy as np
import numpy.typing as npt

from . import _core
from ._dtypes import DtypeInfo, dtype_info

Array: TypeAlias = npt.NDArray[Any]


@runtime_checkable
class SupportsDlpack(Protocol):
    """An object that shares its memory through DLPack: a torch tensor, a JAX array."""

    def __dlpack__(self, **kwargs: Any) -> object: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


ArrayLike: TypeAlias = "Array | SupportsDlpack | memoryview | bytearray | bytes"

_CACHE_LINE = 64
_LARGE = 1 << 20
_DLPACK_CPU = 1
# The codes of dlpack.h that NumPy has no dtype for.
_DLPACK_DTYPES = {
    (4, 2): np.dtype(ml_dtypes.bfloat16),
    (10, 1): np.dtype(ml_dtypes.float8_e4m3fn),
    (12, 1): np.dtype(ml_dtypes.float8_e5m2),
}


def as_array(source: ArrayLike, argument: str) -> Array:
    """View `source` as a NumPy array, without a copy."""
    if type(source) is np.ndarray:
        return source
    if isinstance(source, np.ma.MaskedArray):
        msg = f"{argument} must not be a masked array; fill it first, with {argument}.filled()"
        raise TypeError(msg)
    if isinstance(source, np.ndarray):
        return np.asarray(source)
    if isinstance(source, np.generic):
        return np.asarray(source)
    if isinstance(source, SupportsDlpack):
        return _from_dlpack(source, argument)
    try:
        view = memoryview(source)
    except TypeError:
        msg = (
            f"{argument} must be a NumPy array, or share its memory through DLPack or the buffer "
            f"protocol, got {type(source).__name__}; wrap it in np.asarray"
        )
        raise TypeError(msg) from None
    return np.asarray(view)


def _from_dlpack(source: SupportsDlpack, argument: str) -> Array:
    device = source.__dlpack_device__()
    if not (isinstance(device, tuple) and len(device) == 2):
        msg = f"{argument} must have a DLPack device of type and id, got {device!r}"
        raise TypeError(msg)
    if device[0] != _DLPACK_CPU:
        msg = f"{argument} must be in CPU memory, got DLPack device {tuple(device)}; copy it first"
        raise ValueError(msg)
    try:
        capsule = _capsule(source)
    except (BufferError, RuntimeError) as error:
        msg = f"{argument} cannot be shared through DLPack: {error}"
        raise ValueError(msg) from error
    try:
        array, code = _core.from_dlpack(capsule)
    except (TypeError, ValueError) as error:
        msg = f"{argument} cannot be shared through DLPack: {error}"
        raise type(error)(msg) from None
    dtype = _DLPACK_DTYPES.get((code, array.dtype.itemsize))
    return array if dtype is None else array.view(dtype)


def _capsule(source: SupportsDlpack) -> object:
    try:
        return source.__dlpack__(max_version=(1, 1))
    except TypeError:  # a producer older than DLPack 1.0
        return source.__dlpack__()


def lies_as_kernels_need(array: Array) -> bool:
    """Tell whether the kernels can read and write `array` where it is."""
    flags = array.flags
    return flags.c_contiguous and flags.aligned


def contiguous(array: Array) -> Array:
    """Return `array` itself if the kernels can read it where it lies, else a copy."""
    if lies_as_kernels_need(array):
        return array
    return array.copy(order="C")


def rows_columns(shape: tuple[int, ...]) -> tuple[int, int]:
    """Count the slices of the last axis, and their elements; (1, 1) for rank 0."""
    return math.prod(shape[:-1]), shape[-1] if shape else 1


class Weights(NamedTuple):
    """A tensor as the kernels see it: a contiguous array, and what its bits mean.

    Its rows are the slices of the last axis; rank 0 is one row of one column.
    """

    array: Array
    info: DtypeInfo
    shape: tuple[int, ...]
    rows: int
    columns: int

    @classmethod
    def of(cls, array: Array, argument: str) -> Weights:
        """Check the dtype of `array`; copy it only if it is not contiguous."""
        info = dtype_info(array.dtype, argument)
        return cls(contiguous(array), info, array.shape, *rows_columns(array.shape))

    def empty_mask(self) -> npt.NDArray[np.uint8]:
        """Make room for a mask: each row starts on a byte."""
        return np.empty((self.rows, (self.columns + 7) // 8), dtype=np.uint8)


def frozen(array: Array) -> Array:
    """Return a read-only view."""
    view = array.view()
    view.flags.writeable = False
    return view


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Make room for a result, at the address that lets a large one be written past the caches."""
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE:
        return np.empty(shape, dtype)
    room = np.empty(size + _CACHE_LINE, dtype=np.uint8)
    first = -room.ctypes.data % _CACHE_LINE
    return room[first : first + size].view(dtype).reshape(shape)


def checked_out(out: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """View `out` as an array, and check that a result of `shape` and `dtype` can be put there."""
    array = as_array(out, "out")
    if array.shape != shape or array.dtype != dtype:
        msg = f"out must have shape {shape} and dtype {dtype}, got {array.shape} and {array.dtype}"
        raise ValueError(msg) if array.dtype == dtype else TypeError(msg)
    if not array.flags.writeable:
        msg = "out must be writable, got a read-only array; pass a copy"
        raise ValueError(msg)
    return array


def resolve_threads(num_threads: int | None) -> int:
    """Check `num_threads`; None stands for the default."""
    if num_threads is None:
        return _core.default_threads()
    if isinstance(num_threads, bool) or not isinstance(num_threads, (int, np.integer)):
        msg = f"num_threads must be an int or None, got {type(num_threads).__name__}"
        raise TypeError(msg)
    if not 1 <= num_threads <= 1024:
        msg = f"num_threads must be from 1 to 1024, got {num_threads}"
        raise ValueError(msg)
    return int(num_threads)
