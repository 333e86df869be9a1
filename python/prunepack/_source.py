"""A checkpoint to read: one file of tensors, or a model's folder. What is above need not know which."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, final

from ._closing import ClosesItself
from ._file_reader import TensorFile, open_file
from ._folder import Folder, look_into
from ._shards import Shards
from ._sparse_bitmask import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._tensor_info import Tensor, TensorInfo


def nbytes_of(path: Path) -> int:
    """Return the bytes of all files of a checkpoint."""
    return look_into(path).nbytes if path.is_dir() else path.stat().st_size


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a .safetensors, .npz or .npy file, or the folder of a Hugging Face model.

    Returns
    -------
    Checkpoint
        A context manager; tensors are read one at a time.

    Raises
    ------
    FormatError
        If a file is not what its format requires, or the index and the files do not agree.
    OSError
        If a file cannot be read.
    """
    return Checkpoint(Path(path))


@final
class Checkpoint(ClosesItself):
    """An open checkpoint.

    Attributes
    ----------
    path : Path
        The file or the folder.
    folder : Folder or None
        What the folder holds; None for a file.
    names : tuple of str
        The tensors: shard by shard, in each in the order of their data.
    nbytes : int
        The bytes of all files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder: Folder | None = None
        self._shards: Shards | None = None
        if path.is_dir():
            self.folder = look_into(path)
            self._shards = _open_shards(self.folder)
            self._tensors = _tensors_of(self._shards)
            self.nbytes = self.folder.nbytes
        else:
            self._tensors = open_file(path)
            self.nbytes = nbytes_of(path)
        self.names = self._tensors.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def close(self) -> None:
        """Close all files; tensors read from them stay valid."""
        self._tensors.close()

    def info(self, name: str) -> TensorInfo:
        """Describe one tensor without reading its weights."""
        return self._tensors.info(name)

    def infos(self) -> dict[str, TensorInfo]:
        """Describe all tensors, in their order."""
        return {name: self.info(name) for name in self.names}

    def read(self, name: str) -> Tensor:
        """Read one tensor; FormatError if a file has been written to since it was opened."""
        return self._tensors.read(name)

    def shard_of(self, name: str) -> str:
        """Return the name of the file that holds a tensor: of its first part, if it is packed."""
        if self._shards is None:
            return self.path.name
        return self._shards.shard_of(self._tensors.stored_names(name)[0])

    @property
    def file(self) -> TensorFile:
        """All its tensors as one file."""
        return self._tensors

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of all its files, without prunepack's own key."""
        return self._tensors.metadata

    def metadata_of(self, shard: str) -> Mapping[str, str]:
        """Return the metadata of one of its files, or of all if it has no such file.

        Without prunepack's own key.
        """
        found = None if self._shards is None else self._shards.metadata_of(shard)
        if found is None:
            return self._tensors.metadata
        return {key: text for key, text in found.items() if key != METADATA_KEY}


def _open_shards(folder: Folder) -> Shards:
    if folder.index is None or folder.index_name is None:
        return Shards(folder.path, folder.shards)
    index = str(folder.path / folder.index_name)
    return Shards(folder.path, folder.shards, folder.index.shard_of, index)


def _tensors_of(shards: Shards) -> TensorFile:
    try:
        return TensorFile(shards, shards.files)
    except BaseException:
        shards.close()
        raise
