"""Patterns: the rules that say which weights are pruned."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from . import _core
from ._strict_json import shown

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._arrays import Weights
    from ._dtypes import DtypeInfo

Scope: TypeAlias = Literal["tensor", "row", "model"]
Normalize: TypeAlias = Literal["l2"]
Norm: TypeAlias = Literal["l1", "l2", "max"]


@dataclass(frozen=True)
class Unstructured:
    """Prune the smallest weights, wherever they are.

    Of a population of N weights, ``round(sparsity * N)`` are pruned, never more or fewer: those
    with the smallest magnitudes, and among equals the ones that come first. NaN ranks above
    infinity. Zeros that were there already count, because they are the smallest.

    Parameters
    ----------
    sparsity : float
        The part to prune, from 0 to 1.
    scope : {"tensor", "row", "model"}
        What a population is: the whole tensor; or each slice of axis 0, that is each output
        channel (the comparison group of Wanda), which needs at least two axes; or all weights of
        a model together, for `prune_masks` and `prune_checkpoint`.
    normalize : {"l2"}, optional
        With scope "model": rank by ``abs(w) / norm``, where norm is the root of the sum of the
        squares of the weight's tensor, so that a tensor of small weights is not the first to go.
    min_sparsity, max_sparsity : float
        With scope "model": what each tensor loses at least and at most, rounded to a count as
        `sparsity` is. What a tensor loses more or less because of that is made up by the others,
        so that the count over all stays exact.

    Raises
    ------
    ValueError
        If `sparsity` is not from 0 to 1, or not between the two others; if `scope` or `normalize`
        is unknown, or an argument is given that needs scope "model".

    Notes
    -----
    Scope "model" compares tensors of any dtypes by ``abs(w)`` as a float64, which is exact. With
    `normalize` it compares the float64 nearest to ``abs(w) / norm``; the squares are summed in
    float64, 4,096 consecutive ones at a time in eight lanes (element e in lane e mod 8; then lane j
    takes in lane j + 4, j + 2, j + 1), and these sums in order. Every NaN ranks alike, above
    infinity. Among equals the tensor goes first that comes first, and in a tensor the smaller
    weight, then the lower index. The sparsity that makes all that exact is found by histograms
    of the magnitudes: one pass over the tensors for 8 and 16 bits, two or three for float32.

    References
    ----------
    Han et al., "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS
    2015, arXiv:1506.02626. For the scope "row": Sun et al., "A Simple and Effective Pruning Approach
    for Large Language Models", ICLR 2024, arXiv:2306.11695.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> pp.prune(np.array([0.5, -3.0, 1.0, 2.0]), pp.Unstructured(0.5))
    array([ 0., -3.,  0.,  2.])
    """

    sparsity: float
    scope: Scope = "tensor"
    normalize: Normalize | None = None
    min_sparsity: float = 0.0
    max_sparsity: float = 1.0

    def __post_init__(self) -> None:
        for name in ("sparsity", "min_sparsity", "max_sparsity"):
            object.__setattr__(self, name, _checked_sparsity(getattr(self, name), name))
        if self.scope not in get_args(Scope):
            msg = f"scope must be 'tensor', 'row' or 'model', got {shown(self.scope)}"
            raise ValueError(msg)
        if self.normalize is not None and self.normalize not in get_args(Normalize):
            msg = f"normalize must be 'l2' or None, got {shown(self.normalize)}"
            raise ValueError(msg)
        if self.scope != "model":
            self._check_is_of_one_tensor()
        elif not self.min_sparsity <= self.sparsity <= self.max_sparsity:
            msg = (
                f"sparsity must be from min_sparsity to max_sparsity, {self.min_sparsity:g} to"
                f" {self.max_sparsity:g}, got {self.sparsity:g}"
            )
            raise ValueError(msg)

    def _check_is_of_one_tensor(self) -> None:
        if (self.normalize, self.min_sparsity, self.max_sparsity) != (None, 0.0, 1.0):
            msg = (
                "normalize, min_sparsity and max_sparsity go with scope 'model',"
                f" got scope {self.scope!r}"
            )
            raise ValueError(msg)

    def __str__(self) -> str:
        if self.scope == "model":
            return f"unstructured {_percent(self.sparsity)} of the model{self._terms()}"
        scope = "" if self.scope == "tensor" else f" per {self.scope}"
        return f"unstructured {_percent(self.sparsity)}{scope}"

    def _terms(self) -> str:
        normalized = f", {self.normalize} normalized" if self.normalize else ""
        if (self.min_sparsity, self.max_sparsity) == (0.0, 1.0):
            return normalized
        bounds = f"{_percent(self.min_sparsity)} to {_percent(self.max_sparsity)}"
        return f"{normalized}, {bounds} of each tensor"

    def target(self, shape: tuple[int, ...]) -> int:
        """Return how many weights of a tensor of `shape` are pruned."""
        populations = self._populations(shape)
        return populations * self._pruned(math.prod(shape), populations)

    def _populations(self, shape: tuple[int, ...]) -> int:
        if self.scope == "tensor":
            return 1
        if self.scope == "model":
            msg = (
                "scope 'model' ranks the weights of several tensors together, and here is one;"
                " use prune_masks or prune_checkpoint, or scope 'tensor'"
            )
            raise ValueError(msg)
        if len(shape) < 2:
            msg = f"scope 'row' needs weights of at least two axes, got shape {shape}"
            raise ValueError(msg)
        return max(shape[0], 1)

    def _pruned(self, size: int, populations: int) -> int:
        return round(self.sparsity * (size // populations))

    def _write_mask(self, weights: Weights, mask: npt.NDArray[np.uint8], threads: int) -> None:
        populations = self._populations(weights.shape)
        _core.smallest_mask(
            weights.array,
            weights.info.name,
            populations,
            self._pruned(math.prod(weights.shape), populations),
            weights.rows,
            weights.columns,
            mask,
            threads,
        )


@dataclass(frozen=True)
class Threshold:
    """Prune every weight whose magnitude is at most a value.

    Parameters
    ----------
    value : float
        Not negative. A weight w is pruned where ``abs(w) <= value``; NaN never is. The comparison
        is exact: `value` is not rounded to the weights' dtype.

    Raises
    ------
    ValueError
        If `value` is negative or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> pp.prune(np.array([0.5, -3.0, 1.0, 2.0]), pp.Threshold(1.0))
    array([ 0., -3.,  0.,  2.])
    """

    value: float

    def __post_init__(self) -> None:
        # -0.0 is no negative number, but its bits are no key: the sum is +0.0.
        object.__setattr__(self, "value", _real("value", self.value) + 0.0)
        if not self.value >= 0:
            msg = f"value must not be negative or NaN, got {self.value}"
            raise ValueError(msg)

    def __str__(self) -> str:
        return f"threshold {self.value:g}"

    def target(self, shape: tuple[int, ...]) -> None:  # noqa: ARG002
        """Return None: how many weights are pruned depends on them."""
        return

    def _write_mask(self, weights: Weights, mask: npt.NDArray[np.uint8], threads: int) -> None:
        _core.above_mask(
            weights.array,
            weights.info.name,
            _largest_key(float(self.value), weights.info),
            weights.rows,
            weights.columns,
            mask,
            threads,
        )


@dataclass(frozen=True)
class NM:
    """Prune n of every m consecutive weights. Note that n counts zeros.

    ``NM(3, 4)`` makes three of every four weights zero: 75 % sparse. NVIDIA's "2:4" is the same as
    ``NM(2, 4)``, but its "1:4" keeps one of four, which is ``NM.keeping(1, 4)`` or ``NM(3, 4)``.

    The weights with the smallest magnitudes are pruned, and among equals the ones that come first;
    NaN ranks above infinity. A last group of r < m weights stands for m of which the missing ones
    are pruned first, so it loses ``max(0, n - (m - r))``.

    Parameters
    ----------
    n : int
        Zeros in each group, 0 <= n <= m.
    m : int
        The size of a group, at least 1. With a large m this is top-k selection per block.
    axis : int
        The axis that groups run along. The default, 1, is the input channels of a linear layer
        (out, in) and of a convolution (out, in, kh, kw), there for each kernel position apart.
        Weights with one axis are grouped along it.

    Raises
    ------
    ValueError
        If n and m are out of range; when used, if the weights have no such axis.

    References
    ----------
    Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", ICLR
    2021, arXiv:2102.04010, where n counts what is kept.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[0.5, -3.0, 1.0, 2.0]])
    >>> pp.prune(w, pp.NM(2, 4))
    array([[ 0., -3.,  0.,  2.]])
    >>> print(pp.NM.keeping(1, 4))
    3:4 (75 % sparse)
    """

    n: int
    m: int
    axis: int = 1

    def __post_init__(self) -> None:
        for name in ("n", "m", "axis"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
        _check_group(self.m)
        if not 0 <= self.n <= self.m:
            msg = (
                f"n counts the zeros of every m weights, so it must be from 0 to {self.m}, "
                f"got {self.n}"
            )
            raise ValueError(msg)

    @classmethod
    def keeping(cls, kept: int, m: int, axis: int = 1) -> NM:
        """Read n:m the other way: keep `kept` of every m weights.

        Examples
        --------
        >>> NM.keeping(1, 4) == NM(3, 4)
        True
        """
        size, kept = integer("m", m), integer("kept", kept)
        _check_group(size)
        if not 0 <= kept <= size:
            msg = f"kept must be from 0 to {size}, got {kept}"
            raise ValueError(msg)
        return cls(size - kept, size, axis)

    def __str__(self) -> str:
        axis = "" if self.axis == 1 else f" along axis {self.axis}"
        return f"{self.n}:{self.m}{axis} ({_percent(self.n / self.m)} sparse)"

    def target(self, shape: tuple[int, ...]) -> int:
        """Return how many weights of a tensor of `shape` are pruned."""
        outer, length, inner = self._lines(shape)
        groups, rest = divmod(length, self.m)
        return outer * inner * (groups * self.n + self._pruned(rest))

    def _pruned(self, size: int) -> int:
        """Return how many of a group of only `size` weights are pruned."""
        return max(0, self.n - (self.m - size))

    def _lines(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return the tensor's shape as (outer, length, inner), groups running along `length`."""
        if not shape:
            return 1, 1, 1
        axis = 0 if len(shape) == 1 and self.axis == 1 else self.axis
        if not -len(shape) <= axis < len(shape):
            msg = f"axis must be an axis of the weights, got axis {self.axis} for shape {shape}"
            raise ValueError(msg)
        axis %= len(shape)
        return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])

    def _write_mask(self, weights: Weights, mask: npt.NDArray[np.uint8], threads: int) -> None:
        outer, length, inner = self._lines(weights.shape)
        # A group longer than the line is the line: no larger number need reach the kernels.
        m = min(self.m, max(length, 1))
        n = self.n if m == self.m else self._pruned(m)
        _core.nm_mask(
            weights.array,
            weights.info.name,
            outer,
            length,
            inner,
            n,
            m,
            weights.rows,
            weights.columns,
            mask,
            threads,
        )


