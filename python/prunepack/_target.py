"""A checkpoint to write: one file, or a folder of shards with its index and what goes along."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ._atomic import creating_files, replacing, replacing_folder
from ._file_bytes import FileState
from ._file_writer import create_file, header_nbytes, place_in_file, stored_names
from ._folder import everything_in
from ._index import index_text
from ._layout import Layout
from ._leftovers import is_leftover_name
from ._regular import open_regular
from ._sparse_bitmask import look_packed
from ._storage import PACKED, Storage

if TYPE_CHECKING:
    from ._file_writer import TensorFileWriter
    from ._source import Checkpoint
    from ._tensor_info import Tensor, TensorInfo

    _ShardOpener: TypeAlias = Callable[
        [str, Mapping[str, TensorInfo]], contextlib.AbstractContextManager[TensorFileWriter]
    ]


@contextlib.contextmanager
def create_checkpoint(
    path: Path,
    plan: Mapping[str, TensorInfo],
    *,
    source: Checkpoint,
    layout: Layout | None = None,
    storage: Storage = PACKED,
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
    storage : Storage
        How packed tensors are stored.
    """
    with contextlib.ExitStack() as stack:
        if layout is None:
            layout, folder = Layout({path.name: tuple(plan)}, None), None
        else:
            folder = stack.enter_context(replacing_folder(path))
        creating = stack.enter_context(creating_files())
        described = True if _look_packed(plan) else None

        def opened(
            name: str, infos: Mapping[str, TensorInfo]
        ) -> contextlib.AbstractContextManager[TensorFileWriter]:
            return create_file(
                path if folder is None else folder / name,
                infos,
                metadata=source.metadata_of(name),
                storage=storage,
                describe_packed=described,
                opened=replacing if folder is None else creating,
            )

        files = stack.enter_context(contextlib.ExitStack())
        writer = CheckpointWriter(layout, plan, storage, files, opened)
        yield writer
        writer.finish()
        if folder is None:
            return
        if layout.index_name is not None:
            text = index_text(writer.shard_of, _index_metadata(source), writer.total_size)
            (folder / layout.index_name).write_text(text, "utf-8")
        _carry(source, folder, writer.texts, in_place=_are_same(path, source.path))


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
    texts : dict of str to str
        New text for files of the source that are not to be taken over as they are.
    """

    def __init__(
        self,
        layout: Layout,
        plan: Mapping[str, TensorInfo],
        storage: Storage,
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
            for name in sorted(names, key=lambda name: place_in_file(name, plan[name], storage))
        )
        self.shard_of: dict[str, str] = {}
        self.total_size = 0
        self.texts: dict[str, str] = {}

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


def planned_frame(
    path: Path,
    plan: Mapping[str, TensorInfo],
    *,
    source: Checkpoint,
    layout: Layout | None,
    storage: Storage,
    texts: Mapping[str, str],
) -> int:
    """Return the bytes of a checkpoint to be that are not its tensors': headers and other files."""
    if layout is None:
        metadata = source.metadata_of(source.path.name)
        return header_nbytes(path, plan, metadata=metadata, storage=storage)
    described = True if _look_packed(plan) else None
    frame = 0
    shard_of = {}
    for shard, names in layout.shards.items():
        infos = {name: plan[name] for name in names}
        metadata = source.metadata_of(shard)
        frame += header_nbytes(
            Path(shard), infos, metadata=metadata, storage=storage, describe_packed=described
        )
        shard_of.update(dict.fromkeys(stored_names(infos, storage), shard))
    if layout.index_name is not None:
        total_size = sum(info.nbytes_in(storage) for info in plan.values())
        frame += len(index_text(shard_of, _index_metadata(source), total_size).encode())
    carried = () if source.folder is None else source.folder.carried
    return frame + sum(
        len(texts[name].encode()) if name in texts else (source.path / name).stat().st_size
        for name in carried
    )


def _carry(source: Checkpoint, folder: Path, texts: Mapping[str, str], *, in_place: bool) -> None:
    """Take over the files of the source that hold no tensors; in place also the hidden ones."""
    if source.folder is None:
        return
    for name in source.folder.carried:
        target = folder / name
        if target.exists():
            msg = f"{source.path / name} would be replaced by a new shard; rename it"
            raise ValueError(msg)
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in texts:
            target.write_text(texts[name], "utf-8")
        else:
            _copy(source.path / name, target)
        shutil.copymode(source.path / name, target)
    if in_place:
        known = {*source.folder.own, *source.folder.carried}
        for name in everything_in(source.path):
            if name not in known and not is_leftover_name(Path(name).name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                _link(source.path / name, folder / name)


def _link(source: Path, target: Path) -> None:
    """Take over a file or a link without touching it; it may be as large as a repository."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    try:
        target.hardlink_to(source)
    except OSError:
        _copy(source, target)
        shutil.copystat(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copy what is in a regular file, or raise a FormatError if that changes meanwhile."""
    with open_regular(source) as old, target.open("xb") as new:
        before = FileState.of(old.fileno())
        shutil.copyfileobj(old, new, 1 << 20)
        before.check(old.fileno(), str(source))


def _are_same(one: Path, other: Path) -> bool:
    return one.exists() and one.samefile(other)
