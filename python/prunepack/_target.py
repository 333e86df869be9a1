"""A checkpoint to write: one file, or a folder of shards with its index and what goes along."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ._atomic import creating, replacing_folder
from ._files import create_file, place_in_file
from ._folder import INDEX_NAME, SINGLE_NAME
from ._index import index_text
from ._sparse_bitmask import look_packed

if TYPE_CHECKING:
    from ._files import Tensor, TensorFileWriter, TensorInfo
    from ._source import Checkpoint

    _ShardOpener: TypeAlias = Callable[
        [str, Mapping[str, TensorInfo]], contextlib.AbstractContextManager[TensorFileWriter]
    ]


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


def layout_like(source: Checkpoint) -> Layout:
    """Return the layout that a checkpoint has; that of a file is one shard without an index."""
    if source.folder is None:
        return Layout({SINGLE_NAME: source.names}, None)
    shards: dict[str, tuple[str, ...]] = dict.fromkeys(source.folder.shards, ())
    for name in source.names:
        shards[source.shard_of(name)] += (name,)
    return Layout(shards, source.folder.index_name)


def layout_of_size(plan: Mapping[str, TensorInfo], limit: int) -> Layout:
    """Put tensors in their order into shards of at most `limit` bytes; a larger one is alone."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, info in plan.items():
        if groups[-1] and size + info.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += info.nbytes
    if len(groups) == 1:
        return Layout({SINGLE_NAME: tuple(groups[0])}, None)
    shards = {
        f"model-{number:05}-of-{len(groups):05}.safetensors": tuple(group)
        for number, group in enumerate(groups, 1)
    }
    return Layout(shards, INDEX_NAME)


@contextlib.contextmanager
def create_checkpoint(
    path: Path,
    plan: Mapping[str, TensorInfo],
    *,
    source: Checkpoint,
    layout: Layout | None = None,
    changed: Mapping[str, str] | None = None,
) -> Iterator[CheckpointWriter]:
    """Write a checkpoint tensor by tensor; it takes the place of `path` when the block ends well.

    Parameters
    ----------
    path : Path
        The file, or the folder.
    plan : mapping of str to TensorInfo
        Every tensor that will be written.
    source : Checkpoint
        What it is made from: metadata and all other files are taken over from it.
    layout : Layout, optional
        The shards of a folder; without one a single file is written.
    changed : mapping of str to str, optional
        New text for files of the source that are not to be taken over as they are.
    """
    if layout is None:
        metadata = source.metadata_of(source.path.name)
        shard = Layout({path.name: tuple(plan)}, None)
        with contextlib.ExitStack() as open_files:
            writer = CheckpointWriter(
                shard,
                plan,
                open_files,
                lambda _, infos: create_file(path, infos, metadata=metadata),
            )
            yield writer
            writer.finish()
        return
    described = True if _look_packed(plan) else None
    with replacing_folder(path) as folder, contextlib.ExitStack() as open_files:

        def opened(
            name: str, infos: Mapping[str, TensorInfo]
        ) -> contextlib.AbstractContextManager[TensorFileWriter]:
            return create_file(
                folder / name,
                infos,
                metadata=source.metadata_of(name) or source.metadata,
                describe_packed=described,
                opened=creating,
            )

        writer = CheckpointWriter(layout, plan, open_files, opened)
        yield writer
        writer.finish()
        if layout.index_name is not None:
            text = index_text(writer.shard_of, _index_metadata(source), writer.total_size)
            (folder / layout.index_name).write_text(text, "utf-8")
        _carry(source, folder, changed or {})


class CheckpointWriter:
    """What `create_checkpoint` hands to its block.

    Attributes
    ----------
    order : tuple of str
        All tensors in the order in which they are written at once; others wait in a temporary file.
    shard_of : dict of str to str
        For each plain tensor written so far the file it is in.
    total_size : int
        Their bytes.
    """

    def __init__(
        self,
        layout: Layout,
        plan: Mapping[str, TensorInfo],
        open_files: contextlib.ExitStack,
        opened: _ShardOpener,
    ) -> None:
        self._layout = layout
        self._plan = plan
        self._open_files = open_files
        self._opened = opened
        self._shard = {name: shard for shard, names in layout.shards.items() for name in names}
        self._writers: dict[str, TensorFileWriter] = {}
        self._closing: dict[str, contextlib.ExitStack] = {}
        self._left = {shard: len(names) for shard, names in layout.shards.items()}
        self.order = tuple(
            name
            for names in layout.shards.values()
            for name in sorted(names, key=lambda name: place_in_file(name, plan[name]))
        )
        self.shard_of: dict[str, str] = {}
        self.total_size = 0

    def write(self, name: str, tensor: Tensor) -> None:
        """Write one of the planned tensors, once."""
        shard = self._shard[name]
        writer = self._writer(shard)
        before = len(writer.stored)
        writer.write(name, tensor)
        for stored in tuple(writer.stored)[before:]:
            self.shard_of[stored] = shard
            self.total_size += writer.stored[stored]
        self._left[shard] -= 1
        if self._left[shard] == 0 and len(self._left) > 1:
            self._closing.pop(shard).close()

    def finish(self) -> None:
        """Complete the files that are still open, and make those that hold no tensor at all."""
        for shard, names in self._layout.shards.items():
            if not names:
                self._writer(shard)
        for closing in self._closing.values():
            closing.close()
        self._closing.clear()

    def _writer(self, shard: str) -> TensorFileWriter:
        if shard not in self._writers:
            infos = {name: self._plan[name] for name in self._layout.shards[shard]}
            stack = self._open_files.enter_context(contextlib.ExitStack())
            self._writers[shard] = stack.enter_context(self._opened(shard, infos))
            self._closing[shard] = stack
        return self._writers[shard]


def _look_packed(plan: Mapping[str, TensorInfo]) -> bool:
    """Tell whether a reader of all shards needs to be told which tensors are packed."""
    return any(info.packed for info in plan.values()) or look_packed(plan)


def _index_metadata(source: Checkpoint) -> Mapping[str, Any]:
    if source.folder is None or source.folder.index is None:
        return {}
    return source.folder.index.metadata


def _carry(source: Checkpoint, folder: Path, changed: Mapping[str, str]) -> None:
    """Take over the files of the source that hold no tensors."""
    carried = () if source.folder is None else source.folder.carried
    for name in carried:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in changed:
            target.write_text(changed[name], "utf-8")
        else:
            shutil.copyfile(source.path / name, target)
            shutil.copymode(source.path / name, target)