@dataclass(frozen=True)
class Block:
    """Prune whole tiles of weights: those with the smallest norms.

    The weights are cut into tiles; ``round(sparsity * tiles)`` of them are pruned, among equal norms
    the ones that come first (tiles count row by row). The last tile along an axis may be smaller.

    Parameters
    ----------
    shape : tuple of (int or None)
        The tile, from the first axis on: ``(4,)`` is 4 output channels, ``(1, 4)`` 4 input
        channels, ``(4, 4)`` both, ``(1, None)`` a row, ``(1, 1, None, None)`` a kernel. None is the
        whole axis; axes left out are 1.
    sparsity : float
        The part of the tiles to prune, from 0 to 1.
    norm : {"l2", "l1", "max"}
        How the size of a tile is measured. Summed in float64 in one fixed order, so that no
        norm over- or underflows in a small dtype, and the mask is the same everywhere.

    Raises
    ------
    ValueError
        If a value is out of range; when used, if the weights have fewer axes than `shape`.

    Notes
    -----
    l2 compares sums of squares. The order: element e of a tile, counted row by row, is added to
    lane e mod 8, then lane j takes in lane j + 4, then j + 2, then j + 1. A tile that
    holds a NaN ranks above all others.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> w = np.array([[1.0, 9.0, 2.0], [1.0, 0.0, 2.0]])
    >>> pp.prune(w, pp.Block((2,), 1 / 3))
    array([[0., 9., 2.],
           [0., 0., 2.]])
    """

    shape: tuple[int | None, ...]
    sparsity: float
    norm: Norm = "l2"

    def __post_init__(self) -> None:
        given: Any = self.shape
        extents = tuple(
            None if extent is None else integer("shape", extent)
            for extent in (given if isinstance(given, (tuple, list)) else (given,))
        )
        object.__setattr__(self, "shape", extents)
        if not extents:
            msg = "shape must have at least one axis, got ()"
            raise ValueError(msg)
        if given is None or any(extent is not None and extent < 1 for extent in extents):
            msg = f"shape must hold numbers from 1 on, or None for a whole axis, got {given}"
            raise ValueError(msg)
        object.__setattr__(self, "sparsity", _checked_sparsity(self.sparsity))
        if self.norm not in get_args(Norm):
            msg = f"norm must be 'l1', 'l2' or 'max', got {shown(self.norm)}"
            raise ValueError(msg)

    def __str__(self) -> str:
        tile = "x".join("*" if extent is None else str(extent) for extent in self.shape)
        return f"block {tile} {_percent(self.sparsity)} {self.norm}"

    def target(self, shape: tuple[int, ...]) -> int | None:
        """Return how many weights are pruned, or None if tiles at the edges are smaller."""
        tile = self._tile(shape)
        if any(extent % step for extent, step in zip(shape, tile, strict=False)):
            return None
        return self._pruned(shape, tile) * math.prod(tile)

    def _tile(self, shape: tuple[int, ...]) -> list[int]:
        if len(self.shape) > max(len(shape), 1):
            msg = f"the weights must have the {len(self.shape)} axes of {self}, got shape {shape}"
            raise ValueError(msg)
        extents = shape or (1,)
        steps = self.shape + (1,) * (len(extents) - len(self.shape))
        return [
            max(extent, 1) if step is None else min(step, max(extent, 1))
            for extent, step in zip(extents, steps, strict=True)
        ]

    def _pruned(self, shape: tuple[int, ...], tile: list[int]) -> int:
        tiles = math.prod(
            -(-extent // step) for extent, step in zip(shape or (1,), tile, strict=True)
        )
        return round(self.sparsity * tiles)

    def _write_mask(self, weights: Weights, mask: npt.NDArray[np.uint8], threads: int) -> None:
        tile = self._tile(weights.shape)
        _core.block_mask(
            weights.array,
            weights.info.name,
            weights.shape or (1,),
            tile,
            self.norm,
            self._pruned(weights.shape, tile),
            mask,
            threads,
        )


Pattern: TypeAlias = Unstructured | Threshold | NM | Block
_PATTERNS = get_args(Pattern)


def check_pattern(pattern: object, argument: str = "pattern") -> None:
    """Raise a TypeError that names the argument if `pattern` is none."""
    if not isinstance(pattern, _PATTERNS):
        kind = type(pattern).__name__
        msg = f"{argument} must be an Unstructured, Threshold, NM or Block, got {kind}"
        raise TypeError(msg)


def _checked_sparsity(sparsity: Any, argument: str = "sparsity") -> float:
    checked = _real(argument, sparsity)
    if not 0 <= checked <= 1:
        msg = f"{argument} must be from 0 to 1, got {sparsity}"
        raise ValueError(msg)
    return abs(checked)  # -0.0 would be shown as it is


def _check_group(m: int) -> None:
    if m < 1:
        msg = f"m must be at least 1, got {m}"
        raise ValueError(msg)


def _real(argument: str, value: Any) -> float:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        msg = f"{argument} must be a number, got {type(value).__name__}"
        raise TypeError(msg)
    try:
        return float(value)
    except OverflowError:  # an int that no float holds
        return math.inf if value > 0 else -math.inf


def integer(argument: str, value: Any) -> int:
    """Return an int, or raise a TypeError that names the argument."""
    try:
        return operator.index(value)
    except TypeError:
        msg = f"{argument} must be an int, got {type(value).__name__}"
        raise TypeError(msg) from None


def _percent(part: float) -> str:
    return f"{100 * part:.6g} %"


def _largest_key(value: float, info: DtypeInfo) -> int:
    """Return the key of the largest magnitude of the dtype that is at most `value`."""
    if info.numpy.kind in "iu":
        return int(min(value, 255))
    largest = info.numpy.type(np.inf)
    if not np.isinf(largest):  # float8_e4m3fn has no infinity
        largest = info.numpy.type(448)
    if value >= float(largest):
        return _bits(largest, info)
    with np.errstate(over="ignore"):
        nearest = info.numpy.type(value)
    if math.isfinite(float(nearest)) and float(nearest) <= value:
        return _bits(nearest, info)
    # Rounded up, perhaps beyond the largest finite number: the key below is what was meant.
    return (_bits(nearest, info) if np.isinf(nearest) or math.isfinite(float(nearest)) else 127) - 1


def _bits(number: Any, info: DtypeInfo) -> int:
    return int(np.asarray(number, dtype=info.numpy).view(info.bits)[()])
