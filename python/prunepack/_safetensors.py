"""Read safetensors files strictly. Knows nothing of packing."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, final

import numpy as np

from ._closing import ClosesItself
from ._entries import NUMPY_DTYPES, Entry, RawTensor, checked_nbytes
from ._errors import FormatError
from ._file_bytes import Buffers, CopiedBytes, FileBytes, FileState, MappedBytes
from ._regular import open_regular
from ._strict_json import Object, parse, shown

HEADER_LIMIT = 100_000_000
# The codes of less than a byte. NumPy has no such elements, but their spans can be checked.
_SMALL_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
_PLAUSIBLE_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,31}")


@final
class SafetensorsFile(ClosesItself):
    """A safetensors file, checked before anything is handed out.

    Opening reads the header alone and verifies all of it; tensors are read-only and stay valid
    after the file is closed.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    buffers : Buffers, optional
        Memory to copy tensors to; a copy is refused if the file has been written to since it was
        opened. Without it tensors are views of the file, mapped into memory.

    Raises
    ------
    FormatError
        If anything in the file is not as FORMAT.md says.
    OSError
        If the file cannot be opened or mapped.

    Attributes
    ----------
    path : str
        The file's path as it was given.
    names : tuple of str
        The tensors in the order of their data.
    metadata : dict of str to str
        The file's ``__metadata__``.
    """

    def __init__(self, path: str | os.PathLike[str], buffers: Buffers | None = None) -> None:
        self.path = os.fspath(path)
        with open_regular(path) as file, contextlib.ExitStack() as stack:
            before = FileState.of(file.fileno())
            header = _read_header(file, before.size, self.path)
            octets: FileBytes = (
                MappedBytes(file) if buffers is None else CopiedBytes(file, before, buffers)
            )
            stack.callback(octets.close)
            self._data = 8 + len(header)
            self.metadata, self._entries, self._begins = _checked_header(
                header, octets.size - self._data, self.path
            )
            stack.pop_all()
        self._octets: FileBytes | None = octets
        self.names = tuple(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def close(self) -> None:
        """Let go of the file; a mapping goes with the last array that lies in it."""
        if self._octets is not None:
            self._octets.close()
        self._octets = None

    def info(self, name: str) -> Entry:
        """Return dtype code, shape and bytes of one tensor."""
        entry = self._entries.get(name)
        if entry is None:
            msg = f"{self.path} holds no tensor {shown(name)}"
            raise ValueError(msg)
        return entry

    def array(self, name: str) -> np.ndarray[Any, Any] | RawTensor:
        """Return one tensor, read-only; copied only if it lies at an address NumPy cannot use."""
        entry = self.info(name)
        dtype = NUMPY_DTYPES.get(entry.dtype)
        if dtype is None:
            return RawTensor(entry.dtype, entry.shape, self._flat(name, np.dtype(np.uint8)))
        flat = self._flat(name, dtype)
        try:
            return flat.reshape(entry.shape)
        except ValueError as error:
            dimensions = len(entry.shape)
            msg = f"{self.path}: tensor {shown(name)}: NumPy cannot hold {dimensions} dimensions"
            raise FormatError(msg) from error

    def _flat(self, name: str, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        if self._octets is None:
            msg = f"{self.path} must be open to be read, it has been closed"
            raise ValueError(msg)
        begin, nbytes = self._data + self._begins[name], self._entries[name].nbytes
        where = f"{self.path}: tensor {shown(name)}"
        flat = np.frombuffer(self._octets.span(begin, nbytes, where), dtype)
        if not flat.flags.aligned:
            flat = flat.copy()
        flat.flags.writeable = False
        return flat


def _read_header(file: BinaryIO, size: int, path: str) -> bytes:
    """Read the header's bytes, after checking that their number is a sensible one."""
    if size < 8:
        msg = f"{path}: file must begin with an 8-byte header length, it has {size} bytes"
        raise FormatError(msg)
    length = int.from_bytes(file.read(8), "little")
    if length > HEADER_LIMIT:
        msg = f"{path}: header length must be at most {HEADER_LIMIT}, got {length}"
        raise FormatError(msg)
    if length > size - 8:
        msg = (
            f"{path}: header length must fit in the file,"
            f" {length} is more than the {size - 8} bytes left"
        )
        raise FormatError(msg)
    header = file.read(length)
    if len(header) < length:
        msg = f"{path}: header ends after {len(header)} of {length} bytes; the file was cut short"
        raise FormatError(msg)
    return header


