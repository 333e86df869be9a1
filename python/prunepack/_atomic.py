"""Replace a file as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends well.

    Until then the bytes go to ``.NAME.prunepack-XXXX.tmp`` beside it, so that a crash, a full disk
    or Ctrl-C leaves what was at `path` whole; any exception removes the temporary file. The new
    file has the permissions of the one it replaces, or those the umask gives. A symbolic link
    is replaced, what it points to is left alone: that may be shared (a cache of models).

    Examples
    --------
    >>> with replacing("config.json") as file:
    ...     _ = file.write(b"{}")
    >>> Path("config.json").read_text()
    '{}'
    """
    target = Path(path)
    mode = _mode_of_regular(target)
    # A name may be 255 bytes long: 50 characters of it keep the temporary's below that.
    name = f".{target.name[:50]}.prunepack-{secrets.token_hex(8)}.tmp"
    temporary = target.with_name(name)
    try:
        with _create(temporary, target) as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _mode_of_regular(target: Path) -> int | None:
    """Return the permissions of an existing file; refuse what a rename would destroy."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory", str(target))
    if not stat.S_ISREG(mode):
        msg = f"path must be a regular file or not exist yet, got {str(target)!r}"
        raise ValueError(msg)
    return mode & 0o777


def _create(temporary: Path, target: Path) -> BinaryIO:
    try:
        return temporary.open("xb")
    except OSError as error:
        error.filename = str(target)  # the name the caller knows
        raise


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last. The file is in place by now, so failing here is no failure."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
