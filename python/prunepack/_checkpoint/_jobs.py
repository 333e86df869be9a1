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
    from collections.abc import Mapping

    from .._arrays import Array
    from .._files import Tensor, TensorInfo
    from .._patterns import Pattern
    from ._selection import Decision, Selection

# Below this share of the dense size, a packed tensor is smaller whatever the estimate missed. Above
# it, the weights are counted first.
SURELY_SMALLER = 0.9

STAYS_DENSE = "stayed dense: packing would not make it smaller"


@dataclass(frozen=True)
class Step:
    """What happens to one tensor, and how it is to be stored."""

    action: str
    info: TensorInfo
    note: str | None = None
    pattern: Pattern | None = None


class Job(Protocol):
    """Plans a step from what the header says, then carries it out on the tensor."""

    @property
    def num_threads(self) -> int | None:
        """Threads to use."""
        ...

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Decide what becomes of a tensor, or return None if its header cannot tell."""
        ...

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor) -> Step:
        """Decide what becomes of a tensor from the tensor itself."""
        ...

    def make(self, step: Step, tensor: Tensor) -> Tensor:
        """Return what is to be stored."""
        ...


@dataclass(frozen=True)
class Prune:
    """Zero weights, and pack what is left where that is smaller."""

    decisions: Mapping[str, Decision]
    packed: bool
    even_if_larger: bool
    num_threads: int | None

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Prune what is to be pruned; store it packed if that is wanted and surely smaller."""
        decision = self.decisions[name]
        pattern = decision.pattern
        if pattern is None:
            as_is = self.packed and decision.then == "skip"
            return Step("unchanged", info if as_is else dense(info), decision.why)
        if not self.packed:
            return Step("pruned", dense(info), decision.why or None, pattern)
        smaller = _packed(info, pattern)
        if self.even_if_larger or surely_smaller(smaller, pattern):
            return Step("pruned", smaller, decision.why or None, pattern)
        return None

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor) -> Step:
        """Count what the pattern leaves; store it packed if that is smaller."""
        pattern = self.decisions[name].pattern
        assert pattern is not None  # or the header would have told
        weights = as_dense(tensor, self.num_threads)
        mask = prune_mask(weights, pattern, num_threads=self.num_threads)
        kept = Mask(weights.shape, mask.bits & nonzero(weights, self.num_threads).bits).kept
        smaller = replace(_packed(info, pattern), kept=kept)
        if smaller.nbytes < info.dense_nbytes:
            return Step("pruned", smaller, self.decisions[name].why or None, pattern)
        return Step("pruned", dense(info), STAYS_DENSE, pattern)

    def make(self, step: Step, tensor: Tensor) -> Tensor:
        """Prune, and pack in the same pass over the weights."""
        if step.pattern is None:
            return stored_as(step.info, tensor, self.num_threads)
        weights = as_dense(tensor, self.num_threads)
        if step.info.packed:
            mask = prune_mask(weights, step.pattern, num_threads=self.num_threads)
            return pack(weights, mask, num_threads=self.num_threads)
        return prune(weights, step.pattern, num_threads=self.num_threads)


@dataclass(frozen=True)
class Pack:
    """Pack the tensors that have enough zeros."""

    selection: Selection
    even_if_larger: bool
    num_threads: int | None

    def plan(self, name: str, info: TensorInfo) -> Step | None:
        """Leave alone what is not selected; of the rest, only the weights can tell."""
        why_not = "packed already" if info.packed else self.selection.why_not(name, info)
        return None if why_not is None else Step("unchanged", info, why_not)

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor) -> Step:  # noqa: ARG002
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

    num_threads: int | None

    def plan(self, name: str, info: TensorInfo) -> Step:  # noqa: ARG002  # all are treated alike
        """Unpack what is packed."""
        if info.packed:
            return Step("unpacked", dense(info))
        return Step("unchanged", info, "dense already")

    def plan_seeing(self, name: str, info: TensorInfo, tensor: Tensor) -> Step:
        """Never needed: the header always tells."""
        raise NotImplementedError(name, info, tensor)

    def make(self, step: Step, tensor: Tensor) -> Tensor:
        """Unpack, or leave as it is."""
        return stored_as(step.info, tensor, self.num_threads)


def dense(info: TensorInfo) -> TensorInfo:
    """Return the plan of the same tensor, dense."""
    return replace(info, packed=False, kept=None, most_kept=None, pattern=None)


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


def surely_smaller(packed: TensorInfo, pattern: Pattern) -> bool:
    """Tell whether a plan to pack saves space whatever the weights are."""
    if packed.nbytes < packed.dense_nbytes:
        return True
    if not isinstance(pattern, Block):
        return False
    about = int((1 - pattern.sparsity) * prod(packed.shape))  # tiles at the edges are smaller
    return replace(packed, kept=about).nbytes < SURELY_SMALLER * packed.dense_nbytes


def _packed(info: TensorInfo, pattern: Pattern) -> TensorInfo:
    """Return the plan of a tensor that is pruned and packed, as far as its header tells."""
    pruned = pattern.target(info.shape)
    bounds = [
        *((prod(info.shape) - pruned,) if pruned is not None else ()),
        *((info.kept,) if info.kept is not None else ()),
    ]
    most = min(bounds) if bounds else None
    return replace(info, packed=True, kept=None, most_kept=most, pattern=str(pattern))
