"""Which patterns the zeros of a tensor follow, found from its packed mask."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import _core
from .._arrays import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

# A pattern is named only when it explains the zeros: random zeros at 75 % also obey 1:16.
EXPLAINS = 0.9

# Masks of more than two axes are turned so many bytes at a time.
CHUNK_BYTES = 1 << 20

GROUPS = (2, 4, 8, 16, 32)
SIDES = (1, 4, 8, 16, 32)


class Structure(NamedTuple):
    """What the zeros of a tensor look like.

    Attributes
    ----------
    pattern : str
        The strongest pattern that they follow: ``"dense"``, ``"all zero"``, an n:m such as
        ``"3:4"`` (n counts zeros), a tile such as ``"block 4x1"``, or ``"unstructured"``.
    obeys : tuple of str
        Every n:m and tile, of those tried, that the tensor could have been pruned with.
    """

    pattern: str
    obeys: tuple[str, ...] = ()


def find_structure(
    mask: Bytes, shape: tuple[int, ...], num_threads: int | None = None
) -> Structure:
    """Find the patterns that the zeros of a tensor follow.

    Parameters
    ----------
    mask : ndarray of uint8, shape (rows, ceil(cols / 8))
        Kept weights, as `PackedTensor.mask` has them.
    shape : tuple of int
        Shape of the tensor.
    num_threads : int, optional
        Threads to use; by default all cores this process may use.

    Returns
    -------
    Structure
        The strongest pattern, and all that are obeyed.

    Notes
    -----
    Tried are n:m for m of 2, 4, 8, 16 and 32 along axis 1, and tiles of 1, 4, 8, 16 or 32 weights
    along axis 0 and as many along axis 1, whole rows (``"block 1x*"``) and whole columns. An n:m is
    obeyed with the n that every group has. A tile is obeyed when tiles that are all zero hold nine
    tenths of the zeros. The strongest is the n:m that accounts for nine tenths of the zeros,
    else the largest tile whose others are also nearly all kept.

    Examples
    --------
    >>> find_structure(np.array([[0b10001000, 0b00010001]], np.uint8), (1, 16))
    Structure(pattern='3:4', obeys=('1:2', '3:4', '6:8', '12:16'))
    """
    weights = prod(shape)
    found = None if weights == 0 else _count(mask, shape, resolve_threads(num_threads))
    if found is None or found.kept == weights:
        return Structure("dense")
    if found.kept == 0:
        return Structure("all zero")
    zeros = weights - found.kept
    tiles = [tile for tile, live in found.live.items() if weights - live >= EXPLAINS * zeros]
    groups = {m: m - kept for m, kept in found.most_kept.items() if kept < m}
    obeys = *(f"{n}:{m}" for m, n in groups.items()), *(f"block {tile}" for tile in tiles)
    return Structure(
        _n_of_m(groups, zeros, found.kept) or _tile(tiles, found) or "unstructured", obeys
    )


def _n_of_m(groups: dict[int, int], zeros: int, kept: int) -> str | None:
    """Name the n:m with most zeros, if it could hardly have more; of equals the smallest m."""
    m = max(groups, key=lambda m: (groups[m] / m, -m), default=None)
    if m is None:
        return None
    share = groups[m] / m
    few_more_zeros = share * (zeros + kept) >= EXPLAINS * zeros
    few_less_kept = kept >= EXPLAINS * (1 - share) * (zeros + kept)
    return f"{groups[m]}:{m}" if few_more_zeros and few_less_kept else None


def _tile(tiles: list[str], found: _Counts) -> str | None:
    """Name the largest tile that is nearly always all zero or all kept."""
    for tile in tiles:
        if found.kept >= EXPLAINS * found.live[tile]:
            return f"block {tile}"
    return None


class _Counts(NamedTuple):
    """What is known of a mask."""

    kept: int
    most_kept: dict[int, int]
    """By the size of a group; of sizes that fit in the tensor."""
    live: dict[str, int]
    """By tile, the largest first: how many weights are in tiles that are not all zero."""


def _count(mask: Bytes, shape: tuple[int, ...], threads: int) -> _Counts:
    height, width, depth = _as_matrix(shape)
    kept = live_lines = 0
    most_kept = np.zeros(len(GROUPS), dtype=np.int64)
    live = np.zeros((len(SIDES), len(SIDES)), dtype=np.int64)
    columns = np.zeros((depth, -(-width // 8)), dtype=np.uint8)
    here = np.empty_like(columns)
    for chunk in _row_chunks(mask, height, width, depth):
        some = _core.mask_structure(chunk, width, here, threads)
        kept += some[0]
        most_kept = np.maximum(most_kept, some[1])
        live += some[2]
        live_lines += some[3]
        columns |= here
    live_columns = height * int(_core.count_rows(columns).sum())
    return _Counts(
        kept,
        {m: int(most) for m, most in zip(GROUPS, most_kept, strict=True) if m <= width},
        _by_tile(live, live_lines, live_columns, height, width),
    )


def _by_tile(
    live: npt.NDArray[np.int64], live_lines: int, live_columns: int, height: int, width: int
) -> dict[str, int]:
    """Name the tiles that are smaller than the tensor and larger than a weight, largest first."""
    tiles = [
        (tall * wide, f"{tall}x{wide}", int(live[i, j]))
        for i, tall in enumerate(SIDES)
        for j, wide in enumerate(SIDES)
        if tall <= height and wide <= width and tall * wide > 1
    ]
    if height > 1 and width > 1:
        tiles += [(width, "1x*", live_lines), (height, "*x1", live_columns)]
    return {name: count for _, name, count in sorted(tiles, key=lambda tile: -tile[0])}


def _as_matrix(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return outputs, inputs and what lies inside (kernel positions), axis 1 being the inputs."""
    if len(shape) < 2:
        return 1, prod(shape), 1
    return shape[0], shape[1], prod(shape[2:])


def _row_chunks(mask: Bytes, height: int, width: int, depth: int) -> Iterator[Bytes]:
    """Yield the mask as (outputs, kernel positions, bytes along the inputs), in chunks."""
    rows_each = len(mask) // height
    if rows_each == 1 and depth == 1:
        yield mask.reshape(height, 1, -1)
        return
    highest = SIDES[-1]
    outputs = max(1, CHUNK_BYTES // (highest * max(1, width * depth // 8))) * highest
    for first in range(0, height, outputs):
        rows = mask[first * rows_each : (first + outputs) * rows_each]
        yield _inputs_last(rows, min(outputs, height - first), width, depth)


def _inputs_last(rows: Bytes, outputs: int, width: int, depth: int) -> Bytes:
    """Turn bits that run along the last axis into bits that run along axis 1."""
    cols = outputs * width * depth // len(rows)
    kept = np.unpackbits(rows, axis=1, count=cols, bitorder="little")
    kept = kept.reshape(outputs, width, depth).transpose(0, 2, 1)
    return np.packbits(kept, axis=2, bitorder="little")
