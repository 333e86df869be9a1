"""Files of masks: one bit a weight, under the names of the weights they are for."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._entries import checked_nbytes
from ._errors import FormatError
from ._file_reader import TensorFile, open_file
from ._file_writer import create_file
from ._masks import Mask
from ._strict_json import Object, parse, shown
from ._tensor_info import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METADATA_KEY = "prunepack.masks"
VERSION = 1


class MaskInfo(NamedTuple):
    """The dense shape of a mask, and the pattern it was made with if somebody said."""

    shape: tuple[int, ...]
    pattern: str | None = None

    @property
    def stored(self) -> TensorInfo:
        """The tensor that holds the bits."""
        columns = self.shape[-1] if self.shape else 1
        return TensorInfo("U8", (*self.shape[:-1], -(-columns // 8)))


def is_mask_file(file: TensorFile) -> bool:
    """Tell whether a file says that it holds masks."""
    return METADATA_KEY in file.metadata


class MaskFile:
    """An open file of masks.

    Parameters
    ----------
    file : TensorFile
        The file, which stays the caller's to close.

    Raises
    ------
    FormatError
        If it is no file of masks, or what it says of them does not agree with what it holds.
    """

    def __init__(self, file: TensorFile) -> None:
        self._file = file
        self.infos = _described(file)

    def read(self, name: str) -> Mask:
        """Read one mask, a view of the file where that is mapped."""
        bits = self._file.read(name)
        assert isinstance(bits, np.ndarray)  # its dtype was checked
        rows = bits.reshape(-1, bits.shape[-1]) if bits.size else bits.reshape(_empty(bits))
        try:
            return Mask(self.infos[name].shape, rows)
        except ValueError as error:
            msg = f"{self._file.path}: mask {shown(name)}: {error}"
            raise FormatError(msg) from error


def _empty(bits: np.ndarray[Any, Any]) -> tuple[int, int]:
    rows = 1
    for extent in bits.shape[:-1]:
        rows *= extent
    return rows, bits.shape[-1]


@contextlib.contextmanager
def open_masks(path: str | os.PathLike[str]) -> Iterator[MaskFile]:
    """Open a file of masks."""
    with open_file(path) as file:
        yield MaskFile(file)


@contextlib.contextmanager
def create_masks(
    path: str | os.PathLike[str], masks: Mapping[str, MaskInfo]
) -> Iterator[MaskFileWriter]:
    """Write a file of masks one by one; it takes the place of `path` when the block ends well."""
    tree = {
        "version": VERSION,
        "masks": {
            name: {"shape": list(info.shape), "pattern": info.pattern}
            for name, info in masks.items()
        },
    }
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    plan = {name: info.stored for name, info in masks.items()}
    with create_file(Path(path), plan, metadata={METADATA_KEY: text}) as file:
        yield MaskFileWriter(file, plan)


class MaskFileWriter:
    """What `create_masks` hands to its block."""

    def __init__(self, file: Any, plan: Mapping[str, TensorInfo]) -> None:
        self._file = file
        self._plan = plan

    def write(self, name: str, mask: Mask) -> None:
        """Write one of the planned masks, once."""
        self._file.write(name, mask.bits.reshape(self._plan[name].shape))


def _described(file: TensorFile) -> dict[str, MaskInfo]:
    where = f"{file.path}: __metadata__ {METADATA_KEY!r}"
    if not is_mask_file(file):
        msg = f"{file.path}: must be a file of masks, with the metadata key {METADATA_KEY!r}"
        raise FormatError(msg)
    tree = parse(file.metadata[METADATA_KEY], where)
    members = tree.members(where) if isinstance(tree, Object) else {}
    masks = members.get("masks")
    if (
        members.keys() != {"version", "masks"}
        or members["version"] != VERSION
        or not isinstance(masks, Object)
    ):
        version = shown(members.get("version"))
        msg = f"{where}: must hold version {VERSION} and 'masks', got version {version}"
        raise FormatError(msg)
    infos = {name: _info(name, value, where) for name, value in masks.members(where).items()}
    if infos.keys() != set(file.names):
        name = min(infos.keys() ^ set(file.names))
        msg = f"{where}: must name every tensor of the file and no other, {shown(name)} differs"
        raise FormatError(msg)
    for name, info in infos.items():
        found, stored = file.info(name), info.stored
        if (found.dtype, found.shape) != (stored.dtype, stored.shape):
            msg = (
                f"{file.path}: mask {shown(name)} must be U8 of shape {shown(stored.shape)} for"
                f" weights of shape {shown(info.shape)}, got {found.dtype} of shape"
                f" {shown(found.shape)}"
            )
            raise FormatError(msg)
    return infos


def _info(name: str, value: Any, where: str) -> MaskInfo:
    members = value.members(where) if isinstance(value, Object) else {}
    shape, pattern = members.get("shape"), members.get("pattern")
    if (
        members.keys() != {"shape", "pattern"}
        or not isinstance(shape, list)
        or not all(type(extent) is int for extent in shape)
        or checked_nbytes(tuple(shape), 8) is None
        or not isinstance(pattern, str | None)
    ):
        msg = f"{where}: {shown(name)} must have a 'shape' and a 'pattern', got {shown(value)}"
        raise FormatError(msg)
    return MaskInfo(tuple(shape), pattern)
