"""What prunepack's words mean, in NumPy: slow, short, and not derived from the C++."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from prunepack import NM, Block, Threshold, Unstructured

if TYPE_CHECKING:
    import numpy.typing as npt

    Weights = npt.NDArray[Any]
    Kept = npt.NDArray[np.bool_]


def key(x: Weights) -> npt.NDArray[Any]:
    """Rank of a weight: |x| as an unsigned integer, with NaN above infinity."""
    bits: Weights = x.view(f"u{x.itemsize}")
    if x.dtype == np.uint8:
        return bits
    if x.dtype == np.int8:
        return np.abs(x.astype(np.int16)).astype(np.uint8)
    without_sign: Weights = bits & bits.dtype.type(2 ** (8 * x.itemsize - 1) - 1)
    return without_sign


def magnitude(x: Weights) -> npt.NDArray[np.float64]:
    """Give |x| as float64, which holds every dtype exactly."""
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return np.abs(x.astype(np.float64))


def keep_all_but_smallest(key: npt.NDArray[Any], sparsity: float) -> Kept:
    kept = np.ones(key.size, dtype=bool)
    kept[np.argsort(key.ravel(), kind="stable")[: round(sparsity * key.size)]] = False
    return kept.reshape(key.shape)


def keep_n_of_m(key: npt.NDArray[Any], n: int, m: int, axis: int) -> Kept:
    if key.ndim < 2:
        return _keep_n_of_m_in_rows(key.reshape(1, -1), n, m).reshape(key.shape)
    in_front = np.moveaxis(key, axis, -1)
    rows = in_front.reshape(math.prod(in_front.shape[:-1]), in_front.shape[-1])
    return np.moveaxis(_keep_n_of_m_in_rows(rows, n, m).reshape(in_front.shape), -1, axis)


def _keep_n_of_m_in_rows(key: npt.NDArray[Any], n: int, m: int) -> Kept:
    rows, length = key.shape
    # The last group is filled with padding that ranks below every weight.
    padded = np.pad(key.astype(np.int64), ((0, 0), (0, -length % m)), constant_values=-1)
    groups = padded.reshape(rows, padded.shape[1] // m, m)
    kept = np.ones(groups.shape, dtype=bool)
    np.put_along_axis(kept, np.argsort(groups, axis=-1, kind="stable")[..., :n], False, axis=-1)
    return kept.reshape(padded.shape)[:, :length]


def norm_of(tile: Weights, norm: str) -> float:
    """Norm of one tile, with NaN (of either sign) as NaN and l2 left squared."""
    x = magnitude(tile).ravel()
    if norm == "max":
        return float(x.max())
    terms = np.zeros(-(-x.size // 8) * 8)  # element e goes to lane e mod 8
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        terms[: x.size] = x if norm == "l1" else x * x
        lanes = np.cumsum(terms.reshape(-1, 8), axis=0)[-1]
        lanes = lanes[:4] + lanes[4:]
        lanes = lanes[:2] + lanes[2:]
        return float(lanes[0] + lanes[1])


def tiles_of(shape: tuple[int, ...], tile: tuple[int | None, ...]) -> list[tuple[slice, ...]]:
    """Tiles of a tensor in row-major order of the tile grid; those at the edges are smaller."""
    steps = (*tile, *(1,) * len(shape))[: len(shape)]
    starts = [range(0, size, step or size or 1) for size, step in zip(shape, steps, strict=True)]
    return [
        tuple(
            slice(begin, min(begin + axis.step, size))
            for begin, axis, size in zip(corner, starts, shape, strict=True)
        )
        for corner in itertools.product(*starts)
    ]


def keep_blocks(x: Weights, pattern: Block) -> Kept:
    tiles = tiles_of(x.shape, pattern.shape)
    norms = np.array([norm_of(x[tile], pattern.norm) for tile in tiles])
    kept = np.ones(x.shape, dtype=bool)
    order = np.argsort(norms, kind="stable")  # NumPy puts NaN last, in order
    for lost in order[: round(pattern.sparsity * len(tiles))]:
        kept[tiles[lost]] = False
    return kept


def kept(
    w: Weights,
    pattern: Unstructured | Threshold | NM | Block,
    importance: Weights | None = None,
) -> Kept:
    """Which weights `pattern` keeps."""
    ranked = w if importance is None else importance
    match pattern:
        case Unstructured(sparsity, "tensor"):
            return keep_all_but_smallest(key(ranked), sparsity)
        case Unstructured(sparsity, _):
            rows = [keep_all_but_smallest(row, sparsity) for row in key(ranked)]
            return np.array(rows, dtype=bool).reshape(w.shape)
        case Threshold(value):
            return ~(magnitude(ranked) <= value)
        case NM(n, m, axis):
            return keep_n_of_m(key(ranked), n, m, axis)
        case Block():
            return keep_blocks(ranked, pattern)


def prune(w: Weights, kept: Kept) -> Weights:
    pruned = w.copy()
    pruned[~kept] = np.zeros((), w.dtype)
    return pruned


def rounded_activations(x: Weights, activations: str) -> npt.NDArray[np.float64]:
    """Round a batch of float32 rows to what is multiplied with the weights."""
    if activations == "bfloat16":
        with np.errstate(invalid="ignore"):
            return x.astype(ml_dtypes.bfloat16).astype(np.float64)
    if activations == "int8":
        finite = np.isfinite(x).all(axis=1, keepdims=True)
        x = np.where(finite, x, np.float32(0))
        step = np.abs(x).max(axis=1, keepdims=True, initial=0) / np.float32(127)
        steps = np.clip(np.rint(x / np.where(step > 0, step, 1)), -127, 127)
        return np.where(finite, np.where(step > 0, steps, 0) * step.astype(np.float64), np.nan)
    return x.astype(np.float64)


def linear(
    x: Weights,
    w: Weights,
    bias: Weights | None = None,
    scales: Weights | None = None,
    activations: str = "float32",
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Linear layer in float64, and how far from it a sum in float32 may be.

    Each of the n terms is rounded when it is multiplied and at most n times as it is added to others,
    and there are four more roundings at the end: n + 4 times 2**-24 of the sum of the magnitudes. The
    second part is for sums so small that their roundings are absolute.
    """
    rounded, weights = rounded_activations(x, activations), w.astype(np.float64)
    scale = np.ones(len(w)) if scales is None else scales.astype(np.float64)
    shift = np.zeros(len(w)) if bias is None else bias.astype(np.float64)
    roundings = w.shape[1] + 4
    with np.errstate(invalid="ignore"):
        exact = rounded @ weights.T * scale + shift
        magnitudes = np.abs(rounded) @ np.abs(weights).T * np.abs(scale) + np.abs(shift)
        return exact, roundings * (magnitudes * 2.0**-24 + (1 + np.abs(scale)) * 2.0**-126)


