"""Read a model file and write it pruned, packed or unpacked."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .._files import create_file, open_file
from .._packed import PackedTensor
from .._patterns import check_pattern
from ._jobs import Job, Pack, Prune, Step, Unpack
from ._reports import FileReport, TensorReport
from ._selection import Selection
from ._steps import Progress, Work, naming, nonzero, source_path, target_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from .._files import Tensor, TensorInfo
    from .._patterns import Pattern


def prune_file(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    pattern: Pattern,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    packed: bool = True,
    even_if_larger: bool = False,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> FileReport:
    """Prune the weights of a model file into another file.

    Parameters
    ----------
    src, dst : path-like
        The file to read and the file to write, .safetensors or .npz. They may be the same:
        `dst` is replaced only when it is complete.
    pattern : Pattern
        Which weights to zero.
    include, exclude : iterable of str
        Globs over the names of tensors. With any `include`, only tensors that match one
        are pruned; a tensor that matches an `exclude` is not.
    min_size, min_rank : int
        The fewest elements and dimensions of a tensor to prune. Biases and norms have rank
        1 and pass through.
    packed : bool
        Store pruned tensors packed, where that is smaller. Otherwise every tensor of `dst`
        is dense, with zeros.
    even_if_larger : bool
        Pack pruned tensors also where that is larger.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a tensor's name, the bytes done and all bytes to do.

    Returns
    -------
    FileReport
        What became of each tensor, and of the file.

    Raises
    ------
    FormatError
        If `src` does not hold what its format requires.
    ValueError
        If an include matches nothing, or the pattern does not fit a tensor.
    OSError
        If a file cannot be read or written. `dst` is then as it was.

    Notes
    -----
    A tensor that is packed in `src` is unpacked, pruned and packed again. What is not
    pruned passes through bit for bit. One tensor is in memory at a time.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> folder = getfixture("tmp_path")
    >>> w = np.arange(1, 4097, dtype=np.float32).reshape(64, 64)
    >>> pp.save_file({"fc.weight": w, "fc.bias": w[0]}, folder / "model.safetensors")
    >>> report = pp.prune_file(
    ...     folder / "model.safetensors", folder / "small.safetensors", pp.NM(3, 4)
    ... )
    >>> sorted((t.name, t.action, t.sparsity) for t in report.tensors)
    [('fc.bias', 'unchanged', None), ('fc.weight', 'pruned', 0.75)]
    """
    check_pattern(pattern)
    selection = Selection.of(include, exclude, min_size, min_rank)
    job = Prune(pattern, selection, packed, even_if_larger, num_threads)
    return _rewrite(src, dst, job, progress)


def pack_file(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    even_if_larger: bool = False,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> FileReport:
    """Pack the tensors of a model file that are sparse already.

    Parameters
    ----------
    src, dst : path-like
        The file to read and the file to write, .safetensors or .npz. They may be the same.
    include, exclude, min_size, min_rank
        Which tensors to look at, as in `prune_file`.
    even_if_larger : bool
        Pack a tensor also where that is larger.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a tensor's name, the bytes done and all bytes to do.

    Returns
    -------
    FileReport
        What became of each tensor, and of the file.

    Raises
    ------
    FormatError
        If `src` does not hold what its format requires.
    ValueError
        If an include matches nothing.
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
    >>> folder = getfixture("tmp_path")
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": w}, folder / "model.safetensors")
    >>> report = pp.pack_file(folder / "model.safetensors", folder / "packed.safetensors")
    >>> [(t.name, t.action, t.sparsity) for t in report.tensors]
    [('fc.weight', 'packed', 0.75)]
    """
    selection = Selection.of(include, exclude, min_size, min_rank)
    return _rewrite(src, dst, Pack(selection, even_if_larger, num_threads), progress)


def unpack_file(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> FileReport:
    """Write a model file with every packed tensor dense again.

    Parameters
    ----------
    src, dst : path-like
        The file to read and the file to write, .safetensors or .npz. They may be the same.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a tensor's name, the bytes done and all bytes to do.

    Returns
    -------
    FileReport
        What became of each tensor, and of the file.

    Raises
    ------
    FormatError
        If `src` does not hold what its format requires.
    OSError
        If a file cannot be read or written. `dst` is then as it was.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> folder = getfixture("tmp_path")
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": pp.pack(w)}, folder / "model.safetensors")
    >>> report = pp.unpack_file(folder / "model.safetensors", folder / "dense.safetensors")
    >>> [(t.name, t.action, t.sparsity) for t in report.tensors]
    [('fc.weight', 'unpacked', 0.75)]
    """
    return _rewrite(src, dst, Unpack(Selection(), num_threads), progress)


def _rewrite(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    job: Job,
    progress: Progress | None,
) -> FileReport:
    """Carry `job` out on every tensor of `src`, writing each before the next is read."""
    started = perf_counter()
    source, target = source_path(src), target_path(dst)
    bytes_before = source.stat().st_size
    with open_file(source) as file:
        notes = job.selection.unmatched(file.names)
        infos = {name: file.info(name) for name in file.names}
        steps, unsure = _plan(job, infos)
        work = Work(file, progress, [infos[name].dense_nbytes for name in (*unsure, *infos)])
        for name in unsure:
            with work.on(name) as tensor:
                steps[name] = job.plan_seeing(infos[name], tensor)
        plan = {name: steps[name].info for name in infos}
        tensors = []
        with create_file(target, plan, metadata=file.metadata) as out:
            for name, info in infos.items():
                with work.on(name) as tensor:
                    stored = job.make(steps[name], tensor)
                    out.write(name, stored)
                    tensors.append(_report(name, info, steps[name], stored, job.num_threads))
    return FileReport(
        source=str(source),
        target=str(target),
        pattern=None if job.pattern is None else str(job.pattern),
        tensors=tuple(tensors),
        notes=notes,
        bytes_before=bytes_before,
        bytes_after=target.stat().st_size,
        seconds=perf_counter() - started,
    )


def _plan(job: Job, infos: Mapping[str, TensorInfo]) -> tuple[dict[str, Step], list[str]]:
    """Return the steps that the header decides, and the names of the tensors it does not."""
    steps: dict[str, Step] = {}
    unsure = []
    for name, info in infos.items():
        with naming(name):
            step = job.plan(name, info)
        if step is None:
            unsure.append(name)
        else:
            steps[name] = step
    return steps, unsure


def _report(
    name: str, before: TensorInfo, step: Step, stored: Tensor, num_threads: int | None
) -> TensorReport:
    after, model_bytes = step.info, step.info.nbytes
    kept = None
    if isinstance(stored, PackedTensor):
        kept = stored.kept
        after = replace(after, kept=kept)
        bits = 8 * stored.dtype.itemsize
        model_bytes = (bits * kept + prod(stored.shape) + 7) // 8
    elif isinstance(stored, np.ndarray) and step.action in ("pruned", "unpacked"):
        kept = nonzero(stored, num_threads).kept
    return TensorReport(
        name=name,
        dtype=before.dtype,
        shape=before.shape,
        action=step.action,
        packed=after.packed,
        note=step.note,
        kept=kept,
        bytes_before=before.nbytes,
        bytes_after=after.nbytes,
        model_bytes=model_bytes,
    )
