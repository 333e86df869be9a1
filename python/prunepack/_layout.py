"""Which tensors of a model go into which of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._folder import INDEX_NAME, SINGLE_NAME

if TYPE_CHECKING:
    from ._source import Checkpoint
    from ._storage import Storage
    from ._tensor_info import TensorInfo


@dataclass(frozen=True)
class Layout:
    """Which tensors go into which file of a folder.

    Attributes
    ----------
    shards : dict of str to tuple of str
        For each file the tensors in it.
    index_name : str or None
        The index to write, if there is to be one.
    """

    shards: dict[str, tuple[str, ...]]
    index_name: str | None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files."""
        return (*self.shards, *((self.index_name,) if self.index_name else ()))


def layout_like(source: Checkpoint) -> Layout:
    """Return the layout that a checkpoint has; that of a file is one shard without an index."""
    if source.folder is None:
        return Layout({SINGLE_NAME: source.names}, None)
    shards: dict[str, tuple[str, ...]] = dict.fromkeys(source.folder.shards, ())
    for name in source.names:
        shards[source.shard_of(name)] += (name,)
    return Layout(shards, source.folder.index_name)


def layout_of_size(plan: Mapping[str, TensorInfo], storage: Storage, limit: int) -> Layout:
    """Put tensors in their order into shards of at most `limit` bytes; a larger one is alone."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, info in plan.items():
        nbytes = info.nbytes_in(storage)
        if groups[-1] and size + nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += nbytes
    if len(groups) == 1:
        return Layout({SINGLE_NAME: tuple(groups[0])}, None)
    shards = {
        f"model-{number:05}-of-{len(groups):05}.safetensors": tuple(group)
        for number, group in enumerate(groups, 1)
    }
    return Layout(shards, INDEX_NAME)
