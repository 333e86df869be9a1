"""The element types prunepack prunes and packs: one table, from NumPy to the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class DtypeInfo:
    """One prunable element type.

    Attributes
    ----------
    numpy : dtype
        The type.
    name : str
        What NumPy and the kernels call it; NumPy makes it up anew each time it is asked.
    safetensors : str
        Its code in files.
    """

    numpy: np.dtype[Any]
    name: str
    safetensors: str

    @property
    def bits(self) -> np.dtype[Any]:
        """The unsigned integer type of the same width, in which weights reach the kernels."""
        return np.dtype(f"u{self.numpy.itemsize}")


DTYPES = {
    info.numpy: info
    for info in (
        DtypeInfo(np.dtype(ml_dtypes.float8_e4m3fn), "float8_e4m3fn", "F8_E4M3"),
        DtypeInfo(np.dtype(ml_dtypes.float8_e5m2), "float8_e5m2", "F8_E5M2"),
        DtypeInfo(np.dtype(np.int8), "int8", "I8"),
        DtypeInfo(np.dtype(np.uint8), "uint8", "U8"),
        DtypeInfo(np.dtype(np.float16), "float16", "F16"),
        DtypeInfo(np.dtype(ml_dtypes.bfloat16), "bfloat16", "BF16"),
        DtypeInfo(np.dtype(np.float32), "float32", "F32"),
        DtypeInfo(np.dtype(np.float64), "float64", "F64"),
    )
}


def is_prunable(dtype: np.dtype[Any]) -> bool:
    """Tell whether the kernels can rank and pack elements of `dtype`."""
    return dtype in DTYPES


def dtype_info(dtype: np.dtype[Any], argument: str) -> DtypeInfo:
    """Look `dtype` up, or raise a TypeError that names the argument it came from."""
    info = DTYPES.get(dtype)
    if info is None:
        names = ", ".join(known.name for known in DTYPES)
        msg = f"{argument} must have one of the dtypes {names}, got {dtype}"
        if dtype.byteorder == ">" or not dtype.isnative:
            msg += f"; convert it with {argument}.astype({argument}.dtype.newbyteorder('='))"
        raise TypeError(msg)
    return info
