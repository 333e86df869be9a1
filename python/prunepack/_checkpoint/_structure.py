"""Which pattern the zeros of a tensor follow, found from its packed mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

# A pattern is named only when it explains the zeros: random zeros at 75 % also obey 1:16.
EXPLAINS = 0.9

CHUNK_BYTES = 1 << 20

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_KEPT = _BITS.sum(axis=1, dtype=np.uint8)
_KEPT_OF_4 = np.maximum(_BITS[:, :4].sum(axis=1), _BITS[:, 4:].sum(axis=1)).astype(np.uint8)

TILES = ((16, 1), (1, 16), (4, 1), (1, 4))


def find_pattern(mask: Bytes, shape: tuple[int, ...]) -> str:
    """Name the strongest pattern that the zeros of a tensor follow.

    Parameters
    ----------
    mask : ndarray of uint8, shape (rows, ceil(cols / 8))
        Kept weights, as `PackedTensor.mask` has them.
    shape : tuple of int
        Shape of the tensor.

    Returns
    -------
    str
        ``"dense"``, ``"all zero"``, an n:m such as ``"3:4"`` (n counts zeros), a tile such
        as ``"block 4x1"``, or ``"unstructured"``.

    Notes
    -----
    Tried are n:m for m of 2, 4, 8 and 16 along axis 1, and tiles of 4 and 16 weights along
    axis 0 and axis 1. A pattern counts when it accounts for nine tenths of the zeros: any
    tensor with enough random zeros has a few in every group of 16. Works on the bits, a
    mebibyte at a time.

    Examples
    --------
    >>> find_pattern(np.array([[0b10001000, 0b00010001]], np.uint8), (1, 16))
    '3:4'
    """
    weights = prod(shape)
    if weights == 0:
        return "dense"
    found = _Counts()
    height, width, inner = _as_matrix(shape)
    for rows in _row_chunks(mask, height, width, inner):
        found.add(rows, width)
    found.forget_larger_than(height, width)
    zeros = weights - found.kept
    if zeros == 0:
        return "dense"
    if found.kept == 0:
        return "all zero"
    return found.n_of_m(zeros / weights) or found.tile(weights) or "unstructured"


def _as_matrix(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return outputs, inputs and what lies inside (kernel positions), axis 1 being the inputs."""
    if len(shape) < 2:
        return 1, prod(shape), 1
    return shape[0], shape[1], prod(shape[2:])


def _row_chunks(mask: Bytes, height: int, width: int, inner: int) -> Iterator[Bytes]:
    """Yield the mask 16 outputs or more at a time, as (outputs, inner, bytes along the inputs)."""
    rows_each = len(mask) // height
    outputs = max(1, CHUNK_BYTES // (16 * max(1, width * inner // 8))) * 16
    for first in range(0, height, outputs):
        rows = mask[first * rows_each : (first + outputs) * rows_each]
        some = min(outputs, height - first)
        if inner == 1 and rows_each == 1:
            yield rows.reshape(some, 1, -1)
        else:
            yield _inputs_last(rows, some, width, inner)


def _inputs_last(rows: Bytes, outputs: int, width: int, inner: int) -> Bytes:
    """Turn bits that run along the last axis into bits that run along axis 1."""
    cols = outputs * width * inner // len(rows)
    kept = np.unpackbits(rows, axis=1, count=cols, bitorder="little")
    kept = kept.reshape(outputs, width, inner).transpose(0, 2, 1)
    return np.packbits(kept, axis=2, bitorder="little")


@dataclass
class _Counts:
    """What the chunks have shown so far."""

    kept: int = 0
    most_kept: dict[int, int] = field(default_factory=lambda: {2: 0, 4: 0, 8: 0, 16: 0})
    live: dict[tuple[int, int], int] = field(default_factory=lambda: dict.fromkeys(TILES, 0))
    """Weights in the tiles that are not all zero."""

    def add(self, rows: Bytes, width: int) -> None:
        kept = _KEPT[rows]
        self.kept += int(kept.sum(dtype=np.int64))
        pairs = _pairs(kept, np.add)
        both = rows & (rows >> np.uint8(1)) & np.uint8(0x55)
        self._most(2, 2 if both.any() else 1)
        self._most(4, int(_KEPT_OF_4[rows].max()))
        self._most(8, int(kept.max()))
        self._most(16, int(pairs.max()))
        self.live[4, 1] += _live_down(rows, 4)
        self.live[16, 1] += _live_down(rows, 16)
        self.live[1, 4] += _live_along(_nibbles(rows), 4, width)
        self.live[1, 16] += _live_along(pairs, 16, width)

    def _most(self, m: int, kept: int) -> None:
        self.most_kept[m] = max(self.most_kept[m], kept)

    def forget_larger_than(self, height: int, width: int) -> None:
        """Drop the groups and tiles of which the tensor has no whole one."""
        self.most_kept = {m: kept for m, kept in self.most_kept.items() if m <= width}
        self.live = {
            tile: live for tile, live in self.live.items() if tile[0] <= height and tile[1] <= width
        }

    def n_of_m(self, sparsity: float) -> str | None:
        """Name the n:m with most zeros, and of equals the one with the smallest groups."""
        shares = {m: (m - kept) / m for m, kept in self.most_kept.items()}
        if not shares:
            return None
        m = max(shares, key=lambda m: (shares[m], -m))
        if shares[m] == 0 or shares[m] < EXPLAINS * sparsity:
            return None
        return f"{m - self.most_kept[m]}:{m}"

    def tile(self, weights: int) -> str | None:
        """Name the largest tile that is nearly always all zero or all kept."""
        zeros = weights - self.kept
        for tile, live in self.live.items():
            if weights - live >= EXPLAINS * zeros and self.kept >= EXPLAINS * live:
                return f"block {tile[0]}x{tile[1]}"
        return None


def _pairs(values: npt.NDArray[Any], together: np.ufunc) -> npt.NDArray[Any]:
    """Combine the values of each two bytes along the last axis; an odd one stays alone."""
    odd = values.shape[-1] % 2
    pairs = together(values[..., : values.shape[-1] - odd : 2], values[..., 1::2])
    return np.concatenate([pairs, values[..., -1:]], axis=-1) if odd else pairs


def _nibbles(rows: Bytes) -> Bytes:
    """Return the low and the high half of each byte, side by side."""
    return np.stack([rows & 0x0F, rows >> 4], axis=-1).reshape(*rows.shape[:-1], -1)


def _live_down(rows: Bytes, side: int) -> int:
    """Count the weights in those tiles of `side` outputs that keep any."""
    whole = len(rows) - len(rows) % side
    tiles = rows[:whole].reshape(-1, side, *rows.shape[1:])
    live = side * int(_KEPT[np.bitwise_or.reduce(tiles, axis=1)].sum(dtype=np.int64))
    if whole < len(rows):
        edge = np.bitwise_or.reduce(rows[whole:], axis=0)
        live += (len(rows) - whole) * int(_KEPT[edge].sum(dtype=np.int64))
    return live


def _live_along(groups: npt.NDArray[Any], side: int, width: int) -> int:
    """Count the weights in those tiles of `side` inputs that keep any."""
    starts = np.arange(groups.shape[-1]) * side
    sizes = np.clip(width - starts, 0, side)
    live = np.count_nonzero(groups.reshape(-1, groups.shape[-1]), axis=0)
    return int(live @ sizes)
