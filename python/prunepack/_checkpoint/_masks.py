"""The masks of a checkpoint by themselves: write them, and apply them to another one."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from .._arrays import Weights
from .._dtypes import is_prunable
from .._file_bytes import Buffers
from .._formats import format_of
from .._mask_file import MaskFile, MaskInfo, create_masks, is_mask_file
from .._masks import Mask, mask_bits
from .._packed import PackedTensor
from .._prune import apply_mask
from .._source import open_checkpoint
from .._storage import Dialect, FormatName, Storage
from ._decide import decide
from ._jobs import STAYS_DENSE, Step, as_dense, dense, fits, packed_in, stored_as
from ._model_scope import with_counts
from ._paths import Output
from ._rewrite import rewrite
from ._rules import Rule, Rules, as_rules
from ._selection import Selection
from ._steps import ProgressCallback, Work

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from .._patterns import Pattern
    from .._source import Checkpoint
    from .._tensor_info import Tensor, TensorInfo
    from ._reports import CheckpointReport


@dataclass(frozen=True)
class TensorMasked:
    """The mask of one tensor.

    Attributes
    ----------
    name, dtype, shape
        The tensor; `dtype` is the code that safetensors uses.
    pattern : str
        What decided which weights are kept.
    kept : int
        How many are.
    nbytes : int
        The bytes of the mask.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    pattern: str
    kept: int
    nbytes: int

    @property
    def weights(self) -> int:
        """How many weights the tensor has."""
        return prod(self.shape)


@dataclass(frozen=True)
class MaskReport:
    """The masks that were written.

    Attributes
    ----------
    source, target : str
        The checkpoint read and the file of masks written.
    rules : str
        What decided which weights are kept.
    tensors : tuple of TensorMasked
        Every tensor that has a mask.
    notes : tuple of str
        What the caller may want to know.
    bytes_before, bytes_after : int
        The sizes of the checkpoint and of the file of masks.
    seconds : float
        From reading the one to the other being in place.
    """

    source: str
    target: str
    rules: str
    tensors: tuple[TensorMasked, ...]
    notes: tuple[str, ...]
    bytes_before: int
    bytes_after: int
    seconds: float

    @property
    def weights(self) -> int:
        """How many weights the masks are for."""
        return sum(t.weights for t in self.tensors)

    @property
    def sparsity(self) -> float:
        """The share of them that is pruned."""
        return 1 - sum(t.kept for t in self.tensors) / self.weights if self.weights else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as what ``json.dumps`` takes."""
        return asdict(self) | {"weights": self.weights, "sparsity": self.sparsity}


def mask_checkpoint(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    rules: Pattern | Rules | Iterable[Rule],
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    min_size: int = 2048,
    min_rank: int = 2,
    defaults: bool = True,
    num_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> MaskReport:
    """Write the masks of a checkpoint and nothing else: one bit a weight.

    Parameters
    ----------
    src : path-like
        A .safetensors or .npz file, or the folder of a model. It is not changed.
    dst : path-like
        The file to write, .safetensors or .npz.
    rules, include, exclude, min_size, min_rank, defaults
        Which weights are kept, as in `prune_checkpoint`.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.
    progress : callable, optional
        Called with a `Progress` before the first and after each tensor.

    Returns
    -------
    MaskReport
        The masks that were written.

    Raises
    ------
    FormatError
        If `src` does not hold what its format requires.
    ValueError
        If no tensor is to be pruned, or a pattern does not fit one.
    OSError
        If a file cannot be read or written. `dst` is then as it was.

    See Also
    --------
    apply_masks : Prune another checkpoint with them.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.arange(1, 4097, dtype=np.float32).reshape(64, 64)
    >>> pp.save_file({"fc.weight": w}, "model.safetensors")
    >>> pp.mask_checkpoint("model.safetensors", "masks.safetensors", pp.NM(3, 4)).sparsity
    0.75
    >>> pp.save_file({"fc.weight": w[::-1].copy()}, "tuned.safetensors")
    >>> report = pp.apply_masks("masks.safetensors", "tuned.safetensors", "small.safetensors")
    >>> report.sparsity
    0.75
    """
    started = perf_counter()
    wanted = as_rules(rules)
    selection = Selection.of(include, exclude, min_size, min_rank, defaults)
    target = Path(dst)
    format_of(target)
    with open_checkpoint(src) as source:
        if target.exists() and target.samefile(source.path):
            msg = f"{target} is the checkpoint to read; write the masks elsewhere"
            raise ValueError(msg)
        infos = source.infos()
        decisions, notes = decide(source, infos, selection, wanted)
        decisions = with_counts(source, infos, decisions, num_threads, progress)
        patterns = {name: d.pattern for name, d in sorted(decisions.items()) if d.pattern}
        if not patterns:
            msg = f"{source.path}: none of the {len(infos)} tensors is a weight to prune"
            raise ValueError(msg)
        masks = {n: MaskInfo(infos[n].shape, str(pattern)) for n, pattern in patterns.items()}
        for name, pattern in patterns.items():
            pattern.target(infos[name].shape)  # a shape that does not fit costs no work
        work = Work(source, [masks], num_threads, progress)

        def made(name: str, tensor: Tensor, threads: int) -> Mask:
            weights = Weights.of(as_dense(tensor, threads), name)
            return Mask(weights.shape, mask_bits(weights, patterns[name], None, threads))

        tensors = []
        with create_masks(target, masks) as file:
            for name, mask in work.through(masks, made):
                file.write(name, mask)
                told = str(patterns[name])
                shape, dtype = infos[name].shape, infos[name].dtype
                tensors.append(TensorMasked(name, dtype, shape, told, mask.kept, mask.nbytes))
        return MaskReport(
            source=str(source.path),
            target=str(target),
            rules=str(wanted),
            tensors=tuple(tensors),
            notes=notes,
            bytes_before=source.nbytes,
            bytes_after=target.stat().st_size,
            seconds=perf_counter() - started,
        )


def apply_masks(
    masks: str | os.PathLike[str],
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str] | None,
    *,
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
    """Prune a checkpoint with masks that were made of another one of the same shapes.

    What fine-tuning or merging an adapter has filled becomes zero again.

    Parameters
    ----------
    masks : path-like
        A file of masks; or a checkpoint with packed tensors, whose masks are then taken.
    src, dst : path-like
        What to read and what to write, as in `prune_checkpoint`.
    format, dialect, even_if_larger
        How to store what is pruned, as in `prune_checkpoint`.
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
        If a file does not hold what its format requires.
    ValueError
        If a mask has no tensor of its name and shape in `src`, or there are no masks.
    OSError
        If a file cannot be read or written. `dst` is then as it was.

    See Also
    --------
    mask_checkpoint : Where the masks come from.

    Notes
    -----
    Tensors without a mask pass through bit for bit.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.arange(1, 4097, dtype=np.float32).reshape(64, 64)
    >>> pp.save_file({"fc.weight": w}, "model.safetensors")
    >>> _ = pp.mask_checkpoint("model.safetensors", "masks.safetensors", pp.NM(3, 4))
    >>> pp.save_file({"fc.weight": w + 1}, "tuned.safetensors")
    >>> report = pp.apply_masks("masks.safetensors", "tuned.safetensors", "small.safetensors")
    >>> pp.load_file("small.safetensors")["fc.weight"].kept
    1024
    """
    output = Output(dst, max_shard_size, in_place, overwrite, dry_run)
    with open_checkpoint(src) as source, _masks_of(masks) as given:
        _check_shapes(Path(masks), given.infos, source)
        job = ApplyMasks(given, Storage(format, dialect), even_if_larger)
        return rewrite(
            source,
            output,
            job,
            rules=f"the masks of {Path(masks)}",
            num_threads=num_threads,
            progress=progress,
        )


class Masks(Protocol):
    """Masks by the names of their tensors."""

    @property
    def infos(self) -> Mapping[str, MaskInfo]: ...
    def read(self, name: str) -> Mask: ...


class _MasksOfPacked:
    """The masks of a checkpoint's packed tensors."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.infos = {
            name: MaskInfo(info.shape, info.pattern)
            for name, info in checkpoint.infos().items()
            if info.packed
        }

    def read(self, name: str) -> Mask:
        tensor = self._checkpoint.read(name)
        assert isinstance(tensor, PackedTensor)  # others are left out
        return tensor.to_mask()


