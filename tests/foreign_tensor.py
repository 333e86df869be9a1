"""A tensor of another library, down to the bytes of the DLPack protocol (dlpack.h, version 1).

NumPy lends neither bfloat16 nor float8, which is what a torch tensor of weights holds.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy.typing as npt

CODES = {"bfloat16": (4, 16), "float8_e4m3fn": (10, 8), "float8_e5m2": (12, 8)}
READ_ONLY = 1


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class ForeignTensor:
    """Lends the memory of an array under any type code, and counts what is not given back."""

    lent: ClassVar[int] = 0
    _alive: ClassVar[dict[int, Any]] = {}  # what the consumer may still look at, by address

    def __init__(
        self,
        array: npt.NDArray[Any],
        code: tuple[int, int],
        *,
        lanes: int = 1,
        offset: int = 0,
        versioned: bool = False,
        nowhere: bool = False,
    ) -> None:
        self._array = array
        self._code = code
        self._lanes = lanes
        self._offset = offset
        self._versioned = versioned
        self._nowhere = nowhere

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, *, max_version: tuple[int, int] | None = None) -> Any:
        managed = _ManagedVersioned() if self._versioned and max_version else _Managed()
        array = self._array
        sides = (ctypes.c_int64 * array.ndim)(*array.shape)
        steps = [stride // array.itemsize for stride in array.strides]
        strides = (ctypes.c_int64 * array.ndim)(*steps)
        managed.tensor = _Tensor(
            None if self._nowhere else array.ctypes.data - self._offset,
            1,
            0,
            array.ndim,
            *self._code,
            self._lanes,
            sides,
            None if array.flags.c_contiguous else strides,
            self._offset,
        )
        managed.deleter = _Deleter(_give_back)
        name = b"dltensor"
        if isinstance(managed, _ManagedVersioned):
            managed.major = 1
            managed.flags = 0 if array.flags.writeable else READ_ONLY
            name = b"dltensor_versioned"
        address = ctypes.addressof(managed)
        type(self)._alive[address] = (managed, sides, strides, array, name)
        type(self).lent += 1
        return _new_capsule(address, name, None)


def _give_back(address: int) -> None:
    # Kept a little longer: this very function belongs to what is given back.
    ForeignTensor._alive[-address] = ForeignTensor._alive.pop(address)
    ForeignTensor.lent -= 1
