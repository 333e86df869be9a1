"""Files of packed and dense tensors, by suffix: ``.safetensors``, ``.npz`` and ``.npy``."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, final

import numpy as np

from ._arrays import ArrayLike, as_array
from ._atomic import Opener, replacing
from ._closing import ClosesItself
from ._entries import NUMPY_DTYPES, Entry, RawTensor, code_of
from ._file_bytes import Buffers
from ._npy import NpyFile, npy_writer
from ._npz import NpzFile, npz_header_nbytes, npz_writer
from ._packed import PackedTensor
from ._safetensors import SafetensorsFile
from ._safetensors_writer import rank, safetensors_header_nbytes, safetensors_writer
from ._sparse_24 import planned_parts_24, stored_parts_24
from ._sparse_bitmask import (
    METADATA_KEY,
    Origin,
    Store,
    dense_shape,
    describe,
    find_packed,
    look_packed,
    planned_parts,
    read_packed,
    stored_parts,
)
from ._storage import PACKED, Storage
from ._strict_json import shown

Tensor: TypeAlias = "np.ndarray[Any, Any] | PackedTensor | RawTensor"


class OpenStore(Store, Protocol):
    """A file of plain named tensors that is open."""

    def close(self) -> None: ...


class StoreWriter(Protocol):
    """A file of plain named tensors that is being written."""

    def write(self, name: str, tensor: np.ndarray[Any, Any] | RawTensor) -> None: ...


@dataclass(frozen=True)
class Format:
    """How files of one suffix are opened, to copy from or to view, and written."""

    open: Callable[[str], OpenStore]
    view: Callable[[str], OpenStore]
    write: Callable[
        [str, Mapping[str, Entry], Mapping[str, str], Opener],
        AbstractContextManager[StoreWriter],
    ]
    header_nbytes: Callable[[Mapping[str, Entry], Mapping[str, str]], int]


FORMATS = {
    ".safetensors": Format(
        lambda path: SafetensorsFile(path, Buffers()),
        SafetensorsFile,
        safetensors_writer,
        safetensors_header_nbytes,
    ),
    ".npz": Format(NpzFile, NpzFile, npz_writer, npz_header_nbytes),
    ".npy": Format(NpyFile, NpyFile, npy_writer, npz_header_nbytes),
}


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
        return cls._of_entry(Entry.of(tensor, name))

    @classmethod
    def _of_entry(cls, entry: Entry) -> TensorInfo:
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


# --- tensor by tensor -------------------------------------------------------------------------


def open_file(path: str | os.PathLike[str], *, mapped: bool = False) -> TensorFile:
    """Open a file of tensors; the suffix says which format it has.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    mapped : bool
        Whether its tensors may be views of the file, which another process may change.

    Returns
    -------
    TensorFile
        A context manager; tensors are read one at a time.
    """
    format = format_of(path)
    store = (format.view if mapped else format.open)(os.fspath(path))
    try:
        return TensorFile(store)
    except BaseException:
        store.close()
        raise


@final
class TensorFile(ClosesItself):
    """An open file of packed and dense tensors.

    Attributes
    ----------
    path : str
        The file's path as it was given.
    names : tuple of str
        The tensors in the order of the file, packed ones under the name they had as dense ones.
    metadata : dict of str to str
        The file's metadata without prunepack's own.
    """

    def __init__(self, store: OpenStore, files: Sequence[Store] = ()) -> None:
        self._store = store
        self._packed = find_packed(store, files or (store,))
        self.path = store.path
        self.names = self._logical_names()
        self._known_names = frozenset(self.names)
        self.metadata = {key: text for key, text in store.metadata.items() if key != METADATA_KEY}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._known_names

    def close(self) -> None:
        """Close the file; tensors read from it stay valid."""
        self._store.close()

    def stored_names(self, name: str) -> tuple[str, ...]:
        """Return the names under which a tensor is stored: its own, or those of its parts."""
        origin = self._packed.get(name)
        if origin is None:
            return (name,)
        return tuple(part for part in origin.parts() if part in self._store)

    def info(self, name: str) -> TensorInfo:
        """Describe one tensor without reading its weights."""
        origin = self._packed.get(name)
        if origin is None:
            return TensorInfo._of_entry(self._store.info(name))
        compressed = self._store.info(origin.part("compressed"))
        shape = dense_shape(self._store, name, origin)
        kept = math.prod(compressed.shape)
        return TensorInfo(compressed.dtype, shape, True, kept, origin.pattern)

    def read(self, name: str) -> Tensor:
        """Read one tensor, read-only views of the file where it is mapped."""
        origin = self._packed.get(name)
        return read_packed(self._store, name, origin) if origin else self._store.array(name)

    def _logical_names(self) -> tuple[str, ...]:
        """Put each packed tensor where the first of its parts is."""
        owners = {part: name for name, origin in self._packed.items() for part in origin.parts()}
        return tuple(dict.fromkeys(owners.get(stored, stored) for stored in self._store.names))


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
    >>> import prunepack as pp
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


def format_of(path: str | os.PathLike[str]) -> Format:
    """Return the format that a file has by its suffix, or raise a ValueError."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        msg = f"path must end in {', '.join(FORMATS)}, got {os.fspath(path)!r}"
        raise ValueError(msg)
    return FORMATS[suffix]


