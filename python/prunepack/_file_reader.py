"""Reads files of packed and dense tensors, tensor by tensor."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, final

from ._closing import ClosesItself
from ._formats import format_of
from ._sparse_bitmask import METADATA_KEY, dense_shape, find_packed, read_packed, stored_values
from ._tensor_info import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._formats import OpenStore
    from ._sparse_bitmask import Store
    from ._tensor_info import Tensor


def open_file(path: str | os.PathLike[str], *, mapped: bool = False) -> TensorFile:
    """Open a file of tensors; the suffix says which format it has.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    mapped : bool
        Whether its tensors may be views of the file, which another process may change.

    Returns
    -------
    TensorFile
        A context manager; tensors are read one at a time.
    """
    format = format_of(path)
    store = (format.view if mapped else format.open)(os.fspath(path))
    try:
        return TensorFile(store)
    except BaseException:
        store.close()
        raise


@final
class TensorFile(ClosesItself):
    """An open file of packed and dense tensors.

    Attributes
    ----------
    path : str
        The file's path as it was given.
    names : tuple of str
        The tensors in the order of the file, packed ones under the name they had as dense ones.
    metadata : dict of str to str
        The file's metadata without prunepack's own.
    """

    def __init__(self, store: OpenStore, files: Sequence[Store] = ()) -> None:
        self._store = store
        self._packed = find_packed(store, files or (store,))
        self.path = store.path
        self.names = self._logical_names()
        self._known_names = frozenset(self.names)
        self.metadata = {key: text for key, text in store.metadata.items() if key != METADATA_KEY}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._known_names

    def close(self) -> None:
        """Close the file; tensors read from it stay valid."""
        self._store.close()

    def stored_names(self, name: str) -> tuple[str, ...]:
        """Return the names under which a tensor is stored: its own, or those of its parts."""
        origin = self._packed.get(name)
        if origin is None:
            return (name,)
        return tuple(part for part in origin.parts() if part in self._store)

    def info(self, name: str) -> TensorInfo:
        """Describe one tensor without reading its weights."""
        origin = self._packed.get(name)
        if origin is None:
            return TensorInfo.of_entry(self._store.info(name))
        values = stored_values(self._store, name, origin)
        shape = dense_shape(self._store, name, origin)
        return TensorInfo(values.dtype, shape, True, math.prod(values.shape), origin.pattern)

    def read(self, name: str) -> Tensor:
        """Read one tensor, read-only views of the file where it is mapped."""
        origin = self._packed.get(name)
        return read_packed(self._store, name, origin) if origin else self._store.array(name)

    def _logical_names(self) -> tuple[str, ...]:
        """Put each packed tensor where the first of its parts is."""
        owners = {part: name for name, origin in self._packed.items() for part in origin.parts()}
        return tuple(dict.fromkeys(owners.get(stored, stored) for stored in self._store.names))
