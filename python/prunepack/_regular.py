"""Open regular files only: a pipe would be waited for, a device would never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ._errors import FormatError

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read, or raise a ValueError that says what it is instead.

    Raises
    ------
    ValueError
        If it is a pipe, a socket or a device.
    OSError
        If it cannot be opened, or is a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "Is a directory", os.fspath(path))
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            msg = f"{os.fspath(path)}: must be a regular file, it is {kind}"
            raise ValueError(msg)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: Path, limit: int) -> str:
    """Read a small file of UTF-8 text.

    Raises
    ------
    FormatError
        If it has more than `limit` bytes, or is no UTF-8.
    """
    with open_regular(path) as file:
        # Python makes room for as much as it is asked to read.
        octets = file.read(min(os.fstat(file.fileno()).st_size, limit) + 1)
    if len(octets) > limit:
        msg = f"{path}: must have at most {limit} bytes, it has more"
        raise FormatError(msg)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        msg = f"{path}: must be UTF-8, byte {error.start} is not"
        raise FormatError(msg) from None