# --- all at once ------------------------------------------------------------------------------


def save_file(
    tensors: Mapping[str, Tensor | ArrayLike],
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Save packed and dense tensors in one file.

    Parameters
    ----------
    tensors : mapping of str to array or PackedTensor
        Arrays are stored as they are: anything `pack` takes, and integers, booleans and the
        other dtypes a file can hold.
    path : str or os.PathLike
        ``.safetensors``, which any safetensors reader opens; ``.npz``, in which dense arrays
        stay readable with `np.load`; or ``.npy`` for a single dense array, which loses its name.
        An existing file is replaced once the new one is complete and on disk; if anything
        fails, it stays as it was.
    metadata : mapping of str to str, optional
        Strings to keep in the file. The key "prunepack" is prunepack's own.

    Raises
    ------
    TypeError
        If a tensor has a dtype the format cannot hold.
    ValueError
        If the suffix is unknown, or two tensors would be stored under one name.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_file : The way back.

    Notes
    -----
    A packed tensor ``fc.weight`` is stored as compressed-tensors' ``sparse-bitmask`` stores
    it: ``fc.shape``, ``fc.compressed``, ``fc.bitmask`` and ``fc.row_offsets``.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0, 1.5, 0, 0], [0, 0, -2, 0]], np.float32)
    >>> tensors = {"fc.weight": pp.pack(w), "fc.bias": np.ones(2, np.float32)}
    >>> pp.save_file(tensors, "model.safetensors")
    >>> pp.load_file("model.safetensors")["fc.weight"].to_dense()
    array([[ 0. ,  1.5,  0. ,  0. ],
           [ 0. ,  0. , -2. ,  0. ]], dtype=float32)
    """
    arrays = {name: _as_tensor(tensor, name) for name, tensor in tensors.items()}
    plan = {name: TensorInfo.of(tensor, f"tensor {shown(name)}") for name, tensor in arrays.items()}
    with create_file(path, plan, metadata=metadata) as file:
        for name, tensor in arrays.items():
            file.write(name, tensor)


def load_file(path: str | os.PathLike[str], *, mapped: bool = True) -> dict[str, Tensor]:
    """Load all tensors of a file.

    Parameters
    ----------
    path : str or os.PathLike
        A ``.safetensors`` file of prunepack, compressed-tensors (``sparse-bitmask`` and
        ``sparse-24-bitmask``) or anyone else; a ``.npz``; or a ``.npy``, whose array is named
        after the file.
    mapped : bool
        Whether tensors of a safetensors file are views of it, or copies. From the other formats
        there are only copies.

    Returns
    -------
    dict of str to ndarray, PackedTensor or RawTensor
        Packed tensors stay packed. Views are read-only and need memory only where they are
        touched. A tensor of a dtype prunepack does not know is a
        `RawTensor`, which `save_file` writes back untouched.

    Raises
    ------
    FormatError
        If the file is not what its format requires; nothing is guessed or repaired. With
        ``mapped=False`` also if it changes while it is read.
    ValueError
        If the suffix is unknown.
    OSError
        If the file cannot be read.

    See Also
    --------
    save_file : The way there.

    Notes
    -----
    A view shows what the file has become, as ``numpy.memmap`` does. If another process writes to it in
    place, what was checked when it was loaded may no longer hold; if it cuts it short, touching what
    is gone ends this process with SIGBUS. A file that is replaced as a whole, as `save_file`
    and all good tools do, changes nothing for views of the old one. Load with ``mapped=False``
    what others may write to in place.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> pp.save_file({"w": np.arange(3)}, "model.npz")
    >>> pp.load_file("model.npz")
    {'w': array([0, 1, 2])}
    """
    with open_file(path, mapped=mapped) as file:
        return {name: file.read(name) for name in file.names}


def _as_tensor(tensor: Tensor | ArrayLike, name: str) -> Tensor:
    if not isinstance(name, str):
        msg = (
            f"tensors must map names to arrays, got {type(name).__name__} {shown(name)} for a name"
        )
        raise TypeError(msg)
    if isinstance(tensor, PackedTensor | RawTensor):
        return tensor
    return as_array(tensor, f"tensors[{name!r}]")
