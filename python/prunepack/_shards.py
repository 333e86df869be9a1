"""Several safetensors files that are read as one."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ._closing import ClosesItself
from ._errors import FormatError
from ._file_bytes import Buffers
from ._safetensors import SafetensorsFile
from ._strict_json import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from ._entries import Entry, RawTensor


@final
class Shards(ClosesItself):
    """The files of one model, all open at once.

    Parameters
    ----------
    folder : Path
        Where they are.
    shards : sequence of str
        Their names, in the order in which their tensors are listed.
    expected : mapping of str to str, optional
        For each tensor the file that must hold it, as the index says.
    index : str
        What to call the index in errors.

    Raises
    ------
    FormatError
        If a file is missing or broken, two hold a tensor of the same name, or the index names a tensor
        that is not there, or leaves one out.

    Attributes
    ----------
    path : str
        The folder.
    names : tuple of str
        The tensors, file by file in the order of their data.
    metadata : dict of str to str
        That of all files; of two that differ the first.
    files : tuple of SafetensorsFile
        The files.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[str],
        expected: Mapping[str, str] | None = None,
        index: str = "the index",
    ) -> None:
        self.path = str(folder)
        buffers = Buffers()  # one for all, or each shard would keep memory for itself
        with contextlib.ExitStack() as stack:
            self.files = tuple(
                stack.enter_context(_open(folder / shard, buffers, index)) for shard in shards
            )
            self._file_of: dict[str, SafetensorsFile] = {}
            for file in self.files:
                for name in file.names:
                    self._add(name, file)
            if expected is not None:
                self._compare(expected, index)
            stack.pop_all()
        self.names = tuple(self._file_of)
        self.metadata: dict[str, str] = {}
        for file in reversed(self.files):
            self.metadata |= file.metadata

    def __contains__(self, name: object) -> bool:
        return name in self._file_of

    def close(self) -> None:
        """Close all files; arrays read from them stay valid."""
        for file in self.files:
            file.close()

    def info(self, name: str) -> Entry:
        """Return dtype code, shape and bytes of one tensor."""
        return self._holding(name).info(name)

    def array(self, name: str) -> np.ndarray[Any, Any] | RawTensor:
        """Read one tensor into read-only memory."""
        return self._holding(name).array(name)

    def shard_of(self, name: str) -> str:
        """Return the name of the file that holds a tensor."""
        return Path(self._holding(name).path).name

    def metadata_of(self, shard: str) -> dict[str, str] | None:
        """Return the metadata of one file, or None if there is no such file."""
        for file in self.files:
            if Path(file.path).name == shard:
                return dict(file.metadata)
        return None

    def _holding(self, name: str) -> SafetensorsFile:
        file = self._file_of.get(name)
        if file is None:
            msg = f"{self.path} holds no tensor {shown(name)}"
            raise ValueError(msg)
        return file

    def _add(self, name: str, file: SafetensorsFile) -> None:
        other = self._file_of.setdefault(name, file)
        if other is not file:
            msg = (
                f"{file.path}: tensor {shown(name)} must be in one file,"
                f" it is also in {Path(other.path).name}"
            )
            raise FormatError(msg)

    def _compare(self, expected: Mapping[str, str], index: str) -> None:
        for name, shard in expected.items():
            file = self._file_of.get(name)
            if file is None or Path(file.path).name != shard:
                there = "it is not there" if file is None else f"it is in {Path(file.path).name}"
                msg = f"{index}: tensor {shown(name)} must be in {shard} as it says, {there}"
                raise FormatError(msg)
        for name, file in self._file_of.items():
            if name not in expected:
                msg = f"{index}: must name every tensor, {shown(name)} of {file.path} is left out"
                raise FormatError(msg)


def _open(path: Path, buffers: Buffers, index: str) -> SafetensorsFile:
    try:
        return SafetensorsFile(path, buffers)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
            raise
    msg = f"{index}: names {path.name}, which is not there"
    raise FormatError(msg)
