"""What a checkpoint looks like: sizes, zeros, and how its magnitudes are distributed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, fields
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import _core
from .._arrays import Weights
from .._dtypes import DTYPES, is_prunable
from .._source import open_checkpoint
from .._together import Histogram, largest_key
from ._jobs import as_dense
from ._steps import ProgressCallback, Work, nonzero
from ._structure import find_structure

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from .._source import Checkpoint
    from .._tensor_info import Tensor, TensorInfo

    Counts = npt.NDArray[np.int64]

# Magnitudes are counted by their float64 exponent and two bits of the mantissa: four bins an octave.
_BIN_SHIFT = np.uint64(50)
_BINS = 0x7FF << 2


class Magnitudes(NamedTuple):
    """How many weights have which magnitudes; zeros, infinities and NaN are left out.

    Attributes
    ----------
    first : int
        The bin of the first count; bin b begins at the float64 with the bits b << 50.
    kept, pruned : ndarray
        The weights that are there, and those that were there before.
    cut : float or None
        Below this there would be as many weights as there are zeros, if the smallest were pruned.
    """

    first: int
    kept: Counts
    pruned: Counts
    cut: float | None

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Where the bins begin, and the last one ends."""
        bins = np.arange(self.first, self.first + self.kept.size + 1, dtype=np.uint64)
        return (bins << _BIN_SHIFT).view(np.float64)

    @classmethod
    def of(cls, kept: Counts, pruned: Counts, cut: float | None) -> Magnitudes | None:
        """Leave out the empty bins at both ends; None if all are empty."""
        inside = np.flatnonzero(kept + pruned)
        if inside.size == 0:
            return None
        first, end = int(inside[0]), int(inside[-1]) + 1
        return cls(first, kept[first:end], pruned[first:end], cut)


@dataclass(frozen=True)
class TensorPortrait:
    """One tensor.

    Attributes
    ----------
    name, dtype, shape
        The tensor; `dtype` is the code that safetensors uses.
    packed : bool
        Whether it is stored packed.
    zeros : int or None
        How many zeros it has; None for a dtype that is not pruned.
    pattern : str or None
        The strongest pattern that they follow.
    bytes_before, bytes_after : int
        Its bytes in the original, or dense if there is none; and now.
    magnitudes : Magnitudes or None
        None for a dtype that is not pruned, or without numbers to count.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    packed: bool
    zeros: int | None
    pattern: str | None
    bytes_before: int
    bytes_after: int
    magnitudes: Magnitudes | None

    @property
    def weights(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def sparsity(self) -> float | None:
        """The share of zeros."""
        return None if self.zeros is None else self.zeros / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class Portrait:
    """A checkpoint.

    Attributes
    ----------
    path : str
        The file or folder.
    before : str or None
        The original.
    tensors : tuple of TensorPortrait
        In the order of the files.
    bytes_before, bytes_after : int
        The sizes of all files; of an original that is not there, those of the dense tensors.
    """

    path: str
    before: str | None
    tensors: tuple[TensorPortrait, ...]
    bytes_before: int
    bytes_after: int

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` takes: all but the magnitudes, of which the cut."""
        tensors = []
        for tensor in self.tensors:
            shown = {field.name: getattr(tensor, field.name) for field in fields(tensor)}
            magnitudes = shown.pop("magnitudes")
            cut = None if magnitudes is None else magnitudes.cut
            tensors.append(shown | {"sparsity": tensor.sparsity, "cut": cut})
        more = {"tensors": tensors}
        return {f.name: getattr(self, f.name) for f in fields(self)} | more


def portray(
    path: str | os.PathLike[str],
    before: str | os.PathLike[str] | None,
    num_threads: int | None,
    progress: ProgressCallback | None,
) -> Portrait:
    """Look at every tensor of a checkpoint, and at what it was before.

    Raises
    ------
    ValueError
        If a tensor is not in the original, or has another shape there.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_checkpoint(path))
        infos = source.infos()
        original = None if before is None else stack.enter_context(open_checkpoint(before))
        if original is not None:
            _check_same_tensors(source, infos, original)

        def look(name: str, tensor: Tensor, threads: int) -> TensorPortrait:
            return _portrait(name, infos[name], tensor, original, threads)

        work = Work(source, [infos], num_threads, progress)
        tensors = tuple(portrait for _, portrait in work.through(infos, look))
        dense_nbytes = sum(info.dense_nbytes for info in infos.values())
        return Portrait(
            path=str(source.path),
            before=None if original is None else str(original.path),
            tensors=tensors,
            bytes_before=dense_nbytes if original is None else original.nbytes,
            bytes_after=source.nbytes,
        )


def _check_same_tensors(
    source: Checkpoint, infos: dict[str, TensorInfo], original: Checkpoint
) -> None:
    for name, info in infos.items():
        if name not in original:
            msg = f"tensor {name!r} of {source.path} must be in {original.path} too, it is not"
            raise ValueError(msg)
        if original.info(name).shape != info.shape:
            msg = (
                f"tensor {name!r} of {source.path} must have the shape it has in {original.path},"
                f" {original.info(name).shape}, got {info.shape}"
            )
            raise ValueError(msg)


def _portrait(
    name: str, info: TensorInfo, tensor: Tensor, original: Checkpoint | None, threads: int
) -> TensorPortrait:
    zeros = pattern = magnitudes = None
    if info.numpy is not None and is_prunable(info.numpy):
        weights = Weights.of(as_dense(tensor, threads), name)
        mask = nonzero(as_dense(tensor, threads), threads)
        zeros = weights.array.size - mask.kept
        pattern = find_structure(mask.bits, info.shape, threads).pattern
        magnitudes = _magnitudes(name, weights, zeros, original, threads)
    return TensorPortrait(
        name=name,
        dtype=info.dtype,
        shape=info.shape,
        packed=info.packed,
        zeros=zeros,
        pattern=pattern,
        bytes_before=info.dense_nbytes if original is None else original.info(name).nbytes,
        bytes_after=info.nbytes,
        magnitudes=magnitudes,
    )


def _magnitudes(
    name: str, weights: Weights, zeros: int, original: Checkpoint | None, threads: int
) -> Magnitudes | None:
    kept, smallest = _counted(weights, 0, threads)
    pruned, cut = np.zeros_like(kept), smallest if zeros else None
    info = None if original is None else original.info(name)
    if original is not None and info is not None and info.numpy in DTYPES:
        were = Weights.of(as_dense(original.read(name), threads), name)
        counts, cut = _counted(were, zeros, threads)
        pruned = np.maximum(counts - kept, 0)
    return Magnitudes.of(kept, pruned, cut)


def _counted(weights: Weights, rank: int, threads: int) -> tuple[Counts, float | None]:
    """Count the magnitudes that are not zero, and find that of the given rank among all."""
    info = weights.info
    known = Histogram.of(weights.array, info, 0, largest_key(info), threads)
    values = _core.importances(info.name, known.first, 1.0)
    numbers = (known.first > 0) & (values < np.uint64(0x7FF << 52))
    bins = (values[numbers] >> _BIN_SHIFT).astype(np.int64)
    counts = np.zeros(_BINS, dtype=np.int64)
    np.add.at(counts, bins, known.counts[numbers])
    ahead = np.searchsorted(np.cumsum(known.counts), rank, side="right")
    rest = np.flatnonzero(numbers[ahead:])
    return counts, float(values.view(np.float64)[ahead + rest[0]]) if rest.size else None
