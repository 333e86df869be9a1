"""Pack what is sparse in a checkpoint, or unpack it, into another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._source import open_checkpoint
from .._storage import Dialect, FormatName, Storage
from ._jobs import Pack, Unpack
from ._paths import Output
from ._rewrite import rewrite
from ._selection import Selection, check_included
from ._steps import ProgressCallback

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from ._reports import CheckpointReport


def pack_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str] | None,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    format: FormatName = "packed",  # its name on the command line and in config.json
    dialect: Dialect = "0.9",
    even_if_larger: bool = False,
    max_shard_size: int | None = None,
    in_place: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    num_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> CheckpointReport:
    """Pack the tensors of a checkpoint that are sparse already.

    Parameters
    ----------
    src, dst : path-like
        What to read and what to write, as in `prune_checkpoint`.
    include, exclude, min_size, min_rank
        Which tensors to look at, as in `prune_checkpoint`; names say nothing here.
    format, dialect
        How to store them, as in `prune_checkpoint`. Tensors that are not 2:4 stay dense in
        "sparse-24-bitmask".
    even_if_larger : bool
        Pack a tensor also where that is larger.
    max_shard_size, in_place, overwrite, dry_run
        As in `prune_checkpoint`.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a `Progress` before the first and after each tensor.

    Returns
    -------
    CheckpointReport
        What became of each tensor, and of the checkpoint.

    Raises
    ------
    FormatError
        If `src` does not hold what its format requires.
    ValueError
        If an include matches nothing to pack, no tensor is 2:4 where that is asked for, or something
        at `dst` is not to be replaced.
    OSError
        If a file cannot be read or written. `dst` is then as it was.

    Notes
    -----
    In a tensor that is packed, -0.0 counts as zero and comes back as +0.0; no other weight
    changes.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": w}, "model.safetensors")
    >>> report = pp.pack_checkpoint("model.safetensors", "packed.safetensors")
    >>> [(t.name, t.action, t.sparsity) for t in report.tensors]
    [('fc.weight', 'packed', 0.75)]
    """
    selection = Selection.of(include, exclude, min_size, min_rank, defaults=False)
    output = Output(dst, max_shard_size, in_place, overwrite, dry_run)
    with open_checkpoint(src) as source:
        infos = source.infos()
        notes = selection.check(infos)
        check_included(selection, {n: selection.why_not(n, info) for n, info in infos.items()})
        return rewrite(
            source,
            output,
            Pack(selection, Storage(format, dialect), even_if_larger),
            notes=notes,
            num_threads=num_threads,
            progress=progress,
        )


def unpack_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str] | None,
    *,
    max_shard_size: int | None = None,
    in_place: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    num_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> CheckpointReport:
    """Write a checkpoint with every packed tensor dense again.

    Parameters
    ----------
    src, dst : path-like
        What to read and what to write, as in `prune_checkpoint`.
    max_shard_size, in_place, overwrite, dry_run
        As in `prune_checkpoint`.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a `Progress` before the first and after each tensor.

    Returns
    -------
    CheckpointReport
        What became of each tensor, and of the checkpoint.

    Raises
    ------
    FormatError
        If `src` does not hold what its format requires.
    ValueError
        If something at `dst` is not to be replaced.
    OSError
        If a file cannot be read or written. `dst` is then as it was.

    Notes
    -----
    Nothing in the config.json of `dst` says any more that a tensor was packed, so that programs
    which refuse such models load it.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": pp.pack(w)}, "model.safetensors")
    >>> report = pp.unpack_checkpoint("model.safetensors", "dense.safetensors")
    >>> [(t.name, t.action, t.sparsity) for t in report.tensors]
    [('fc.weight', 'unpacked', 0.75)]
    """
    output = Output(dst, max_shard_size, in_place, overwrite, dry_run)
    with open_checkpoint(src) as source:
        return rewrite(source, output, Unpack(), num_threads=num_threads, progress=progress)
