"""What to do with each tensor of a file that is rewritten: prune it, pack it or unpack it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .._masks import Mask, prune_mask
from .._packed import PackedTensor, pack
from .._patterns import Block
from .._prune import prune
from ._steps import nonzero

if TYPE_CHECKING:
    from .._arrays import Array
    from .._files import Tensor, TensorInfo
    from .._patterns import Pattern
    from ._selection import Selection

# Below this share of the dense size, a packed tensor is smaller whatever the estimate missed
# (zeros beyond the target, edge tiles). Above it, the weights are counted first.
SURELY_SMALLER = 0.9

STAYS_DENSE = "stayed dense: packing would not make it smaller"


@dataclass(frozen=True)
class Step:
    """What happens to one tensor, and how it is to be stored."""

    action: str
    info: TensorInfo
    note: str | None = None


class Job(Protocol):
    """Plans a step from what the header says, then carries it out on the tensor."""

    @property
    def selection(self) -> Selection:
        """Which tensors the job is about."""
        ...

    @property
    def pattern(self) -> Pattern | None:
        """What the job prunes with."""
        ...

    @property
    def num_threads(self) -> int | None:
        """Threads to use."""
        ...

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Decide what becomes of a tensor, or return None if its header cannot tell."""
        ...

    def plan_seeing(self, info: TensorInfo, tensor: Tensor) -> Step:
        """Decide what becomes of a tensor from the tensor itself."""
        ...

    def make(self, step: Step, tensor: Tensor) -> Tensor:
        """Return what is to be stored."""
        ...


@dataclass(frozen=True)
class Prune:
    """Zero weights, and pack what is left where that is smaller."""

    pattern: Pattern
    selection: Selection
    packed: bool
    even_if_larger: bool
    num_threads: int | None

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Prune what is selected; store it packed if that is wanted and surely smaller."""
        why_not = self.selection.why_not(name, info)
        if why_not is not None:
            return Step("unchanged", info if self.packed else dense(info), why_not)
        if not self.packed:
            return Step("pruned", dense(info))
        smaller = self._packed(info)
        expected = _expected_kept(self.pattern, info)
        if self.even_if_larger or (
            expected is not None and _nbytes(smaller, expected) < SURELY_SMALLER * info.dense_nbytes
        ):
            return Step("pruned", smaller)
        return None

    def plan_seeing(self, info: TensorInfo, tensor: Tensor) -> Step:
        """Count what the pattern leaves; store it packed if that is smaller."""
        weights = as_dense(tensor, self.num_threads)
        stored = self._mask(weights).bits & nonzero(weights, self.num_threads).bits
        smaller = self._packed(info)
        if _nbytes(smaller, Mask(weights.shape, stored).kept) < info.dense_nbytes:
            return Step("pruned", smaller)
        return Step("pruned", dense(info), STAYS_DENSE)

    def make(self, step: Step, tensor: Tensor) -> Tensor:
        """Prune, and pack in the same pass over the weights."""
        if step.action == "unchanged":
            return stored_as(step.info, tensor, self.num_threads)
        weights = as_dense(tensor, self.num_threads)
        if step.info.packed:
            return pack(weights, self._mask(weights), num_threads=self.num_threads)
        return prune(weights, self.pattern, num_threads=self.num_threads)

    def _mask(self, weights: Array) -> Mask:
        return prune_mask(weights, self.pattern, num_threads=self.num_threads)

    def _packed(self, info: TensorInfo) -> TensorInfo:
        return replace(info, packed=True, kept=None, pattern=str(self.pattern))


@dataclass(frozen=True)
class Pack:
    """Pack the tensors that have enough zeros."""

    selection: Selection
    even_if_larger: bool
    num_threads: int | None
    pattern: None = None

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Leave alone what is not selected; of the rest, only the weights can tell."""
        why_not = "packed already" if info.packed else self.selection.why_not(name, info)
        return None if why_not is None else Step("unchanged", info, why_not)

    def plan_seeing(self, info: TensorInfo, tensor: Tensor) -> Step:
        """Count the zeros; pack if that is smaller."""
        kept = nonzero(as_dense(tensor, self.num_threads), self.num_threads).kept
        smaller = replace(info, packed=True, kept=kept)
        if self.even_if_larger or smaller.nbytes < info.dense_nbytes:
            return Step("packed", smaller)
        return Step("unchanged", info, STAYS_DENSE)

    def make(self, step: Step, tensor: Tensor) -> Tensor:
        """Pack, or leave as it is."""
        if step.action == "unchanged":
            return tensor
        return pack(as_dense(tensor, self.num_threads), num_threads=self.num_threads)


@dataclass(frozen=True)
class Unpack:
    """Turn packed tensors into dense ones."""

    selection: Selection
    num_threads: int | None
    pattern: None = None

    def plan(self, name: str, info: TensorInfo) -> Step:  # noqa: ARG002  # all are treated alike
        """Unpack what is packed."""
        if info.packed:
            return Step("unpacked", dense(info))
        return Step("unchanged", info, "dense already")

    def plan_seeing(self, info: TensorInfo, tensor: Tensor) -> Step:
        """Never needed: the header always tells."""
        raise NotImplementedError(info, tensor)

    def make(self, step: Step, tensor: Tensor) -> Tensor:
        """Unpack, or leave as it is."""
        return stored_as(step.info, tensor, self.num_threads)


def dense(info: TensorInfo) -> TensorInfo:
    """Return the plan of the same tensor, dense."""
    return replace(info, packed=False, kept=None, pattern=None)


def as_dense(tensor: Tensor, num_threads: int | None) -> Array:
    """Return the weights of a tensor whose dtype prunepack knows."""
    if isinstance(tensor, PackedTensor):
        return tensor.to_dense(num_threads=num_threads)
    assert isinstance(tensor, np.ndarray)  # the selection leaves unknown dtypes out
    return tensor


def stored_as(info: TensorInfo, tensor: Tensor, num_threads: int | None) -> Tensor:
    """Return an unchanged tensor, unpacked if it is to be stored dense."""
    if isinstance(tensor, PackedTensor) and not info.packed:
        return as_dense(tensor, num_threads)
    return tensor


def _nbytes(info: TensorInfo, kept: int) -> int:
    return replace(info, kept=kept).nbytes


def _expected_kept(pattern: Pattern, info: TensorInfo) -> int | None:
    """Estimate how many weights stay, without looking at them; None if nothing tells."""
    pruned = pattern.target(info.shape)
    if pruned is None and isinstance(pattern, Block):
        pruned = int(pattern.sparsity * prod(info.shape))
    if pruned is None:
        return info.kept
    kept = prod(info.shape) - pruned
    return kept if info.kept is None else min(kept, info.kept)
