"""Writes files of packed and dense tensors, tensor by tensor."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from ._atomic import Opener, replacing
from ._formats import format_of
from ._packed import PackedTensor
from ._safetensors_writer import rank
from ._sparse_24 import stored_parts_24
from ._sparse_bitmask import METADATA_KEY, Origin, describe, look_packed, stored_parts
from ._storage import PACKED, Storage
from ._strict_json import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from ._entries import Entry, RawTensor
    from ._formats import StoreWriter
    from ._tensor_info import Tensor, TensorInfo


@contextlib.contextmanager
def create_file(
    path: str | os.PathLike[str],
    tensors: Mapping[str, TensorInfo],
    *,
    metadata: Mapping[str, str] | None = None,
    storage: Storage = PACKED,
    describe_packed: bool | None = None,
    opened: Opener = replacing,
) -> Iterator[TensorFileWriter]:
    """Write a file tensor by tensor; it takes the place of `path` when the block ends well.

    Parameters
    ----------
    path : str or os.PathLike
        The suffix says which format it gets. It may be the file the tensors are being read from.
    tensors : mapping of str to TensorInfo
        Every tensor that will be written, in any order.
    metadata : mapping of str to str, optional
        Strings to keep in the file. prunepack's own key is written anew.
    storage : Storage
        How packed tensors are stored.
    describe_packed : bool, optional
        Whether the metadata names the packed tensors. By default it does where there are any, or
        plain tensors would be taken for them, and the format is prunepack's own.
    opened : Opener
        How the file is opened.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> from prunepack._file_reader import open_file
    >>> from prunepack._tensor_info import TensorInfo
    >>> w = np.array([[0, 1.5, 0, 0]], np.float32)
    >>> plan = {"fc.weight": TensorInfo("F32", (1, 4), packed=True)}
    >>> with create_file("model.safetensors", plan) as file:
    ...     file.write("fc.weight", pp.pack(w))
    >>> with open_file("model.safetensors") as file:
    ...     file.info("fc.weight").kept
    1
    """
    origins, entries, kept_metadata = _prepared(tensors, metadata, storage, describe_packed)
    with format_of(path).write(os.fspath(path), entries, kept_metadata, opened) as writer:
        yield TensorFileWriter(writer, tensors, origins, storage)


def header_nbytes(
    path: str | os.PathLike[str],
    tensors: Mapping[str, TensorInfo],
    *,
    metadata: Mapping[str, str] | None = None,
    storage: Storage = PACKED,
    describe_packed: bool | None = None,
) -> int:
    """Return the bytes of a file to be that are not its tensors'; of .npz and .npy at most."""
    _, entries, kept_metadata = _prepared(tensors, metadata, storage, describe_packed)
    return format_of(path).header_nbytes(entries, kept_metadata)


def stored_names(tensors: Mapping[str, TensorInfo], storage: Storage) -> Iterator[str]:
    """Yield the names under which the parts of tensors will be stored."""
    for name, info in tensors.items():
        yield from info.entries(name, Origin(storage.prefix_of(name)), storage)


def _prepared(
    tensors: Mapping[str, TensorInfo],
    metadata: Mapping[str, str] | None,
    storage: Storage,
    describe_packed: bool | None,
) -> tuple[dict[str, Origin], dict[str, Entry], dict[str, str]]:
    """Return where the parts of packed tensors go, all plain tensors, and the metadata of a file."""
    origins = {
        name: Origin(storage.prefix_of(name), info.pattern)
        for name, info in tensors.items()
        if info.packed
    }
    _check_can_be_packed(tensors, storage)
    entries = _stored_entries(tensors, origins, storage)
    kept_metadata = {key: text for key, text in (metadata or {}).items() if key != METADATA_KEY}
    if describe_packed is None:
        describe_packed = bool(origins) or look_packed(entries)
    if describe_packed and not storage.is_foreign:
        kept_metadata[METADATA_KEY] = describe(origins)
    return origins, entries, kept_metadata


class TensorFileWriter:
    """What `create_file` hands to its block."""

    def __init__(
        self,
        writer: StoreWriter,
        tensors: Mapping[str, TensorInfo],
        origins: Mapping[str, Origin],
        storage: Storage,
    ) -> None:
        self._writer = writer
        self._tensors = tensors
        self._origins = origins
        self._storage = storage
        self.stored: dict[str, int] = {}
        """The bytes of each plain tensor written so far, by the name it is stored under."""

    def write(self, name: str, tensor: Tensor) -> None:
        """Write one of the planned tensors, once."""
        if name not in self._tensors:
            msg = f"tensor must be one of those planned, got {shown(name)}"
            raise ValueError(msg)
        origin = self._origins.get(name)
        if isinstance(tensor, PackedTensor) != (origin is not None):
            planned = "dense" if origin is None else "packed"
            msg = f"tensor {shown(name)} must be {planned} as planned, got {type(tensor).__name__}"
            raise TypeError(msg)
        if not isinstance(tensor, PackedTensor):
            self._write(name, tensor)
        elif origin:
            planned_shape = self._tensors[name].shape
            if tensor.shape != planned_shape:
                msg = (
                    f"tensor {shown(name)} must have shape {planned_shape} as planned,"
                    f" got {tensor.shape}"
                )
                raise ValueError(msg)
            parts = (
                stored_parts_24(origin, name, tensor)
                if self._storage.is_24
                else stored_parts(origin, tensor)
            )
            for part, array in parts.items():
                self._write(part, array)

    def _write(self, stored: str, tensor: np.ndarray[Any, Any] | RawTensor) -> None:
        self._writer.write(stored, tensor)
        self.stored[stored] = tensor.nbytes


def place_in_file(name: str, info: TensorInfo, storage: Storage) -> tuple[int, str]:
    """Return a sort key: in its order tensors can be written to a file one after the other."""
    stored = Origin(storage.prefix_of(name)).part("compressed") if info.packed else name
    return rank(stored, info.dtype)


def _stored_entries(
    tensors: Mapping[str, TensorInfo], origins: Mapping[str, Origin], storage: Storage
) -> dict[str, Entry]:
    """Return the plain tensors a file will hold, all under names of their own."""
    entries: dict[str, Entry] = {}
    owners: dict[str, str] = {}
    for name, info in tensors.items():
        for stored, entry in info.entries(name, origins.get(name, Origin("")), storage).items():
            if stored in entries:
                msg = (
                    f"tensors {shown(owners[stored])} and {shown(name)} would both be stored"
                    f" as {shown(stored)}; rename one"
                )
                raise ValueError(msg)
            entries[stored], owners[stored] = entry, name
    return entries


def _check_can_be_packed(tensors: Mapping[str, TensorInfo], storage: Storage) -> None:
    for name, info in tensors.items():
        why_not = storage.why_not(name, info.shape) if info.packed else None
        if why_not is not None:
            msg = f"tensor {shown(name)} of shape {info.shape} must be stored dense: {why_not}"
            raise ValueError(msg)