@contextlib.contextmanager
def _masks_of(path: str | os.PathLike[str]) -> Iterator[Masks]:
    with open_checkpoint(path) as checkpoint:
        file = checkpoint.file
        given = MaskFile(file) if is_mask_file(file) else _MasksOfPacked(checkpoint)
        if not given.infos:
            msg = f"{checkpoint.path}: must be a file of masks or have packed tensors, got neither"
            raise ValueError(msg)
        yield given


def _check_shapes(path: Path, masks: Mapping[str, MaskInfo], source: Checkpoint) -> None:
    for name, mask in masks.items():
        if name not in source:
            msg = f"{path}: mask {name!r} must have a tensor of its name in {source.path}"
            raise ValueError(msg)
        info = source.info(name)
        if info.shape != mask.shape:
            msg = (
                f"tensor {name!r} of {source.path} must have the shape of its mask in {path},"
                f" {mask.shape}, got {info.shape}"
            )
            raise ValueError(msg)
        if info.numpy is None or not is_prunable(info.numpy):
            msg = f"tensor {name!r} of {source.path} must have a dtype to prune, got {info.dtype}"
            raise ValueError(msg)


@dataclass(frozen=True)
class _MaskedStep(Step):
    """A step that knows its mask."""

    mask: str = ""


@dataclass(frozen=True)
class ApplyMasks:
    """Zero what masks say, and pack what is left where that is smaller."""

    masks: Masks
    storage: Storage
    even_if_larger: bool
    buffers: Buffers = field(default_factory=Buffers)

    def plan(self, name: str, info: TensorInfo) -> Step:
        """Count what the mask keeps; store the tensor packed if that is smaller."""
        given = self.masks.infos.get(name)
        if given is None:
            as_is = fits(name, info, self.storage)
            return Step("unchanged", info if as_is else dense(info), "no mask")
        if not self.storage.packs:
            return _MaskedStep("pruned", dense(info), mask=name)
        why_not = self.storage.why_not(name, info.shape)
        if why_not is not None:
            return _MaskedStep("pruned", dense(info), f"stayed dense: {why_not}", mask=name)
        kept = self.masks.read(name).kept
        most = kept if info.kept is None else min(kept, info.kept)
        packed = replace(info, packed=True, kept=None, most_kept=most, pattern=given.pattern)
        if self.even_if_larger or packed.nbytes_in(self.storage) < info.dense_nbytes:
            return _MaskedStep("pruned", packed, mask=name)
        return _MaskedStep("pruned", dense(info), STAYS_DENSE, mask=name)

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor, threads: int) -> Step:
        """Never needed: the masks tell."""
        raise NotImplementedError(name, info, tensor, threads)

    def make(self, step: Step, tensor: Tensor, threads: int) -> Tensor:
        """Apply the mask, and pack in the same pass over the weights."""
        if not isinstance(step, _MaskedStep):
            return stored_as(step.info, tensor, threads)
        weights, mask = as_dense(tensor, threads), self.masks.read(step.mask)
        if step.info.packed:
            return packed_in(self.buffers, weights, mask, threads)
        return apply_mask(weights, mask, num_threads=threads)
