"""Read a model file and tell what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._dtypes import is_prunable
from .._files import open_file
from .._packed import PackedTensor
from .._patterns import check_pattern
from .._verify import verify
from ._reports import InspectReport, TensorFound, TensorVerified, VerifyReport
from ._selection import Selection
from ._steps import Progress, Work, nonzero, source_path
from ._structure import find_pattern

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from .._files import Tensor, TensorInfo
    from .._patterns import Pattern


def inspect_file(
    path: str | os.PathLike[str],
    *,
    num_threads: int | None = None,
    progress: Progress | None = None,
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
    >>> found = pp.inspect_file(folder / "model.safetensors").tensors[0]
    >>> found.name, found.packed, found.sparsity, found.pattern
    ('fc.weight', True, 0.75, '3:4')
    """
    source = source_path(path)
    with open_file(source) as file:
        infos = {name: file.info(name) for name in file.names}
        work = Work(file, progress, [info.nbytes for info in infos.values()])
        found = []
        for name, info in infos.items():
            with work.on(name) as tensor:
                found.append(_found(name, info, tensor, num_threads))
    return InspectReport(str(source), tuple(found), source.stat().st_size)


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


def verify_file(
    path: str | os.PathLike[str],
    pattern: Pattern,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check that the weights of a file follow a pattern.

    Parameters
    ----------
    path : path-like
        A .safetensors or .npz file.
    pattern : Pattern
        What they must follow.
    include, exclude, min_size, min_rank
        Which tensors to check, as in `prune_file`.
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
    >>> pp.verify_file(folder / "model.safetensors", pp.NM(3, 4)).ok
    True
    """
    check_pattern(pattern)
    source = source_path(path)
    selection = Selection.of(include, exclude, min_size, min_rank)
    with open_file(source) as file:
        selection.unmatched(file.names)
        infos = {name: file.info(name) for name in file.names}
        chosen = {n: info for n, info in infos.items() if selection.why_not(n, info) is None}
        if not chosen:
            msg = f"{source}: none of the {len(infos)} tensors is a weight to verify"
            raise ValueError(msg)
        work = Work(file, progress, [info.nbytes for info in chosen.values()])
        checked = []
        for name in chosen:
            with work.on(name) as tensor:
                checked.append(_verified(name, tensor, pattern))
    return VerifyReport(str(source), str(pattern), tuple(checked))


def _verified(name: str, tensor: Tensor, pattern: Pattern) -> TensorVerified:
    assert isinstance(tensor, np.ndarray | PackedTensor)  # the selection leaves unknown dtypes out
    found = verify(tensor, pattern)
    return TensorVerified(name, found.ok, found.broken, found.first, found.message)
