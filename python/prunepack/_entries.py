"""What the file formats share: dtype codes, tensors' entries, the plan of a file to be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ._strict_json import INTEGER_LIMIT, is_unicode, shown

# The codes with a NumPy type, in the order in which the safetensors library lays tensors out:
# falling alignment, and one order among those aligned alike.
NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F64": np.dtype(np.float64),
    "C64": np.dtype(np.complex64),
    "F32": np.dtype(np.float32),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
CODES = {dtype: code for code, dtype in NUMPY_DTYPES.items()}


@dataclass(frozen=True, eq=False)
class RawTensor:
    """A tensor of a dtype prunepack does not know (such as ``F4``), passed through untouched.

    Attributes
    ----------
    dtype : str
        The code in the file.
    shape : tuple of int
        What the file says; how it relates to the bytes only the dtype's maker knows.
    data : ndarray of uint8, 1-D
        The bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray[Any, np.dtype[np.uint8]]

    @property
    def nbytes(self) -> int:
        """The bytes of `data`."""
        return self.data.nbytes


class Entry(NamedTuple):
    """What a header says of one tensor.

    For a writer with ``at_most=True`` the leading dimension is a limit: the tensor may be
    shorter when it is written.
    """

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    at_most: bool = False

    @classmethod
    def of(cls, tensor: np.ndarray[Any, Any] | RawTensor, name: str = "tensor") -> Entry:
        """Describe a tensor in memory; `name` is what a TypeError for its dtype begins with."""
        if isinstance(tensor, RawTensor):
            return cls(tensor.dtype, tensor.shape, tensor.nbytes)
        return cls(code_of(tensor.dtype, name), tensor.shape, tensor.nbytes)

    def shortens(self, planned: Entry) -> bool:
        """Tell whether this is `planned`, shorter along a leading dimension left open."""
        return (
            planned.at_most
            and len(self.shape) == len(planned.shape)
            and self.shape[0] <= planned.shape[0]
            and self.shape[1:] == planned.shape[1:]
        )


def code_of(dtype: np.dtype[Any], name: str) -> str:
    """Return the safetensors code of a NumPy dtype."""
    code = CODES.get(dtype)
    if code is None:
        names = ", ".join(known.name for known in CODES)
        msg = f"{name} must have a dtype a file can hold ({names}), got {dtype}"
        raise TypeError(msg)
    return code


def checked_nbytes(shape: tuple[int, ...], itemsize: int) -> int | None:
    """Return the bytes of a dense tensor, or None where an array of that shape cannot be.

    A dimension of zero does not excuse the others: NumPy multiplies them all the same. The loop
    stops at the first product out of range, so a long shape costs no long arithmetic.
    """
    extent = itemsize
    for dimension in shape:
        extent *= dimension or 1
        if extent > INTEGER_LIMIT:
            return None
    return 0 if 0 in shape else extent


class Plan:
    """What is to be written to a file, and what has been: every tensor once and as announced."""

    def __init__(self, entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> None:
        for key, value in metadata.items():
            if not (isinstance(key, str) and isinstance(value, str)):
                msg = f"metadata must map strings to strings, got {shown(key)}: {shown(value)}"
                raise TypeError(msg)
        for text in (*entries, *metadata, *metadata.values()):
            if not is_unicode(text):
                msg = (
                    f"names and metadata must be Unicode, {shown(text)} holds half a surrogate pair"
                )
                raise ValueError(msg)
        self.entries = dict(entries)
        self._written: set[str] = set()

    def accept(self, name: str, tensor: np.ndarray[Any, Any] | RawTensor) -> Entry:
        """Return the final entry of a tensor about to be written, if it is as planned."""
        planned = self.entries.get(name)
        if planned is None:
            msg = f"tensor must be one of those planned, got {shown(name)}"
            raise ValueError(msg)
        if name in self._written:
            msg = f"tensor {shown(name)} must be written once, this is the second time"
            raise ValueError(msg)
        actual = Entry.of(tensor, f"tensor {shown(name)}")
        if actual.dtype != planned.dtype:
            msg = (
                f"tensor {shown(name)} must have dtype {planned.dtype} as planned,"
                f" got {actual.dtype}"
            )
            raise TypeError(msg)
        if actual != planned and not actual.shortens(planned):
            limit = "at most " if planned.at_most else ""
            msg = (
                f"tensor {shown(name)} must have shape {limit}{planned.shape} as planned,"
                f" got {actual.shape} of {actual.nbytes} bytes"
            )
            raise ValueError(msg)
        self.entries[name] = actual
        self._written.add(name)
        return actual

    def check_complete(self) -> None:
        """Raise a ValueError unless every tensor has been written."""
        for name in self.entries:
            if name not in self._written:
                msg = f"every planned tensor must be written, {shown(name)} was not"
                raise ValueError(msg)