def _checked_header(
    header: bytes, data_size: int, path: str
) -> tuple[dict[str, str], dict[str, Entry], dict[str, int]]:
    """Return metadata, entries in the order of their data, and where each begins."""
    where = f"{path}: header"
    if header[:1] != b"{":
        msg = f"{where}: must begin with '{{', begins with {header[:1]!r}"
        raise FormatError(msg)
    try:
        text = header.rstrip(b" ").decode()
    except UnicodeDecodeError as error:
        msg = f"{where}: must be UTF-8, byte {error.start} is not"
        raise FormatError(msg) from None
    if not text.endswith("}"):
        msg = f"{where}: must end with '}}' and spaces, ends with {text[-1]!r}"
        raise FormatError(msg)
    members = parse(text, where).members(where)
    metadata = _checked_metadata(members.pop("__metadata__", Object()), path)
    entries: dict[str, Entry] = {}
    begins: dict[str, int] = {}
    for name, value in members.items():
        entries[name], begins[name] = _checked_entry(value, f"{path}: tensor {shown(name)}")
    # Empty tensors share their offset with a neighbour, hence the second key.
    order = sorted(entries, key=lambda name: (begins[name], entries[name].nbytes))
    _check_coverage(order, entries, begins, data_size, path)
    return metadata, {name: entries[name] for name in order}, begins


def _checked_metadata(value: object, path: str) -> dict[str, str]:
    where = f"{path}: __metadata__"
    if not isinstance(value, Object):
        msg = f"{where}: must be an object of strings, got {shown(value)}"
        raise FormatError(msg)
    metadata = value.members(where)
    for key, item in metadata.items():
        if not isinstance(item, str):
            msg = f"{where}: value of {shown(key)} must be a string, got {shown(item)}"
            raise FormatError(msg)
    return metadata


def _checked_entry(value: object, where: str) -> tuple[Entry, int]:
    if not isinstance(value, Object):
        msg = f"{where}: must be described by an object, got {shown(value)}"
        raise FormatError(msg)
    members = value.members(where)
    if members.keys() != {"dtype", "shape", "data_offsets"}:
        msg = f"{where}: keys must be dtype, shape and data_offsets, got {shown(list(members))}"
        raise FormatError(msg)
    dtype, shape, offsets = members["dtype"], members["shape"], members["data_offsets"]
    if not isinstance(dtype, str) or not _PLAUSIBLE_CODE.fullmatch(dtype):
        msg = f"{where}: dtype must be a code such as 'F32', got {shown(dtype)}"
        raise FormatError(msg)
    if not _are_naturals(shape):
        msg = f"{where}: shape must be a list of natural numbers, got {shown(shape)}"
        raise FormatError(msg)
    if not _are_naturals(offsets) or len(offsets) != 2:
        msg = f"{where}: data_offsets must be two natural numbers, got {shown(offsets)}"
        raise FormatError(msg)
    begin, end = offsets
    if begin > end:
        msg = f"{where}: data_offsets must not run backwards, got {shown(offsets)}"
        raise FormatError(msg)
    entry = Entry(dtype, tuple(shape), end - begin)
    _check_span(entry, where)
    return entry, begin


def _are_naturals(value: object) -> bool:
    """Tell whether `value` is a list of numbers; the parser lets no others than natural through."""
    return type(value) is list and all(type(item) is int for item in value)


def _check_span(entry: Entry, where: str) -> None:
    known = NUMPY_DTYPES.get(entry.dtype)
    needed = checked_nbytes(entry.shape, known.itemsize if known else 1)
    shape = shown(list(entry.shape))
    if needed is None:
        msg = f"{where}: shape {shape} of {entry.dtype} is beyond 2**63 bytes"
        raise FormatError(msg)
    bits = _SMALL_BITS.get(entry.dtype)
    if bits is not None:
        if needed * bits % 8:
            msg = f"{where}: shape {shape} of {entry.dtype} must fill whole bytes"
            raise FormatError(msg)
        needed = needed * bits // 8
    if (known or bits) and needed != entry.nbytes:
        msg = (
            f"{where}: data_offsets span {entry.nbytes} bytes but shape {shape} of {entry.dtype}"
            f" needs {needed}"
        )
        raise FormatError(msg)


def _check_coverage(
    order: list[str],
    entries: dict[str, Entry],
    begins: dict[str, int],
    data_size: int,
    path: str,
) -> None:
    """Every byte of the data must belong to exactly one tensor."""
    end = 0
    for name in order:
        begin, where = begins[name], f"{path}: tensor {shown(name)}"
        if begin != end:
            kind = (
                "overlaps the tensor before it, which ends"
                if begin < end
                else "leaves a hole, the data before it ends"
            )
            msg = f"{where}: begins at {begin} and {kind} at {end}"
            raise FormatError(msg)
        end += entries[name].nbytes
        if end > data_size:
            msg = f"{where}: ends at {end} but the file has only {data_size} bytes of data"
            raise FormatError(msg)
    if end != data_size:
        msg = (
            f"{path}: data must end with the last tensor at {end},"
            f" but the file has {data_size} bytes of data"
        )
        raise FormatError(msg)
