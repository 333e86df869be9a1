"""What a file says of a tensor, or is to say of one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from ._entries import NUMPY_DTYPES, Entry, RawTensor, code_of
from ._packed import PackedTensor
from ._sparse_24 import planned_parts_24
from ._sparse_bitmask import Origin, planned_parts
from ._storage import PACKED, Storage

if TYPE_CHECKING:
    import numpy as np

Tensor: TypeAlias = "np.ndarray[Any, Any] | PackedTensor | RawTensor"


@dataclass(frozen=True)
class TensorInfo:
    """What a file says of a tensor, and the plan of a tensor to be written.

    Attributes
    ----------
    dtype : str
        The safetensors code, such as ``"BF16"``; it may be one prunepack does not know.
    shape : tuple of int
        The dense shape, also of a packed tensor.
    packed : bool
        Whether it is stored as a bit mask and values.
    kept : int or None
        Packed: how many values there are. In a plan None leaves that open.
    most_kept : int or None
        In a plan that leaves `kept` open: how many there are at most, if less than all.
    pattern : str or None
        Packed: the pattern it was pruned with, if the file says.
    raw_nbytes : int or None
        The bytes of a tensor whose dtype is unknown.
    """

    dtype: str
    shape: tuple[int, ...]
    packed: bool = False
    kept: int | None = None
    pattern: str | None = None
    raw_nbytes: int | None = None
    most_kept: int | None = None

    @classmethod
    def of(cls, tensor: Tensor, name: str = "tensor") -> TensorInfo:
        """Describe a tensor in memory; `name` is what a TypeError for its dtype begins with."""
        if isinstance(tensor, PackedTensor):
            return cls(code_of(tensor.dtype, name), tensor.shape, packed=True, kept=tensor.kept)
        return cls.of_entry(Entry.of(tensor, name))

    @classmethod
    def of_entry(cls, entry: Entry) -> TensorInfo:
        """Describe a dense tensor in a file."""
        raw_nbytes = None if entry.dtype in NUMPY_DTYPES else entry.nbytes
        return cls(entry.dtype, entry.shape, raw_nbytes=raw_nbytes)

    @property
    def numpy(self) -> np.dtype[Any] | None:
        """The NumPy dtype, or None for a code prunepack does not know."""
        return NUMPY_DTYPES.get(self.dtype)

    @property
    def nbytes(self) -> int:
        """The bytes of all its parts in a file of prunepack's own, at most if `kept` is open."""
        return self.nbytes_in(PACKED)

    def nbytes_in(self, storage: Storage) -> int:
        """Return the bytes of all its parts in a file, at most if `kept` is open."""
        return sum(entry.nbytes for entry in self.entries("", Origin(""), storage).values())

    @property
    def dense_nbytes(self) -> int:
        """The bytes as a dense tensor."""
        if self.raw_nbytes is not None:
            return self.raw_nbytes
        if self.dtype not in NUMPY_DTYPES:
            msg = f"raw_nbytes must be given for dtype {self.dtype}, which prunepack does not know"
            raise ValueError(msg)
        return math.prod(self.shape) * NUMPY_DTYPES[self.dtype].itemsize

    def entries(self, name: str, origin: Origin, storage: Storage = PACKED) -> dict[str, Entry]:
        """Return what is stored for a tensor of this kind: one plain tensor, or the parts."""
        if self.packed and storage.is_24:
            itemsize = NUMPY_DTYPES[self.dtype].itemsize
            return planned_parts_24(origin, self.dtype, self.shape, itemsize)
        if self.packed:
            most = self.kept if self.kept is not None else self.most_kept
            open_ended = self.kept is None
            return planned_parts(origin, self.dtype, self.shape, most, at_most=open_ended)
        return {name: Entry(self.dtype, self.shape, self.dense_nbytes)}
