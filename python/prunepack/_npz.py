"""NumPy's ``.npz`` archives: any number of named arrays.

NumPy stores bfloat16 and float8 as bytes without a meaning. Here they are unsigned integers of the
same width, and the member ``prunepack.json`` says what they are; everything else is as
``np.savez`` writes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import IO, Any, final

import numpy as np

from ._atomic import Opener, replacing
from ._closing import ClosesItself
from ._entries import NUMPY_DTYPES, Entry, Plan, RawTensor
from ._errors import FormatError
from ._file_bytes import FileState
from ._npy import read_array, write_array
from ._npy_header import NATIVE_DTYPES, read_header
from ._regular import open_regular
from ._strict_json import Object, parse, reason, shown

MANIFEST = "prunepack.json"
VERSION = 1
_MANIFEST_LIMIT = 100_000_000
_MEMBER = 320  # two headers of the archive, that of the array, and a line of the manifest
_NAME_LIMIT = 65_535  # a zip archive counts the bytes of a member's name in 16 bits
_BEST_DEFLATION = 1032  # 258 bytes in two bits: deflate can do no better


# --- reading ----------------------------------------------------------------------------------


@final
class NpzFile(ClosesItself):
    """A ``.npz`` archive, read member by member; nothing in it is ever unpickled.

    Attributes
    ----------
    path : str
        The file's path as it was given.
    names : tuple of str
        The arrays in the order of the archive.
    metadata : dict of str to str
        What the writer was given.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        # Some zipfile (that of Python 3.12.1) mixes up members that threads read side by side.
        self._reading = threading.Lock()
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open_regular(path))
            before = FileState.of(file.fileno())
            with _refusing_broken_archives(self.path):
                self._archive = stack.enter_context(zipfile.ZipFile(file))
            members = _checked_members(self._archive, before.size, self.path)
            manifest = members.pop(MANIFEST, None)
            self._members = _array_members(members, self.path)
            self.names = tuple(self._members)
            self.metadata, self._dtypes = self._read_manifest(manifest)
            self._check_unchanged = partial(before.check, file.fileno())
            self._resources = stack.pop_all()

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def close(self) -> None:
        """Close the file; arrays read from it are copies and stay."""
        self._resources.close()

    def info(self, name: str) -> Entry:
        """Return dtype code, shape and bytes of one array, reading nothing but its header."""
        with self._open(name) as (stream, size, where):
            header = read_header(stream, size, where)
        meant = self._meant(name, header.dtype, where)
        return header.entry._replace(dtype=meant)

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """Read one array."""
        with self._open(name) as (stream, size, where):
            array = read_array(stream, size, where)
        return array.view(NUMPY_DTYPES[self._meant(name, array.dtype, where)])

    @contextlib.contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], int, str]]:
        member = self._members.get(name)
        if member is None:
            msg = f"{self.path} holds no tensor {shown(name)}"
            raise ValueError(msg)
        if self._archive.fp is None:
            msg = f"{self.path} must be open to be read, it has been closed"
            raise ValueError(msg)
        where = f"{self.path}: tensor {shown(name)}"
        with (
            self._reading,
            _refusing_broken_archives(where),
            self._archive.open(member) as stream,
        ):
            yield stream, member.file_size, where
        self._check_unchanged(where)

    def _meant(self, name: str, stored: np.dtype[Any], where: str) -> str:
        """Return the code of what an array holds, which the manifest may say."""
        code = self._dtypes.get(name, Entry.of(np.empty(0, stored)).dtype)
        meant = NUMPY_DTYPES.get(code)
        if meant is None or (meant != stored and _carrier(meant) != stored):
            msg = f"{where}: {MANIFEST} must name a dtype stored as {stored}, it says {shown(code)}"
            raise FormatError(msg)
        return code

    def _read_manifest(
        self, member: zipfile.ZipInfo | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the metadata and the codes of the arrays that are not what they seem."""
        if member is None:
            return {}, {}
        where = f"{self.path}: {MANIFEST}"
        if member.file_size > _MANIFEST_LIMIT:
            msg = f"{where}: must have at most {_MANIFEST_LIMIT} bytes, it has {member.file_size}"
            raise FormatError(msg)
        with _refusing_broken_archives(where):
            octets = self._archive.read(member)
        try:
            text = octets.decode()
        except UnicodeDecodeError as error:
            msg = f"{where}: must be UTF-8, byte {error.start} is not"
            raise FormatError(msg) from None
        tree = parse(text, where)
        members = tree.members(where) if isinstance(tree, Object) else {}
        if members.get("version") != VERSION or members.keys() != {"version", "metadata", "dtypes"}:
            version = shown(members.get("version"))
            msg = (
                f"{where}: must hold version {VERSION}, 'metadata' and 'dtypes',"
                f" got version {version}"
            )
            raise FormatError(msg)
        metadata = _strings(members["metadata"], f"{where}: 'metadata'")
        dtypes = _strings(members["dtypes"], f"{where}: 'dtypes'")
        for name in dtypes:
            if name not in self._members:
                msg = f"{where}: 'dtypes' names {shown(name)}, which is not in the archive"
                raise FormatError(msg)
        return metadata, dtypes


@contextlib.contextmanager
def _refusing_broken_archives(where: str) -> Iterator[None]:
    """Turn what zipfile raises for bytes it cannot follow into a FormatError."""
    try:
        yield
    except FormatError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to before the file is the archive's fault
            raise
        why = "it points outside itself"
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        why = reason(error)
    else:
        return
    msg = f"{where}: must be a sound zip archive: {why}"
    raise FormatError(msg)


def _checked_members(archive: zipfile.ZipFile, size: int, path: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members by name, none of which can hold more than the file's bytes allow."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        where = f"{path}: member {shown(member.filename)}"
        if member.filename in members:
            msg = f"{where}: must be there once, it is there again"
            raise FormatError(msg)
        if member.flag_bits & 1:
            msg = f"{where}: must not be encrypted"
            raise FormatError(msg)
        ratios = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: _BEST_DEFLATION}
        ratio = ratios.get(member.compress_type)
        if ratio is None:
            msg = (
                f"{where}: must be stored or deflated,"
                f" got compression method {member.compress_type}"
            )
            raise FormatError(msg)
        if member.file_size > ratio * member.compress_size:
            msg = (
                f"{where}: {member.compress_size} bytes cannot hold the {member.file_size}"
                " it claims to have"
            )
            raise FormatError(msg)
        members[member.filename] = member
    total = sum(member.compress_size for member in members.values())
    if total > size:
        msg = f"{path}: members must fit in the file, they claim {total} of its {size} bytes"
        raise FormatError(msg)
    return members


def _array_members(members: Mapping[str, zipfile.ZipInfo], path: str) -> dict[str, zipfile.ZipInfo]:
    for filename in members:
        if not filename.endswith(".npy"):
            msg = f"{path}: member {shown(filename)}: must be an array, with a name in .npy"
            raise FormatError(msg)
    return {filename.removesuffix(".npy"): member for filename, member in members.items()}


def _strings(value: object, where: str) -> dict[str, str]:
    members = value.members(where) if isinstance(value, Object) else None
    if members is None or not all(isinstance(item, str) for item in members.values()):
        msg = f"{where} must be an object of strings, got {shown(value)}"
        raise FormatError(msg)
    return members


# --- writing ----------------------------------------------------------------------------------


@contextlib.contextmanager
def npz_writer(
    path: str | os.PathLike[str],
    entries: Mapping[str, Entry],
    metadata: Mapping[str, str] | None = None,
    opened: Opener = replacing,
) -> Iterator[NpzWriter]:
    """Write an archive of `entries`; it takes the place of `path` when the block ends well."""
    plan = Plan(entries, metadata or {})
    _check_storable(entries)
    with opened(path) as file, zipfile.ZipFile(file, "w") as archive:
        writer = NpzWriter(archive, plan)
        yield writer
        plan.check_complete()
        writer.write_manifest(metadata or {})


def npz_header_nbytes(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> int:
    """Return at most how many bytes an archive of `entries` has besides theirs."""
    texts = sum(len(key.encode()) + len(text.encode()) + 8 for key, text in metadata.items())
    return 512 + 2 * texts + sum(_MEMBER + 4 * len(name.encode()) for name in entries)


class NpzWriter:
    """What `npz_writer` hands to its block: `write` is all a caller needs."""

    def __init__(self, archive: zipfile.ZipFile, plan: Plan) -> None:
        self._archive = archive
        self._plan = plan

    def write(self, name: str, tensor: np.ndarray[Any, Any] | RawTensor) -> None:
        """Write one of the planned arrays, once."""
        self._plan.accept(name, tensor)
        assert isinstance(tensor, np.ndarray), "the plan holds no raw tensors"
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
            write_array(stream, tensor.view(_carrier(tensor.dtype)))

    def write_manifest(self, metadata: Mapping[str, str]) -> None:
        """Say what the arrays are that NumPy has no type for, if there are any."""
        codes = {name: entry.dtype for name, entry in self._plan.entries.items()}
        foreign = {
            name: code for name, code in codes.items() if NUMPY_DTYPES[code] not in NATIVE_DTYPES
        }
        if metadata or foreign:
            tree = {"version": VERSION, "metadata": dict(metadata), "dtypes": foreign}
            with self._archive.open(MANIFEST, "w") as stream:
                stream.write(json.dumps(tree, ensure_ascii=False).encode())


def _carrier(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type whose bytes NumPy stores for `dtype`."""
    return dtype if dtype in NATIVE_DTYPES else np.dtype(f"u{dtype.itemsize}")


def _check_storable(entries: Mapping[str, Entry]) -> None:
    for name, entry in entries.items():
        if entry.dtype not in NUMPY_DTYPES:
            msg = (
                f"tensor {shown(name)} must have a dtype NumPy knows, got {entry.dtype};"
                " use .safetensors"
            )
            raise TypeError(msg)
        if "\0" in name:
            msg = f"tensor name must hold no NUL in an .npz file, got {shown(name)}"
            raise ValueError(msg)
        nbytes = len(f"{name}.npy".encode())
        if nbytes > _NAME_LIMIT:
            msg = (
                f"tensor name and .npy must have at most {_NAME_LIMIT} bytes in an .npz file,"
                f" got {nbytes}: {shown(name)}"
            )
            raise ValueError(msg)
