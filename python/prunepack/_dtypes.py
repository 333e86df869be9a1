"""The element types prunepack prunes and packs: one table, from NumPy to the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from . import _core


@dataclass(frozen=True)
class DtypeInfo:
    """One prunable element type."""

    numpy: np.dtype[Any]
    safetensors: str
    kernel: _core.Dtype

    @property
    def name(self) -> str:
        """NumPy's name of the type, such as ``"bfloat16"``."""
        return self.numpy.name

    @property
    def bits(self) -> np.dtype[Any]:
        """The unsigned integer type of the same width, in which weights reach the kernels."""
        return np.dtype(f"u{self.numpy.itemsize}")


DTYPES = {
    info.numpy: info
    for info in (
        DtypeInfo(np.dtype(ml_dtypes.float8_e4m3fn), "F8_E4M3", _core.Dtype.float8_e4m3fn),
        DtypeInfo(np.dtype(ml_dtypes.float8_e5m2), "F8_E5M2", _core.Dtype.float8_e5m2),
        DtypeInfo(np.dtype(np.int8), "I8", _core.Dtype.int8),
        DtypeInfo(np.dtype(np.uint8), "U8", _core.Dtype.uint8),
        DtypeInfo(np.dtype(np.float16), "F16", _core.Dtype.float16),
        DtypeInfo(np.dtype(ml_dtypes.bfloat16), "BF16", _core.Dtype.bfloat16),
        DtypeInfo(np.dtype(np.float32), "F32", _core.Dtype.float32),
        DtypeInfo(np.dtype(np.float64), "F64", _core.Dtype.float64),
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