def rows_and_cols(shape: tuple[int, ...]) -> tuple[int, int]:
    return math.prod(shape[:-1]), shape[-1] if shape else 1


def mask_bytes(kept: Kept) -> npt.NDArray[np.uint8]:
    """Mask of a tensor: least significant bit first, each row from a fresh byte."""
    return np.packbits(kept.reshape(rows_and_cols(kept.shape)), axis=1, bitorder="little")


def pack(w: Weights, kept: Kept) -> tuple[npt.NDArray[np.uint8], Weights, npt.NDArray[np.int64]]:
    """Mask, values and row offsets of what is kept and not zero."""
    stored = (kept & (key(w) != 0)).reshape(rows_and_cols(w.shape))
    values = w.reshape(stored.shape)[stored]
    return mask_bytes(stored), values, np.cumsum([0, *stored.sum(axis=1)], dtype=np.int64)


def kept_together(
    tensors: list[Weights],
    sparsity: float,
    *,
    normalize: bool = False,
    min_sparsity: float = 0.0,
    max_sparsity: float = 1.0,
) -> list[Kept]:
    """Which weights stay when those of several tensors are ranked together.

    The order is by importance, then tensor, then key, then index. Every tensor first loses as many
    as it must; of the others that it may lose, those go that come first in the order.
    """
    if not tensors:
        return []
    importances = [importance(w, math.sqrt(squares_sum(w)) if normalize else 1.0) for w in tensors]
    columns = (
        np.concatenate([np.arange(w.size, dtype=np.int64) for w in tensors]),
        np.concatenate([key(w).ravel().astype(np.uint64) for w in tensors]),
        np.concatenate([np.full(w.size, i) for i, w in enumerate(tensors)]),
        np.concatenate([each.ravel() for each in importances]),
    )
    order = np.lexsort(columns)
    lost = np.zeros(order.size, dtype=bool)
    may = np.zeros(order.size, dtype=bool)
    for i, w in enumerate(tensors):
        mine = order[columns[2][order] == i]
        must = round(min_sparsity * w.size)
        lost[mine[:must]] = True
        may[mine[must : round(max_sparsity * w.size)]] = True
    missing = round(sparsity * order.size) - int(lost.sum())
    lost[order[may[order]][:missing]] = True
    ends = np.cumsum([w.size for w in tensors])[:-1]
    return [~part.reshape(w.shape) for part, w in zip(np.split(lost, ends), tensors, strict=True)]


def importance(x: Weights, norm: float) -> npt.NDArray[np.uint64]:
    """Bits of |x| / norm as a float64, in which all NaN are one."""
    size = magnitude(x)
    if norm != 1:
        size = np.divide(size, norm, out=np.zeros_like(size), where=size != 0)
    size[np.isnan(size)] = np.nan
    return np.abs(size).view(np.uint64)


def squares_sum(x: Weights) -> float:
    """Add up the squares: 4,096 at a time in eight lanes, then those sums in order."""
    flat = x.ravel()
    total = 0.0
    for first in range(0, flat.size, 4096):
        total += norm_of(flat[first : first + 4096], "l2")
    return total


def key_histogram(x: Weights, low: int, shift: int, bins: int) -> list[int]:
    """How many keys are below `low`, in each bin of 2^shift keys from there on, and beyond."""
    counts = [0] * (bins + 2)
    for each in key(x).ravel().tolist():
        counts[0 if each < low else min((each - low) >> shift, bins) + 1] += 1
    return counts
