"""Packed tensors as compressed-tensors' ``sparse-24-bitmask`` stores them.

``P.shape`` (the dense shape as a column), ``P.compressed`` (two values of every group of four, zeros
among them where a group has fewer) and ``P.bitmask``. The reader is with that of
``sparse-bitmask``, which has the same parts and one more.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ._entries import Entry
from ._strict_json import shown

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._packed import PackedTensor
    from ._sparse_bitmask import Origin

    Array = npt.NDArray[Any]
    Bytes = npt.NDArray[np.uint8]

_CHUNK = 1 << 22


def _filled(nibble: int) -> int:
    """Set the lowest bits that are not set until there are two of them."""
    for bit in (1, 2, 4, 8):
        if nibble.bit_count() < 2:
            nibble |= bit
    return nibble


_FILLED = np.array([_filled(b & 15) | _filled(b >> 4) << 4 for b in range(256)], np.uint8)
_TOO_MANY = np.array([max((b & 15).bit_count(), (b >> 4).bit_count()) > 2 for b in range(256)])


def planned_parts_24(
    origin: Origin, dtype: str, shape: tuple[int, ...], itemsize: int
) -> dict[str, Entry]:
    """Describe the parts of a packed tensor to be; all their lengths are known beforehand."""
    rows, cols = shape
    return {
        origin.part("shape"): Entry("I64", (2, 1), 16),
        origin.part("compressed"): Entry(dtype, (rows, cols // 2), rows * cols // 2 * itemsize),
        origin.part("bitmask"): Entry("U8", (rows, -(-cols // 8)), rows * -(-cols // 8)),
    }


def stored_parts_24(origin: Origin, name: str, packed: PackedTensor) -> dict[str, Array]:
    """Return the parts of a packed tensor.

    Raises
    ------
    ValueError
        If a group of four keeps more than two weights; the message names the first.
    """
    rows, cols = packed.shape
    broken = first_broken_group(packed.mask, cols)
    if broken is not None:
        msg = (
            f"tensor {shown(name)} must keep at most 2 of every 4 weights to be stored as"
            f" sparse-24-bitmask, the group at {broken} keeps more"
        )
        raise ValueError(msg)
    mask = _with_two_of_four(packed.mask, cols)
    return {
        origin.part("shape"): np.array([[rows], [cols]], np.int64),
        origin.part("compressed"): _with_zeros(packed, mask).reshape(rows, cols // 2),
        origin.part("bitmask"): mask,
    }


def first_broken_group(mask: Bytes, cols: int) -> tuple[int, int] | None:
    """Return where the first group of four begins that keeps more than two, or None."""
    broken = np.flatnonzero(_TOO_MANY[mask])
    if not broken.size:
        return None
    row, octet = divmod(int(broken[0]), mask.shape[1])
    low = int(mask[row, octet]) & 15
    return row, min(8 * octet + (0 if low.bit_count() > 2 else 4), cols - 4)


def _with_two_of_four(mask: Bytes, cols: int) -> Bytes:
    filled = _FILLED[mask]
    if cols % 8:
        filled[:, -1] &= 15
    return filled


def _with_zeros(packed: PackedTensor, mask: Bytes) -> Array:
    """Return the values with a zero wherever `mask` keeps one that is not stored."""
    if packed.kept == prod(packed.shape) // 2:
        return packed.values
    values = np.zeros(prod(packed.shape) // 2, packed.values.dtype)
    rows_each = max(1, _CHUNK // (8 * mask.shape[1]))
    taken = placed = 0
    for first in range(0, len(mask), rows_each):
        rows = slice(first, first + rows_each)
        every = np.unpackbits(mask[rows], axis=1, bitorder="little").astype(bool)
        real = np.unpackbits(packed.mask[rows], axis=1, bitorder="little")[every].astype(bool)
        stored = int(real.sum())
        values[placed : placed + real.size][real] = packed.values[taken : taken + stored]
        taken, placed = taken + stored, placed + real.size
    return values
