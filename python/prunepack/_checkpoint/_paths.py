"""Where a checkpoint may be read and written: checked before any work is done."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .._files import FORMATS, format_of

if TYPE_CHECKING:
    from .._source import Checkpoint


def target_of(
    source: Checkpoint,
    dst: str | os.PathLike[str],
    *,
    in_place: bool = False,
    resharded: bool = False,
) -> tuple[Path, bool]:
    """Return the path to write, and whether it is to be a folder.

    A folder becomes a folder, unless the name to write has the suffix of a file; a file becomes a
    file, unless it is to be cut into shards.

    Raises
    ------
    ValueError
        If source and target are the same and nobody asked for it, one is in the other, or the suffix
        is of no format.
    OSError
        If something is in the way, or the folder to write to is missing.
    """
    target = Path(dst)
    as_folder = resharded or (source.folder is not None and target.suffix not in FORMATS)
    if not target.parent.is_dir():
        msg = "no such folder to write to; make it first"
        raise FileNotFoundError(errno.ENOENT, msg, str(target.parent))
    if target.exists() and target.samefile(source.path) and not in_place:
        msg = f"{target} is the checkpoint to read; write elsewhere, or in place if that is meant"
        raise ValueError(msg)
    if not as_folder:
        if target.is_dir():
            msg = "is a directory; name the file to write"
            raise IsADirectoryError(errno.EISDIR, msg, str(target))
        format_of(target)
    return target, as_folder
