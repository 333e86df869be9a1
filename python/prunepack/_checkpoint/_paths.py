"""Where a checkpoint may be written: checked before any work is done."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import FormatError
from .._folder import everything_in, look_into
from .._formats import FORMATS, format_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._source import Checkpoint

NAMES_LISTED = 3


@dataclass(frozen=True)
class Output:
    """Where a checkpoint is to be written, and how.

    Attributes
    ----------
    path : path-like or None
        The file or folder; None for a dry run that is about none.
    max_shard_size : int or None
        Cut tensors into new shards of at most so many bytes.
    in_place : bool
        Whether it may be the checkpoint that is read.
    overwrite : bool
        Whether a folder there may be replaced with files in it that are no part of a checkpoint.
    dry_run : bool
        Whether to write nothing.
    """

    path: str | os.PathLike[str] | None
    max_shard_size: int | None = None
    in_place: bool = False
    overwrite: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.path is None and not self.dry_run:
            msg = "dst must be the file or folder to write, got None; that is for a dry run"
            raise TypeError(msg)
        if self.max_shard_size is not None and self.max_shard_size < 1:
            msg = f"max_shard_size must be at least 1, got {self.max_shard_size}"
            raise ValueError(msg)

    def is_folder(self, source: Checkpoint) -> bool:
        """Tell whether it is to be a folder.

        A folder becomes a folder, unless the name to write has the suffix of a file; a file becomes
        a file, unless it is to be cut into shards.
        """
        if self.max_shard_size is not None:
            return True
        suffix = "" if self.path is None else Path(self.path).suffix.lower()
        return source.folder is not None and suffix not in FORMATS


def checked_target(source: Checkpoint, output: Output, written: Iterable[str]) -> Path:
    """Return the path to write if a checkpoint can be there.

    Parameters
    ----------
    source : Checkpoint
        What is read.
    output : Output
        What is asked for.
    written : iterable of str
        The files that a folder will have.

    Raises
    ------
    ValueError
        If source and target are the same and nobody asked for it, one is in the other, the suffix is
        of no format, or a folder is in the way that is not surely a checkpoint.
    OSError
        If something else is in the way, or the folder to write to is missing.
    """
    assert output.path is not None  # a dry run has no target to check
    target = Path(output.path)
    if not target.parent.is_dir():
        msg = "no such folder to write to; make it first"
        raise FileNotFoundError(errno.ENOENT, msg, str(target.parent))
    same = target.exists() and target.samefile(source.path)
    if same and not output.in_place:
        msg = f"{target} is the checkpoint to read; write elsewhere, or in place if that is meant"
        raise ValueError(msg)
    if output.in_place and not same:
        msg = f"in place means that dst is {source.path}, got {target}"
        raise ValueError(msg)
    if not output.is_folder(source):
        _check_file(target)
    elif not same:
        _check_apart(source, target)
        if os.path.lexists(target):
            _check_replaceable(target, frozenset(written), overwrite=output.overwrite)
    elif not target.is_dir():
        msg = "is a file; name the folder to write the shards to"
        raise NotADirectoryError(errno.ENOTDIR, msg, str(target))
    return target


def _check_file(target: Path) -> None:
    if target.is_dir():
        msg = "is a directory; name the file to write"
        raise IsADirectoryError(errno.EISDIR, msg, str(target))
    format_of(target)


def _check_apart(source: Checkpoint, target: Path) -> None:
    """Refuse a folder in the one that is read, which would carry it along, and the reverse."""
    ours, theirs = target.resolve(), source.path.resolve()
    if source.folder is not None and theirs in ours.parents:
        msg = f"{target} is in {source.path}, the folder to read; write elsewhere"
        raise ValueError(msg)
    if ours in theirs.parents:
        msg = f"{target} holds {source.path}, which is to be read; write elsewhere"
        raise ValueError(msg)


def _check_replaceable(target: Path, written: frozenset[str], *, overwrite: bool) -> None:
    """Refuse to replace a folder that is neither empty nor a checkpoint and nothing else."""
    if target.is_symlink() or not target.is_dir():
        msg = "is a file or a link; name a folder to write"
        raise NotADirectoryError(errno.ENOTDIR, msg, str(target))
    files = set(everything_in(target))
    if not files:
        return
    try:
        own = look_into(target).own
    except FormatError as error:
        msg = f"{target} must be empty or a checkpoint to be replaced, it is a folder: {error}"
        raise ValueError(msg) from error
    others = sorted(files - written - set(own))
    if others and not overwrite:
        listed = ", ".join(others[:NAMES_LISTED])
        more = f" and {len(others) - NAMES_LISTED} more" if len(others) > NAMES_LISTED else ""
        msg = (
            f"{target} holds files that the new checkpoint does not have: {listed}{more};"
            " write elsewhere, or overwrite it if they may go"
        )
        raise ValueError(msg)
