"""Read a model file and tell what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._dtypes import is_prunable
from .._packed import PackedTensor
from .._source import open_checkpoint
from .._verify import verify
from ._reports import InspectReport, TensorFound, TensorVerified, VerifyReport
from ._rules import Rule, Rules, as_rules
from ._selection import Selection, check_included
from ._steps import Report, Work, nonzero
from ._structure import find_pattern

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from .._files import Tensor, TensorInfo
    from .._patterns import Pattern


def inspect_checkpoint(
    path: str | os.PathLike[str],
    *,
    num_threads: int | None = None,
    progress: Report | None = None,
) -> InspectReport:
    """Find the sparsity, the pattern and the size of each tensor in a file.

    Parameters
    ----------
    path : path-like
        A .safetensors or .npz file.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a tensor's name, the bytes done and all bytes to do.

    Returns
    -------
    InspectReport
        One entry a tensor, in the order of the file.

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
    >>> folder = getfixture("tmp_path")
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": pp.pack(w)}, folder / "model.safetensors")
    >>> found = pp.inspect_checkpoint(folder / "model.safetensors").tensors[0]
    >>> found.name, found.packed, found.sparsity, found.pattern
    ('fc.weight', True, 0.75, '3:4')
    """
    with open_checkpoint(path) as source:
        infos = source.infos()
        work = Work(source, progress, [info.nbytes for info in infos.values()])
        found = []
        for name, info in infos.items():
            with work.on(name) as tensor:
                found.append(_found(name, info, tensor, num_threads))
        return InspectReport(str(source.path), tuple(found), source.nbytes)


def _found(name: str, info: TensorInfo, tensor: Tensor, num_threads: int | None) -> TensorFound:
    sparsity = pattern = None
    if isinstance(tensor, PackedTensor):
        sparsity, pattern = tensor.sparsity, find_pattern(tensor.mask, tensor.shape)
    elif isinstance(tensor, np.ndarray) and is_prunable(tensor.dtype):
        mask = nonzero(tensor, num_threads)
        sparsity, pattern = mask.sparsity, find_pattern(mask.bits, tensor.shape)
    return TensorFound(
        name=name,
        dtype=info.dtype,
        shape=info.shape,
        packed=info.packed,
        sparsity=sparsity,
        pattern=pattern,
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
    progress: Report | None = None,
) -> VerifyReport:
    """Check that the weights of a file follow a pattern.

    Parameters
    ----------
    path : path-like
        A .safetensors or .npz file.
    pattern : Pattern
        What they must follow.
    include, exclude, min_size, min_rank
        Which tensors to check, as in `prune_checkpoint`.
    progress : callable, optional
        Called with a tensor's name, the bytes done and all bytes to do.

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
    >>> folder = getfixture("tmp_path")
    >>> w = np.tile(np.array([0, 0, 0, 1], np.float32), (64, 16))
    >>> pp.save_file({"fc.weight": w}, folder / "model.safetensors")
    >>> pp.verify_checkpoint(folder / "model.safetensors", pp.NM(3, 4)).ok
    True
    """
    wanted = as_rules(rules)
    selection = Selection.of(include, exclude, min_size, min_rank, defaults)
    with open_checkpoint(path) as source:
        infos = source.infos()
        selection.check(infos)
        decisions = {name: selection.decide(name, info, wanted) for name, info in infos.items()}
        check_included(selection, {n: None if d.pattern else d.why for n, d in decisions.items()})
        patterns = {name: d.pattern for name, d in decisions.items() if d.pattern is not None}
        if not patterns:
            msg = f"{source.path}: none of the {len(infos)} tensors is a weight to verify"
            raise ValueError(msg)
        work = Work(source, progress, [infos[name].nbytes for name in patterns])
        checked = []
        for name, pattern in patterns.items():
            with work.on(name) as tensor:
                checked.append(_verified(name, tensor, pattern))
        return VerifyReport(str(source.path), str(wanted), tuple(checked))


def _verified(name: str, tensor: Tensor, pattern: Pattern) -> TensorVerified:
    assert isinstance(tensor, np.ndarray | PackedTensor)  # the selection leaves unknown dtypes out
    found = verify(tensor, pattern)
    return TensorVerified(name, found.ok, found.broken, found.first, found.message)
