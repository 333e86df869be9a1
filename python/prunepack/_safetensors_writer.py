"""Write safetensors files tensor by tensor, whole or not at all. Knows nothing of packing."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._atomic import Opener, replacing
from ._entries import NUMPY_DTYPES, Entry, Plan, RawTensor
from ._safetensors import HEADER_LIMIT

_RANKS = {code: rank for rank, code in enumerate(NUMPY_DTYPES)}
_CHUNK = 1 << 20
_PIECE = 16 << 20


@contextlib.contextmanager
def safetensors_writer(
    path: str | os.PathLike[str],
    entries: Mapping[str, Entry],
    metadata: Mapping[str, str] | None = None,
    opened: Opener = replacing,
) -> Iterator[SafetensorsWriter]:
    """Write a file of `entries`; it takes the place of `path` when the block ends well.

    Tensors may be written in any order and none is kept in memory. Where the length of one is
    not known yet (``at_most=True``), room is left in the header for the longest it may be, and
    tensors after it that come early wait in an unnamed temporary file beside `path`. When all
    lengths are known the bytes are those the safetensors library writes.

    Examples
    --------
    >>> from prunepack._safetensors import SafetensorsFile
    >>> entries = {"kept": Entry("F32", (100,), 400, at_most=True), "mask": Entry("U8", (2,), 2)}
    >>> with safetensors_writer("w.safetensors", entries) as writer:
    ...     writer.write("mask", np.array([3, 0], np.uint8))
    ...     writer.write("kept", np.array([0.5, 2], np.float32))
    >>> with SafetensorsFile("w.safetensors") as file:
    ...     file.info("kept")
    Entry(dtype='F32', shape=(2,), nbytes=8, at_most=False)
    """
    layout = _Layout(entries, metadata or {})
    with opened(path) as file, tempfile.TemporaryFile(dir=Path(path).parent) as spill:
        writer = SafetensorsWriter(layout, file.fileno(), spill.fileno())
        yield writer
        writer.finish()


def safetensors_header_nbytes(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> int:
    """Return where the data of a file of `entries` would begin."""
    return len(_Layout(entries, metadata).header())


class SafetensorsWriter:
    """What `safetensors_writer` hands to its block: `write` is all a caller needs."""

    def __init__(self, layout: _Layout, file: int, spill: int) -> None:
        self._layout = layout
        self._file = _Flow(file)
        self._spill = spill
        self._spill_end = 0
        self._spilled: dict[str, int] = {}  # where in the spill each waits

    def write(self, name: str, tensor: np.ndarray[Any, Any] | RawTensor) -> None:
        """Write one of the planned tensors, once; a non-contiguous array is copied first."""
        self._layout.accept(name, tensor)
        content = tensor.data if isinstance(tensor, RawTensor) else np.ascontiguousarray(tensor)
        octets = content.reshape(-1).view(np.uint8).data
        position = self._layout.position(name)
        if position is not None:
            self._file.write(octets, position)
        else:
            self._spilled[name] = self._spill_end
            _write_at(self._spill, octets, self._spill_end)
            self._spill_end += len(octets)

    def finish(self) -> None:
        """Bring what waits in the spill to its place, then write the header."""
        self._layout.check_complete()
        for name, begin in self._spilled.items():
            position = self._layout.position(name)
            assert position is not None, "all lengths are known once all tensors are written"
            nbytes = self._layout.entries[name].nbytes
            for start in range(0, nbytes, _CHUNK):
                chunk = os.pread(self._spill, min(_CHUNK, nbytes - start), begin + start)
                self._file.write(memoryview(chunk), position + start)
        self._file.write(memoryview(self._layout.header()), 0)


class _Layout(Plan):
    """Where each tensor of a plan goes.

    The header's room is fixed by the largest offsets that may come. A tensor's offset is known
    once the lengths of all before it are.
    """

    def __init__(self, entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> None:
        order = sorted(entries, key=lambda name: rank(name, entries[name].dtype))
        super().__init__({name: entries[name] for name in order}, metadata)
        if "__metadata__" in entries:
            msg = "tensor must not be named '__metadata__', the format keeps that name for itself"
            raise ValueError(msg)
        self._metadata = metadata
        self._order = tuple(self.entries)
        self._index = {name: index for index, name in enumerate(self._order)}
        self._offsets = [0]  # of the tensors whose place is known; the last is where they end
        self._settle()
        text = _header_text(self.entries, metadata)
        if len(text) > HEADER_LIMIT:
            msg = f"header must have at most {HEADER_LIMIT} bytes, these tensors need {len(text)}"
            raise ValueError(msg)
        self._room = len(text) + -len(text) % 8

    def accept(self, name: str, tensor: np.ndarray[Any, Any] | RawTensor) -> Entry:
        """Check a tensor about to be written; its length may settle the place of others."""
        entry = super().accept(name, tensor)
        self._settle()
        return entry

    def position(self, name: str) -> int | None:
        """Return where in the file the tensor goes, or None if that is not known yet."""
        index = self._index[name]
        return 8 + self._room + self._offsets[index] if index < len(self._offsets) else None

    def header(self) -> bytes:
        """Return everything before the data."""
        text = _header_text(self.entries, self._metadata).ljust(self._room)
        return len(text).to_bytes(8, "little") + text

    def _settle(self) -> None:
        while len(self._offsets) <= len(self._order):
            entry = self.entries[self._order[len(self._offsets) - 1]]
            if entry.at_most:
                break
            self._offsets.append(self._offsets[-1] + entry.nbytes)


def rank(name: str, dtype: str) -> tuple[int, str]:
    """Return the sort key of a tensor's place in a file.

    Falling alignment, then name; dtypes nobody knows come last, where they disturb no other.
    """
    return _RANKS.get(dtype, len(_RANKS)), name


def _header_text(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """Return the JSON of a header with `entries` in their order."""
    tree: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name, entry in entries.items():
        offsets = [begin, begin + entry.nbytes]
        tree[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": offsets}
        begin += entry.nbytes
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


def _write_at(file: int, octets: memoryview, position: int) -> None:
    """Write all of `octets`: one call may write less than it was given."""
    while octets:
        written = os.pwrite(file, octets, position)
        octets, position = octets[written:], position + written


class _Flow:
    """Writes to a file, and lets the disk begin before everything is there.

    Otherwise the bytes would wait in memory until the end, and then all at once be waited for.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._begin = self._end = 0  # what has been written and not been handed to the disk

    def write(self, octets: memoryview, position: int) -> None:
        """Write all of `octets`."""
        for start in range(0, len(octets), _PIECE):
            piece = octets[start : start + _PIECE]
            _write_at(self._file, piece, position + start)
            self._note(position + start, len(piece))

    def _note(self, position: int, written: int) -> None:
        if position != self._end:
            self._begin = position
        self._end = position + written
        if self._end - self._begin >= _PIECE and hasattr(os, "posix_fadvise"):
            # Said of bytes that are not on the disk yet, this starts to write them and keeps them.
            nbytes = self._end - self._begin
            os.posix_fadvise(self._file, self._begin, nbytes, os.POSIX_FADV_DONTNEED)
            self._begin = self._end
