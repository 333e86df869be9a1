"""The bytes of an open file: mapped into memory, or copied into memory of our own.

What is mapped costs nothing until it is touched, but stays the file's: another process that cuts the
file short kills whoever touches what is gone, and one that writes to it changes what was checked.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeAlias

import numpy as np

from ._errors import FormatError

if TYPE_CHECKING:
    import numpy.typing as npt

    Owner: TypeAlias = npt.NDArray[np.uint8]

_WORTH_KEEPING = 1 << 20
_KEPT = 192 << 20
_ALIGNMENT = 16  # more than any element needs


class FileBytes(Protocol):
    """Where the bytes of a file come from."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def span(self, begin: int, nbytes: int, where: str) -> Any:
        """Return some of them as a buffer; `where` is what an error begins with."""
        ...

    def close(self) -> None:
        """Let go of the file; buffers stay valid."""
        ...


class MappedBytes:
    """Views of a file that is mapped; the mapping goes with the last of them."""

    def __init__(self, file: BinaryIO) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # The file may have grown or shrunk since it was opened: this is what views must stay within.
        self.size = len(self._map)

    def span(self, begin: int, nbytes: int, where: str) -> Any:  # noqa: ARG002  # cannot fail
        """Return a view of some bytes."""
        return memoryview(self._map)[begin : begin + nbytes]

    def close(self) -> None:
        """Do nothing: views need the mapping."""


class CopiedBytes:
    """Copies of what a file holds, each in memory that nobody else can touch.

    None is handed out once the file is not as it was when `before` was taken, so that all of them
    are of one state of the file.
    """

    def __init__(self, file: BinaryIO, before: FileState, buffers: Buffers) -> None:
        self._file = os.dup(file.fileno())
        self._before = before
        self.size = before.size
        self._buffers = buffers

    def span(self, begin: int, nbytes: int, where: str) -> Any:
        """Read some bytes, or raise a FormatError if the file has changed."""
        buffer = self._buffers.take(nbytes, begin)
        rest = buffer
        while rest:
            count = os.preadv(self._file, [rest], begin)
            if count == 0:
                self._before.check(self._file, where)
                msg = f"{where}: ends {len(rest)} bytes early"
                raise FormatError(msg)
            rest, begin = rest[count:], begin + count
        self._before.check(self._file, where)
        return buffer

    def close(self) -> None:
        """Close the file, of which nothing can be lost: that fails without a word."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = -1


class FileState(NamedTuple):
    """What tells that a file has been written to."""

    size: int
    changed: int

    @classmethod
    def of(cls, descriptor: int) -> FileState:
        """Return what an open file is like now."""
        status = os.fstat(descriptor)
        return cls(status.st_size, status.st_mtime_ns)

    def check(self, descriptor: int, where: str) -> None:
        """Raise a FormatError, beginning with `where`, if the file is like this no more."""
        now = FileState.of(descriptor)
        if now != self:
            how = (
                f"it had {self.size} bytes and has {now.size}"
                if now.size != self.size
                else "another process has written to it"
            )
            msg = f"{where}: file must not change while it is read, {how}"
            raise FormatError(msg)


class Buffers:
    """Memory that is used again once nothing refers to it: new memory must be cleared first.

    Examples
    --------
    >>> buffers = Buffers()
    >>> first = np.frombuffer(buffers.take(1 << 20), np.uint8)
    >>> where = first.ctypes.data
    >>> del first
    >>> np.frombuffer(buffers.take(1 << 20), np.uint8).ctypes.data == where
    True
    """

    def __init__(self) -> None:
        self._free: deque[Owner] = deque()
        # An array may go, and its memory come back, in the middle of `take`.
        self._lock = threading.RLock()

    def take(self, nbytes: int, begin: int = 0) -> memoryview:
        """Return a buffer, whose memory comes back when the last reference to it is gone.

        It lies in its page as the bytes from `begin` on do in a page of the file, as far as
        alignment allows: the system copies a third faster so.
        """
        if nbytes < _WORTH_KEEPING:
            return np.empty(nbytes, np.uint8).data
        needed = nbytes + mmap.PAGESIZE
        owner = self._found(needed)
        if owner is None:
            owner = np.empty(needed, np.uint8)
        first = (begin - begin % _ALIGNMENT - owner.ctypes.data) % mmap.PAGESIZE
        # Buffers and arrays made from this one's buffer all keep it alive, and not just the owner.
        lent = owner[first : first + nbytes]
        weakref.finalize(lent, self._take_back, owner).atexit = False
        return lent.data

    def _found(self, nbytes: int) -> Owner | None:
        with self._lock:
            for _ in range(len(self._free)):
                owner = self._free.popleft()
                if nbytes <= owner.nbytes <= 2 * nbytes:
                    return owner
                self._free.append(owner)
        return None

    def _take_back(self, owner: Owner) -> None:
        with self._lock:
            self._free.append(owner)
            while sum(each.nbytes for each in tuple(self._free)) > _KEPT:
                self._free.popleft()
