"""NumPy's ``.npy`` format: one array, whose name the file does not hold."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, final

import numpy as np
from numpy.lib import format as npy

from ._atomic import Opener, replacing
from ._closing import ClosesItself
from ._entries import CODES, Entry, Plan, RawTensor, checked_nbytes
from ._errors import FormatError
from ._file_bytes import FileState
from ._regular import open_regular
from ._strict_json import shown

_CHUNK = 1 << 20
# The types NumPy knows by itself. Those of ml_dtypes it would store as bytes without a meaning.
NATIVE_DTYPES = frozenset(dtype for dtype in CODES if dtype.isbuiltin == 1)


@final
class NpyFile(ClosesItself):
    """A ``.npy`` file as a store of one array, named after the file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.names: tuple[str, ...] = (Path(path).stem,)
        self.metadata: dict[str, str] = {}
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(open_regular(path))
            self._before = FileState.of(self._file.fileno())
            self._entry = read_header(self._file, self._before.size, self.path).entry
            self._resources = stack.pop_all()

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def close(self) -> None:
        """Close the file; an array read from it is a copy and stays."""
        self._resources.close()

    def info(self, name: str) -> Entry:
        """Return dtype code, shape and bytes of the array."""
        if name not in self.names:
            msg = f"{self.path} holds no tensor {shown(name)}"
            raise ValueError(msg)
        return self._entry

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """Read the array."""
        self.info(name)
        self._file.seek(0)
        array = read_array(self._file, self._before.size, self.path)
        self._before.check(self._file.fileno(), self.path)
        return array


class Header(NamedTuple):
    """What the header of an array says, checked against the bytes that are there."""

    entry: Entry
    dtype: np.dtype[Any]
    fortran_order: bool


def read_header(stream: IO[bytes], size: int, where: str) -> Header:
    """Read the header of an array that takes all `size` bytes of a stream."""
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(stream)
        begin = stream.tell()
    except (OSError, zipfile.BadZipFile, zlib.error):  # the stream's own trouble
        raise
    except Exception as error:  # NumPy does not say what its header parser may raise
        msg = f"{where}: must begin with an npy header of version 1 or 2"
        raise FormatError(msg) from error
    if dtype not in NATIVE_DTYPES:
        msg = f"{where}: dtype must be {_listed(NATIVE_DTYPES)}, got {dtype}"
        raise FormatError(msg)
    sensible = all(type(dimension) is int and dimension >= 0 for dimension in shape)
    nbytes = checked_nbytes(shape, dtype.itemsize) if sensible else None
    if nbytes is None or begin + nbytes != size:
        msg = (
            f"{where}: {size - begin} bytes do not make an array of shape {shown(shape)} of {dtype}"
        )
        raise FormatError(msg)
    return Header(Entry(CODES[dtype], shape, nbytes), dtype, fortran_order)


def read_array(stream: IO[bytes], size: int, where: str) -> np.ndarray[Any, Any]:
    """Read an array that takes all `size` bytes of a stream; nothing is ever unpickled."""
    header = read_header(stream, size, where)
    flat = np.empty(header.entry.nbytes // header.dtype.itemsize, header.dtype)
    octets = flat.view(np.uint8).data
    while octets:
        chunk = stream.read(min(_CHUNK, len(octets)))
        if not chunk:
            msg = f"{where}: array ends {len(octets)} bytes early"
            raise FormatError(msg)
        octets[: len(chunk)] = chunk
        octets = octets[len(chunk) :]
    try:
        return flat.reshape(header.entry.shape, order="F" if header.fortran_order else "C")
    except ValueError as error:
        msg = f"{where}: NumPy cannot hold {len(header.entry.shape)} dimensions"
        raise FormatError(msg) from error


def write_array(stream: IO[bytes], array: np.ndarray[Any, Any]) -> None:
    """Write header and elements; NumPy's own writer hides why a write failed."""
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    npy.write_array_header_1_0(stream, npy.header_data_from_array_1_0(contiguous))
    stream.write(contiguous.reshape(-1).view(np.uint8).data)


@contextlib.contextmanager
def npy_writer(
    path: str | os.PathLike[str],
    entries: Mapping[str, Entry],
    metadata: Mapping[str, str] | None = None,
    opened: Opener = replacing,
) -> Iterator[NpyWriter]:
    """Write the one array of `entries`; it takes the place of `path` when the block ends well."""
    if len(entries) != 1 or metadata:
        msg = (
            "an .npy file holds one dense tensor (a packed one is stored as four) and no metadata,"
            f" got {len(entries)} and {len(metadata or {})} keys of metadata; use .npz"
        )
        raise ValueError(msg)
    plan = Plan(entries, {})
    with opened(path) as file:
        yield NpyWriter(file, plan)
        plan.check_complete()


class NpyWriter:
    """What `npy_writer` hands to its block."""

    def __init__(self, file: IO[bytes], plan: Plan) -> None:
        self._file = file
        self._plan = plan

    def write(self, name: str, tensor: np.ndarray[Any, Any] | RawTensor) -> None:
        """Write the array, once."""
        self._plan.accept(name, tensor)
        if isinstance(tensor, RawTensor) or tensor.dtype not in NATIVE_DTYPES:
            msg = (
                f"tensor {shown(name)} must have a dtype NumPy can store, got {tensor.dtype};"
                " use .npz"
            )
            raise TypeError(msg)
        write_array(self._file, tensor)


def _listed(dtypes: frozenset[np.dtype[Any]]) -> str:
    return ", ".join(sorted(dtype.name for dtype in dtypes))
