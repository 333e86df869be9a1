"""Temporary files and folders: their names, how a living one is known, and how dead ones go.

Whoever writes one holds a lock on it that the system drops with the process, however that ends. So
one that can be locked belongs to nobody any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

TEMPORARY, ASIDE = "tmp", "old"
_NAME = re.compile(r"\..*\.prunepack-[0-9a-f]{16}\.(tmp|old)", re.DOTALL)

_logger = logging.getLogger("prunepack")


def is_leftover_name(name: str) -> bool:
    """Tell whether a file or folder of this name is a temporary one of prunepack."""
    return _NAME.fullmatch(name) is not None


def name_beside(target: Path, kind: str = TEMPORARY) -> Path:
    """Return a new name for a temporary file or folder beside `target`."""
    return target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.{kind}")


def lock(descriptor: int, *, without_locks: bool) -> bool:
    """Lock an open temporary file or folder for this process; False if another holds it.

    A file system may have no locks. Then whoever made a file may write to it (`without_locks` is
    True), and nobody dares to remove one (False).
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return without_locks and error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def remove_leftovers(target: Path) -> None:
    """Remove what interrupted runs have left beside `target`, and say so in the log.

    What was set aside to make room for a new folder is put back if that never came.
    """
    with contextlib.suppress(OSError):
        found = [path for path in target.parent.iterdir() if path.name.startswith(_prefix(target))]
        for path in sorted(found):
            if is_leftover_name(path.name):
                with _locked(path) as is_dead:
                    if is_dead:
                        _remove(path, target)


def remove(path: Path) -> None:
    """Remove a temporary file or folder, as far as that is possible."""
    with contextlib.suppress(OSError):  # rmtree tells of some errors even if it is to ignore them
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    # A name may be 255 bytes long: 50 characters of it keep the temporary's below that.
    return f".{target.name[:50]}.prunepack-"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Tell whether a temporary file or folder is nobody's, and see to it that it stays so.

    One that has just been made and is not locked yet seems dead, too: whoever made it must not get
    the lock between our look at it and its end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield lock(descriptor, without_locks=False)
    finally:
        os.close(descriptor)


def _remove(path: Path, target: Path) -> None:
    if path.suffix == f".{ASIDE}" and not os.path.lexists(target):
        path.rename(target)
        _logger.warning("put %s back, which an interrupted run had set aside", target)
        return
    remove(path)
    _logger.warning("removed %s, which an interrupted run had left", path)
