"""What a model's folder holds: its tensor files, their index, and everything else."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._errors import FormatError
from ._index import INDEX_SUFFIX, Index, read_index
from ._leftovers import is_leftover_name

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


@dataclass(frozen=True)
class Folder:
    """The files of a model's folder, by their parts in it.

    Attributes
    ----------
    path : Path
        The folder.
    shards : tuple of str
        Names of the files with its tensors.
    index_name : str or None
        Name of the index, where there is one.
    index : Index or None
        What it says.
    carried : tuple of str
        Paths below the folder of all its other files.
    """

    path: Path
    shards: tuple[str, ...]
    index_name: str | None
    index: Index | None
    carried: tuple[str, ...]

    @property
    def own(self) -> tuple[str, ...]:
        """The files with its tensors, and the index."""
        return (*self.shards, *((self.index_name,) if self.index_name else ()))

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        return sum((self.path / name).stat().st_size for name in (*self.own, *self.carried))


def look_into(path: Path) -> Folder:
    """Find out what is what in a model's folder.

    Raises
    ------
    FormatError
        If it holds no safetensors file, several of which none is the model's, or something that is
        neither a file nor a folder.
    """
    files = tuple(_files_below(path))
    indexes = [name for name in files if name.endswith(INDEX_SUFFIX) and "/" not in name]
    if INDEX_NAME in indexes:
        indexes = [INDEX_NAME]
    if len(indexes) > 1:
        msg = f"{path}: must have one index, it has {', '.join(indexes)}"
        raise FormatError(msg)
    index = read_index(path / indexes[0]) if indexes else None
    shards = index.shards if index else (_only_model(path, files),)
    own = {*shards, *indexes}
    carried = tuple(name for name in files if name not in own)
    return Folder(path, shards, indexes[0] if indexes else None, index, carried)


def everything_in(path: Path) -> Iterator[str]:
    """Yield the paths of all files and links below a folder, hidden ones too."""
    for parent, folders, names in os.walk(path):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            yield str(Path(parent, name).relative_to(path))


def _only_model(path: Path, files: tuple[str, ...]) -> str:
    models = [name for name in files if name.endswith(".safetensors") and "/" not in name]
    if SINGLE_NAME in models:
        return SINGLE_NAME
    if len(models) == 1:
        return models[0]
    if not models:
        msg = f"{path}: must hold {SINGLE_NAME} or {INDEX_NAME}, it holds no .safetensors file"
    else:
        msg = f"{path}: must hold {INDEX_NAME} to tell which of its {len(models)} files is which"
    raise FormatError(msg)


def _files_below(path: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, in order; links count as what they lead to."""
    yield from _walk(path, "", frozenset())


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    status = folder.stat()
    place = status.st_dev, status.st_ino
    if place in above:
        msg = f"{folder}: must not be a link to a folder that it is in"
        raise FormatError(msg)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if is_leftover_name(entry.name):
            continue
        is_folder, is_file = _kind(entry)
        if is_folder:
            # .git and .cache tell of this folder, not of the model.
            if not entry.name.startswith("."):
                yield from _walk(Path(entry), f"{prefix}{entry.name}/", above | {place})
        elif is_file:
            yield prefix + entry.name
        else:
            kind = "a link to nothing" if entry.is_symlink() else "neither file nor folder"
            msg = f"{entry.path}: must be a file or a folder to be carried along, it is {kind}"
            raise FormatError(msg)


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Tell whether an entry is or leads to a folder, or a file."""
    try:
        return entry.is_dir(), entry.is_file()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False, False  # a link that leads to itself leads to nothing
