"""What to do with each tensor of a checkpoint that is rewritten: prune it, pack it or unpack it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .._file_bytes import Buffers
from .._masks import Mask, prune_mask
from .._packed import PackedTensor, pack_into
from .._patterns import Block
from .._prune import prune
from .._sparse_24 import first_broken_group
from .._storage import DENSE, PACKED, Storage
from ._steps import nonzero

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._arrays import Array
    from .._patterns import Pattern
    from .._tensor_info import Tensor, TensorInfo
    from ._selection import Decision, Selection

# Below this share of the dense size, a packed tensor is smaller whatever the estimate missed. Above
# it, the weights are counted first.
SURELY_SMALLER = 0.9

STAYS_DENSE = "stayed dense: packing would not make it smaller"


@dataclass(frozen=True)
class Step:
    """What happens to one tensor, and how it is to be stored.

    Attributes
    ----------
    action : str
        ``"pruned"``, ``"packed"``, ``"unpacked"`` or ``"unchanged"``.
    info : TensorInfo
        The plan of what is stored.
    note : str or None
        Why.
    pattern : Pattern or None
        What it is pruned with.
    """

    action: str
    info: TensorInfo
    note: str | None = None
    pattern: Pattern | None = None


class Job(Protocol):
    """Plans a step from what the header says, then carries it out on the tensor."""

    @property
    def storage(self) -> Storage:
        """How tensors are stored."""
        ...

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Decide what becomes of a tensor, or return None if its header cannot tell."""
        ...

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor, threads: int) -> Step:
        """Decide what becomes of a tensor from the tensor itself."""
        ...

    def make(self, step: Step, tensor: Tensor, threads: int) -> Tensor:
        """Return what is to be stored."""
        ...


@dataclass(frozen=True)
class Prune:
    """Zero weights, and pack what is left where that is smaller."""

    decisions: Mapping[str, Decision]
    storage: Storage
    even_if_larger: bool
    buffers: Buffers = field(default_factory=Buffers)

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Prune what is to be pruned; store it packed if that is wanted and surely smaller."""
        decision = self.decisions[name]
        pattern, why = decision.pattern, decision.why or None
        if pattern is None:
            as_is = decision.then == "skip" and fits(name, info, self.storage)
            return Step("unchanged", info if as_is else dense(info), why)
        pruned = planned(info, pattern)  # also finds out whether the pattern fits the shape
        if not self.storage.packs:
            return Step("pruned", dense(info), why, pattern)
        why_not = self.storage.why_not(name, info.shape)
        if why_not is not None:
            return Step("pruned", dense(info), f"stayed dense: {why_not}", pattern)
        if self.even_if_larger or surely_smaller(pruned, pattern, self.storage):
            return Step("pruned", pruned, why, pattern)
        return None

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor, threads: int) -> Step:
        """Count what the pattern leaves; store it packed if that is smaller."""
        pattern, why = self.decisions[name].pattern, self.decisions[name].why or None
        assert pattern is not None  # or the header would have told
        weights = as_dense(tensor, threads)
        mask = prune_mask(weights, pattern, num_threads=threads)
        kept = Mask(weights.shape, mask.bits & nonzero(weights, threads).bits).kept
        smaller = replace(planned(info, pattern), kept=kept)
        if smaller.nbytes_in(self.storage) < info.dense_nbytes:
            return Step("pruned", smaller, why, pattern)
        return Step("pruned", dense(info), STAYS_DENSE, pattern)

    def make(self, step: Step, tensor: Tensor, threads: int) -> Tensor:
        """Prune, and pack in the same pass over the weights."""
        if step.pattern is None:
            return stored_as(step.info, tensor, threads)
        weights = as_dense(tensor, threads)
        if step.info.packed:
            mask = prune_mask(weights, step.pattern, num_threads=threads)
            return packed_in(self.buffers, weights, mask, threads)
        return prune(weights, step.pattern, num_threads=threads)


@dataclass(frozen=True)
class Pack:
    """Pack the tensors that have enough zeros."""

    selection: Selection
    storage: Storage
    even_if_larger: bool
    buffers: Buffers = field(default_factory=Buffers)

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Leave alone what is not selected; of the rest, only the weights can tell."""
        if info.packed and not self.storage.is_foreign:
            return Step("unchanged", info, "packed already")
        why_not = self.selection.why_not(name, info) or self.storage.why_not(name, info.shape)
        return None if why_not is None else Step("unchanged", dense(info), why_not)

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor, threads: int) -> Step:  # noqa: ARG002
        """Count the zeros; pack if that is smaller."""
        mask = nonzero(as_dense(tensor, threads), threads)
        if self.storage.is_24:
            broken = first_broken_group(mask.bits, info.shape[1])
            if broken is not None:
                return Step("unchanged", dense(info), f"stayed dense: {not_24(broken)}")
        smaller = replace(info, packed=True, kept=mask.kept)
        if self.even_if_larger or smaller.nbytes_in(self.storage) < info.dense_nbytes:
            return Step("packed", smaller)
        return Step("unchanged", dense(info), STAYS_DENSE)

    def make(self, step: Step, tensor: Tensor, threads: int) -> Tensor:
        """Pack, or leave as it is."""
        if step.action == "unchanged":
            return stored_as(step.info, tensor, threads)
        return packed_in(self.buffers, as_dense(tensor, threads), None, threads)


