"""Read a model file and tell what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._dtypes import is_prunable
from .._packed import PackedTensor
from .._source import open_checkpoint
from ._decide import decide
from ._reports import InspectReport, TensorFound, VerifyReport
from ._rules import Rule, Rules, as_rules
from ._selection import Selection
from ._steps import ProgressCallback, Work, nonzero
from ._structure import find_structure
from ._verified import verified, verified_together

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from .._patterns import Pattern
    from .._tensor_info import Tensor, TensorInfo


def inspect_checkpoint(
    path: str | os.PathLike[str],
    *,
    num_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> InspectReport:
    """Find the sparsity, the pattern and the size of each tensor in a checkpoint.

    Parameters
    ----------
    path : path-like
        A .safetensors or .npz file, or the folder of a model.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a `Progress` before the first and after each tensor.

    Returns
    -------
    InspectReport
        One entry a tensor, in the order of the files.

    Raises
    ------
    FormatError
        If the file does not hold what its format requires.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": pp.pack(w)}, "model.safetensors")
    >>> found = pp.inspect_checkpoint("model.safetensors").tensors[0]
    >>> found.name, found.packed, found.sparsity, found.pattern
    ('fc.weight', True, 0.75, '3:4')
    """
    with open_checkpoint(path) as source:
        infos = source.infos()
        work = Work(source, [infos], num_threads, progress)
        found = work.through(
            infos, lambda name, tensor, threads: _found(name, infos[name], tensor, threads)
        )
        tensors = tuple(tensor for _, tensor in found)
        return InspectReport(str(source.path), tensors, source.nbytes)


def _found(name: str, info: TensorInfo, tensor: Tensor, num_threads: int | None) -> TensorFound:
    sparsity, structure = None, None
    if isinstance(tensor, PackedTensor):
        sparsity = tensor.sparsity
        structure = find_structure(tensor.mask, tensor.shape, num_threads)
    elif isinstance(tensor, np.ndarray) and is_prunable(tensor.dtype):
        mask = nonzero(tensor, num_threads)
        sparsity = mask.sparsity
        structure = find_structure(mask.bits, tensor.shape, num_threads)
    return TensorFound(
        name=name,
        dtype=info.dtype,
        shape=info.shape,
        packed=info.packed,
        sparsity=sparsity,
        pattern=None if structure is None else structure.pattern,
        obeys=() if structure is None else structure.obeys,
        recorded=info.pattern,
        nbytes=info.nbytes,
        dense_nbytes=info.dense_nbytes,
    )


def verify_checkpoint(
    path: str | os.PathLike[str],
    rules: Pattern | Rules | Iterable[Rule],
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    defaults: bool = True,
    num_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> VerifyReport:
    """Check that the weights of a checkpoint follow a pattern, or each its rule.

    Parameters
    ----------
    path : path-like
        A .safetensors or .npz file, or the folder of a model.
    rules : Pattern, Rules or iterable of Rule
        What they must follow.
    include, exclude, min_size, min_rank, defaults
        Which tensors to check, as in `prune_checkpoint`.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a `Progress` before the first and after each tensor.

    Returns
    -------
    VerifyReport
        One entry for each tensor that was checked.

    Raises
    ------
    FormatError
        If the file does not hold what its format requires.
    ValueError
        If no tensor is to be checked, or the pattern does not fit one.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": w}, "model.safetensors")
    >>> pp.verify_checkpoint("model.safetensors", pp.NM(3, 4)).ok
    True
    """
    wanted = as_rules(rules)
    selection = Selection.of(include, exclude, min_size, min_rank, defaults)
    with open_checkpoint(path) as source:
        infos = source.infos()
        decisions, _ = decide(source, infos, selection, wanted)
        patterns = {name: d.pattern for name, d in decisions.items() if d.pattern is not None}
        if not patterns:
            msg = f"{source.path}: none of the {len(infos)} tensors is a weight to verify"
            raise ValueError(msg)
        work = Work(source, [patterns], num_threads, progress)
        checked = dict(
            work.through(
                patterns,
                lambda name, tensor, threads: verified(name, tensor, decisions[name], threads),
            )
        )
        tensors = {name: tensor for name, (tensor, _) in checked.items()}
        tensors |= verified_together(decisions, infos, checked)
        return VerifyReport(str(source.path), str(wanted), tuple(tensors.values()))
