"""Prune a checkpoint into another one."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from .._patterns import Pattern, Unstructured
from .._source import open_checkpoint
from .._storage import Dialect, FormatName, Storage
from ._decide import decide
from ._jobs import Prune
from ._model_scope import with_counts
from ._paths import Output
from ._rewrite import rewrite
from ._rules import Rule, Rules, as_rules
from ._selection import Selection
from ._size import with_size
from ._steps import ProgressCallback

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from ._reports import CheckpointReport


def prune_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str] | None,
    rules: Pattern | Rules | Iterable[Rule] = (),
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    defaults: bool = True,
    format: FormatName = "packed",  # its name on the command line and in config.json
    dialect: Dialect = "0.9",
    even_if_larger: bool = False,
    target_size: int | None = None,
    max_shard_size: int | None = None,
    in_place: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    num_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> CheckpointReport:
    """Prune the weights of a checkpoint into another one.

    Parameters
    ----------
    src : path-like
        A .safetensors or .npz file, or the folder of a Hugging Face model.
    dst : path-like or None
        What to write; of a folder a folder with the same shards, unless the name has the suffix of a
        file. It takes its place when it is complete. None is for a dry run.
    rules : Pattern, Rules or iterable of Rule
        A pattern for all weights, or rules of which the first that matches a tensor decides.
    include, exclude : iterable of str
        Globs over the names of tensors. With any `include`, only tensors that match one
        are pruned; a tensor that matches an `exclude` is not. They come before the rules.
    min_size, min_rank : int
        The fewest elements and dimensions of a tensor to prune that no rule is about.
    defaults : bool
        Whether to skip embeddings, output heads, norms and biases, told by their names, unless a
        rule is about them.
    format : {"packed", "dense", "sparse-bitmask", "sparse-24-bitmask"}
        How to store what is pruned: packed where that is smaller, or dense, or in a format of
        compressed-tensors, whose config.json then says so.
    dialect : {"0.9", "0.3"}
        Which compressed-tensors wrote "sparse-bitmask" in this way: from 0.9.0 or from 0.3 on.
    even_if_larger : bool
        Pack pruned tensors also where that is larger.
    target_size : int, optional
        Find the least sparsity, the same for all weights that no rule is about, with which all files
        of `dst` have at most so many bytes together.
    max_shard_size : int, optional
        Write a folder with new shards of at most so many bytes; a larger tensor is alone in one.
    in_place : bool
        Let `dst` be `src`. It is still replaced in one step.
    overwrite : bool
        Let a folder be replaced that holds other files beside a checkpoint.
    dry_run : bool
        Write nothing, and report what would be done.
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
        If an include matches nothing to prune, a pattern does not fit a tensor, the target size cannot
        be met, or something at `dst` is not to be replaced.
    OSError
        If a file cannot be read or written. `dst` is then as it was.

    Notes
    -----
    A tensor that is packed in `src` is unpacked, pruned and packed again. What is not
    pruned passes through bit for bit, and so do the other files of a folder. Tensors that are the same
    in every byte are treated alike. A few tensors are in memory at a time.

    ``Unstructured(sparsity, scope="model")`` ranks the weights of all tensors it is for together:
    those of one sparsity and normalization, whatever their bounds. Among equals the tensor goes
    first whose name does. That takes passes over the model before anything is written, and so
    does a dry run.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.arange(1, 4097, dtype=np.float32).reshape(64, 64)
    >>> pp.save_file({"fc.weight": w, "fc.bias": w[0]}, "model.safetensors")
    >>> report = pp.prune_checkpoint("model.safetensors", "small.safetensors", pp.NM(3, 4))
    >>> sorted((t.name, t.action, t.sparsity) for t in report.tensors)
    [('fc.bias', 'unchanged', None), ('fc.weight', 'pruned', 0.75)]
    """
    started = perf_counter()
    wanted = as_rules(rules)
    if target_size is not None:
        if wanted.otherwise is not None:
            msg = "rules must have no pattern for all weights where target_size finds it"
            raise ValueError(msg)
        wanted = replace(wanted, otherwise=Unstructured(0.0))
    selection = Selection.of(include, exclude, min_size, min_rank, defaults)
    output = Output(dst, max_shard_size, in_place, overwrite, dry_run)
    with open_checkpoint(src) as source:
        infos = source.infos()
        decisions, notes = decide(source, infos, selection, wanted)
        decisions = with_counts(source, infos, decisions, num_threads, progress)
        job = Prune(decisions, Storage(format, dialect), even_if_larger)
        if target_size is not None:
            job, sparsity = with_size(job, source, output, target_size)
            wanted = replace(wanted, otherwise=Unstructured(sparsity))
        report = rewrite(
            source,
            output,
            job,
            rules=str(wanted),
            notes=notes,
            size_limit=target_size,
            num_threads=num_threads,
            progress=progress,
        )
    return replace(report, seconds=perf_counter() - started)