@dataclass(frozen=True)
class Unpack:
    """Turn packed tensors into dense ones."""

    storage: Storage = DENSE

    def plan(self, name: str, info: TensorInfo) -> Step:  # noqa: ARG002  # all are treated alike
        """Unpack what is packed."""
        if info.packed:
            return Step("unpacked", dense(info))
        return Step("unchanged", info, "dense already")

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor, threads: int) -> Step:
        """Never needed: the header always tells."""
        raise NotImplementedError(name, info, tensor, threads)

    def make(self, step: Step, tensor: Tensor, threads: int) -> Tensor:
        """Unpack, or leave as it is."""
        return stored_as(step.info, tensor, threads)


def dense(info: TensorInfo) -> TensorInfo:
    """Return the plan of the same tensor, dense."""
    return replace(info, packed=False, kept=None, most_kept=None, pattern=None)


def planned(info: TensorInfo, pattern: Pattern) -> TensorInfo:
    """Return the plan of a tensor that is pruned and packed, as far as its header tells."""
    pruned = pattern.target(info.shape)
    bounds = [] if info.kept is None else [info.kept]
    if pruned is not None:
        bounds.append(prod(info.shape) - pruned)
    most = min(bounds) if bounds else None
    return replace(info, packed=True, kept=None, most_kept=most, pattern=str(pattern))


def estimated(planned: TensorInfo, pattern: Pattern | None) -> TensorInfo:
    """Return a plan with a number of values where the header gives no bound but a good guess."""
    if not planned.packed or planned.kept is not None or planned.most_kept is not None:
        return planned
    if not isinstance(pattern, Block):
        return planned
    # Tiles at the edges are smaller, so this is not exact.
    return replace(planned, most_kept=round((1 - pattern.sparsity) * prod(planned.shape)))


def surely_smaller(planned: TensorInfo, pattern: Pattern, storage: Storage) -> bool:
    """Tell whether a plan to pack saves space whatever the weights are."""
    if planned.nbytes_in(storage) < planned.dense_nbytes:
        return True
    about = estimated(planned, pattern)
    return about is not planned and (
        about.nbytes_in(storage) < SURELY_SMALLER * planned.dense_nbytes
    )


def fits(name: str, info: TensorInfo, storage: Storage) -> bool:
    """Tell whether a tensor can stay as it is stored."""
    if not info.packed:
        return True
    return storage == PACKED or (
        storage.format == "sparse-bitmask" and not storage.why_not(name, ())
    )


def not_24(broken: tuple[int, int]) -> str:
    """Say that a tensor is not 2:4, and where."""
    return f"the group of four at {broken} keeps more than 2"


def as_dense(tensor: Tensor, threads: int) -> Array:
    """Return the weights of a tensor whose dtype prunepack knows."""
    if isinstance(tensor, PackedTensor):
        return tensor.to_dense(num_threads=threads)
    assert isinstance(tensor, np.ndarray)  # the selection leaves unknown dtypes out
    return tensor


def packed_in(buffers: Buffers, weights: Array, mask: Mask | None, threads: int) -> PackedTensor:
    """Pack weights, with their values in memory that is used again when they are written."""
    return pack_into(buffers.take(weights.nbytes), weights, mask, num_threads=threads)


def stored_as(info: TensorInfo, tensor: Tensor, threads: int) -> Tensor:
    """Return an unchanged tensor, unpacked if it is to be stored dense."""
    if isinstance(tensor, PackedTensor) and not info.packed:
        return as_dense(tensor, threads)
    return tensor
