"""The formats of files of tensors, by suffix: ``.safetensors``, ``.npz`` and ``.npy``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ._file_bytes import Buffers
from ._npy import NpyFile, npy_writer
from ._npz import NpzFile, npz_header_nbytes, npz_writer
from ._safetensors import SafetensorsFile
from ._safetensors_writer import safetensors_header_nbytes, safetensors_writer
from ._sparse_bitmask import Store

if TYPE_CHECKING:
    import numpy as np

    from ._atomic import Opener
    from ._entries import Entry, RawTensor


class OpenStore(Store, Protocol):
    """A file of plain named tensors that is open."""

    def close(self) -> None: ...


class StoreWriter(Protocol):
    """A file of plain named tensors that is being written."""

    def write(self, name: str, tensor: np.ndarray[Any, Any] | RawTensor) -> None: ...


@dataclass(frozen=True)
class Format:
    """How files of one suffix are opened, to copy from or to view, and written."""

    open: Callable[[str], OpenStore]
    view: Callable[[str], OpenStore]
    write: Callable[
        [str, Mapping[str, Entry], Mapping[str, str], Opener],
        AbstractContextManager[StoreWriter],
    ]
    header_nbytes: Callable[[Mapping[str, Entry], Mapping[str, str]], int]


FORMATS = {
    ".safetensors": Format(
        lambda path: SafetensorsFile(path, Buffers()),
        SafetensorsFile,
        safetensors_writer,
        safetensors_header_nbytes,
    ),
    ".npz": Format(NpzFile, NpzFile, npz_writer, npz_header_nbytes),
    ".npy": Format(NpyFile, NpyFile, npy_writer, npz_header_nbytes),
}


def format_of(path: str | os.PathLike[str]) -> Format:
    """Return the format that a file has by its suffix, or raise a ValueError."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        msg = f"path must end in {', '.join(FORMATS)}, got {os.fspath(path)!r}"
        raise ValueError(msg)
    return FORMATS[suffix]
