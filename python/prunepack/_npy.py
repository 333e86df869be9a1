"""NumPy's ``.npy`` format: one array, whose name the file does not hold."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.lib import format as npy

from ._atomic import Opener, replacing
from ._closing import ClosesItself
from ._entries import Entry, Plan, RawTensor
from ._errors import FormatError
from ._file_bytes import FileState
from ._npy_header import NATIVE_DTYPES, read_header
from ._regular import open_regular
from ._strict_json import shown

_CHUNK = 1 << 20


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
