"""Replace a file or a folder as a whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeAlias

from ._leftovers import ASIDE, lock, name_beside, remove, remove_leftovers

Opener: TypeAlias = Callable[[str | os.PathLike[str]], AbstractContextManager[BinaryIO]]
"""Opens a new file for a writer: `replacing`, or that of `creating_files` where something above is atomic."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def creating_files() -> Iterator[Opener]:
    """Bring new files to the disk behind the caller's back, and wait for it at the end.

    Yields
    ------
    Opener
        Opens new files of a folder that is itself temporary.
    """
    syncing: list[Future[None]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="prunepack-sync") as pool:

        @contextlib.contextmanager
        def creating(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
            with Path(path).open("xb") as file:
                yield file
                file.flush()
                syncing.append(pool.submit(_sync_and_close, os.dup(file.fileno())))

        yield creating
        for each in syncing:
            each.result()


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends well.

    Until then the bytes go to ``.NAME.prunepack-XXXX.tmp`` beside it, so that a crash, a full disk
    or Ctrl-C leaves what was at `path` whole; any exception removes the temporary file, and what a
    killed process has left is removed by the next. The new file has the permissions of the one
    it replaces, or those the umask gives. A symbolic link is replaced, what it points to is left
    alone: that may be shared (a cache of models).

    Examples
    --------
    >>> with replacing("config.json") as file:
    ...     _ = file.write(b"{}")
    >>> Path("config.json").read_text()
    '{}'
    """
    target = Path(path)
    mode = _mode_of_regular(target)
    remove_leftovers(target)
    with _locked_file(target) as (temporary, file):
        if mode is not None:
            os.fchmod(file.fileno(), mode)
        yield file
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(target)
    _sync_folder(target.parent)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Make a new folder that takes the place of `path` when the block ends well.

    As `replacing` does for a file. What was at `path` is a folder or absent; the two trade places in
    one step where the system can do that (Linux), and the old one is removed afterwards. Elsewhere
    the old one is set aside first: for a moment there is none, and a process killed in this moment
    leaves the old one as ``.NAME.prunepack-XXXX.old``, which the next run puts back.

    Yields
    ------
    Path
        The new folder, empty.
    """
    remove_leftovers(path)
    with _locked_folder(path) as temporary:
        try:
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            yield temporary
            _sync_all(temporary)
            _put(temporary, path)
        finally:
            remove(temporary)  # the old folder by now, or what came of the new one
    _sync_folder(path.parent)


def _mode_of_regular(target: Path) -> int | None:
    """Return the permissions of an existing file; refuse what a rename would destroy."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(target))
    if not stat.S_ISREG(mode):
        msg = f"path must be a regular file or not exist yet, got {str(target)!r}"
        raise ValueError(msg)
    return mode & 0o777


@contextlib.contextmanager
def _locked_file(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Create a temporary file, and lock it before anybody can take it for dead.

    Any exception removes it, wherever in a ``with`` it comes: one that comes before the block ends
    the generator.
    """
    while True:
        temporary, ours = name_beside(target), True
        try:
            try:
                file = temporary.open("xb")
            except OSError as error:
                ours = False
                error.filename = str(target)  # the name the caller knows
                raise
            with contextlib.ExitStack() as opened:
                opened.callback(_close, file.close)
                if lock(file.fileno(), without_locks=True) and temporary.exists():
                    yield temporary, file
                    return
        except BaseException:
            if ours:
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _locked_folder(target: Path) -> Iterator[Path]:
    """Make a temporary folder, locked like a file."""
    while True:
        temporary, ours = name_beside(target), True
        try:
            try:
                temporary.mkdir()
            except OSError as error:
                ours = False
                error.filename = str(target)
                raise
            with contextlib.ExitStack() as opened:
                descriptor = _opened(temporary)
                if descriptor is None:  # another run took it for dead
                    continue
                opened.callback(_close, partial(os.close, descriptor))
                if lock(descriptor, without_locks=True) and temporary.exists():
                    yield temporary
                    return
        except BaseException:
            if ours:
                remove(temporary)
            raise


def _opened(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _close(close: Callable[[], None]) -> None:
    """Close what holds a lock. The new one is in place by now, or something else has failed."""
    with contextlib.suppress(OSError):
        close()


def _put(temporary: Path, target: Path) -> None:
    """Rename a complete folder to `target`; what was there is then under the other's name."""
    while not _put_where_none_is(temporary, target):
        try:
            if not _exchange(temporary, target):
                aside = name_beside(target, ASIDE)
                target.rename(aside)
                temporary.rename(target)
                remove(aside)
        except FileNotFoundError:  # what another run had put there may be gone again
            if not os.path.lexists(temporary) or os.path.lexists(target):
                raise
        else:
            return


def _put_where_none_is(temporary: Path, target: Path) -> bool:
    """Rename a folder to `target` unless something is there, if only by now."""
    if os.path.lexists(target):
        return False
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths trade places in one step, or return False where that cannot be done."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    renameat2.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    ]
    names = os.fsencode(one), os.fsencode(other)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _sync_all(folder: Path) -> None:
    """Bring everything in a folder to the disk, as a rename must not come before its content."""
    for parent, _, names in os.walk(folder):
        for path in (*(Path(parent, name) for name in names), Path(parent)):
            _sync_and_close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last. The file is in place by now, so failing here is no failure."""
    with contextlib.suppress(OSError):
        _sync_and_close(os.open(folder, os.O_RDONLY | os.O_CLOEXEC))
