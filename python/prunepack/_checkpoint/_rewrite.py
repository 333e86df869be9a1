"""Read a model file and write it pruned, packed or unpacked."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .._packed import PackedTensor
from .._source import open_checkpoint
from .._target import create_checkpoint, layout_like, layout_of_size
from ._jobs import Job, Pack, Prune, Step, Unpack
from ._paths import target_of
from ._reports import CheckpointReport, TensorReport
from ._rules import Rule, Rules, as_rules
from ._selection import Selection, check_included
from ._steps import Report, Work, naming, nonzero

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from .._files import Tensor, TensorInfo
    from .._patterns import Pattern
    from .._source import Checkpoint


def prune_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    rules: Pattern | Rules | Iterable[Rule],
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    defaults: bool = True,
    packed: bool = True,
    even_if_larger: bool = False,
    max_shard_size: int | None = None,
    in_place: bool = False,
    num_threads: int | None = None,
    progress: Report | None = None,
) -> CheckpointReport:
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
    CheckpointReport
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
    >>> report = pp.prune_checkpoint(
    ...     folder / "model.safetensors", folder / "small.safetensors", pp.NM(3, 4)
    ... )
    >>> sorted((t.name, t.action, t.sparsity) for t in report.tensors)
    [('fc.bias', 'unchanged', None), ('fc.weight', 'pruned', 0.75)]
    """
    wanted = as_rules(rules)
    selection = Selection.of(include, exclude, min_size, min_rank, defaults)
    with open_checkpoint(src) as source:
        infos = source.infos()
        notes = selection.check(infos)
        decisions = {name: selection.decide(name, info, wanted) for name, info in infos.items()}
        left = {n: None if d.pattern else d.why for n, d in decisions.items()}
        check_included(selection, left)
        return _rewrite(
            source,
            dst,
            Prune(decisions, packed, even_if_larger, num_threads),
            rules=str(wanted),
            notes=notes,
            max_shard_size=max_shard_size,
            in_place=in_place,
            progress=progress,
        )


def pack_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    even_if_larger: bool = False,
    max_shard_size: int | None = None,
    in_place: bool = False,
    num_threads: int | None = None,
    progress: Report | None = None,
) -> CheckpointReport:
    """Pack the tensors of a model file that are sparse already.

    Parameters
    ----------
    src, dst : path-like
        The file to read and the file to write, .safetensors or .npz. They may be the same.
    include, exclude, min_size, min_rank
        Which tensors to look at, as in `prune_checkpoint`.
    even_if_larger : bool
        Pack a tensor also where that is larger.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a tensor's name, the bytes done and all bytes to do.

    Returns
    -------
    CheckpointReport
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
    >>> report = pp.pack_checkpoint(folder / "model.safetensors", folder / "packed.safetensors")
    >>> [(t.name, t.action, t.sparsity) for t in report.tensors]
    [('fc.weight', 'packed', 0.75)]
    """
    selection = Selection.of(include, exclude, min_size, min_rank, defaults=False)
    with open_checkpoint(src) as source:
        infos = source.infos()
        notes = selection.check(infos)
        check_included(selection, {n: selection.why_not(n, info) for n, info in infos.items()})
        return _rewrite(
            source,
            dst,
            Pack(selection, even_if_larger, num_threads),
            notes=notes,
            max_shard_size=max_shard_size,
            in_place=in_place,
            progress=progress,
        )


def unpack_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    max_shard_size: int | None = None,
    in_place: bool = False,
    num_threads: int | None = None,
    progress: Report | None = None,
) -> CheckpointReport:
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
    CheckpointReport
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
    >>> report = pp.unpack_checkpoint(folder / "model.safetensors", folder / "dense.safetensors")
    >>> [(t.name, t.action, t.sparsity) for t in report.tensors]
    [('fc.weight', 'unpacked', 0.75)]
    """
    with open_checkpoint(src) as source:
        return _rewrite(
            source,
            dst,
            Unpack(num_threads),
            max_shard_size=max_shard_size,
            in_place=in_place,
            progress=progress,
        )


def _rewrite(
    source: Checkpoint,
    dst: str | os.PathLike[str],
    job: Job,
    *,
    rules: str | None = None,
    notes: tuple[str, ...] = (),
    max_shard_size: int | None = None,
    in_place: bool = False,
    progress: Report | None,
) -> CheckpointReport:
    """Carry `job` out on every tensor of `source`, writing each before the next is read."""
    started = perf_counter()
    target, as_folder = target_of(
        source, dst, in_place=in_place, resharded=max_shard_size is not None
    )
    infos = source.infos()
    steps, unsure = _plan(job, infos)
    sizes = [infos[name].dense_nbytes for name in (*unsure, *infos)]
    work = Work(source, progress, sizes)
    for name in unsure:
        with work.on(name) as tensor:
            steps[name] = job.plan_seeing(name, infos[name], tensor)
    plan = {name: steps[name].info for name in infos}
    layout = None
    if as_folder:
        like = layout_like(source)
        layout = like if max_shard_size is None else layout_of_size(plan, max_shard_size)
    done: dict[str, TensorReport] = {}
    with create_checkpoint(target, plan, source=source, layout=layout) as out:
        for name in out.order:
            with work.on(name) as tensor:
                stored = job.make(steps[name], tensor)
                out.write(name, stored)
                done[name] = _report(name, infos[name], steps[name], stored, job.num_threads)
    with open_checkpoint(target) as written:
        bytes_after = written.nbytes
    return CheckpointReport(
        source=str(source.path),
        target=str(target),
        rules=rules,
        tensors=tuple(done[name] for name in infos),
        notes=notes,
        bytes_before=source.nbytes,
        bytes_after=bytes_after,
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
