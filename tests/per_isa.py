"""The whole-tensor operations on one ISA and a number of threads, past the public choice.

Everything these functions store goes into the middle of a buffer filled with a sentinel,
which must still be there afterwards.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from prunepack import NM, Block, Unstructured, _core
from reference import pack, rows_and_cols
from samples import bits_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

SENTINEL = 0xA5
MARGIN = 3  # elements: an odd number, so that stores are never aligned to a register


@contextmanager
def guarded(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    """Lend the middle of a buffer and check afterwards that the rest was left alone."""
    size = prod(shape)
    buffer = np.full((size + 2 * MARGIN) * dtype.itemsize, SENTINEL, np.uint8).view(dtype)
    yield buffer[MARGIN : MARGIN + size].reshape(shape)
    outside = np.concatenate([buffer[:MARGIN], buffer[MARGIN + size :]])
    assert np.all(outside.view(np.uint8) == SENTINEL), "wrote outside the output"


@dataclass(frozen=True)
class Operations:
    """The private bindings, called as the public functions call them."""

    isa: str
    threads: int = 1

    def mask(
        self, w: npt.NDArray[Any], pattern: Unstructured | NM | Block
    ) -> npt.NDArray[np.uint8]:
        rows, cols = rows_and_cols(w.shape)
        x = w.view(bits_type(w.dtype))
        dtype = w.dtype.name
        with guarded((rows, -(-cols // 8)), np.dtype(np.uint8)) as mask:
            match pattern:
                case Unstructured():
                    populations = max(w.shape[0], 1) if pattern.scope == "row" else 1
                    prune = round(pattern.sparsity * (w.size // populations))
                    _core.smallest_mask(
                        x, dtype, populations, prune, rows, cols, mask, **self._where
                    )
                case NM(n, m, axis):
                    view = _around(w.shape, axis)
                    _core.nm_mask(x, dtype, *view, n, m, rows, cols, mask, **self._where)
                case Block():
                    shape = w.shape or (1,)
                    tile = _whole_tile(pattern.shape, shape)
                    tiles = prod(-(-size // step) for size, step in zip(shape, tile, strict=True))
                    _core.block_mask(
                        x,
                        dtype,
                        list(shape),
                        tile,
                        pattern.norm,
                        round(pattern.sparsity * tiles),
                        mask,
                        **self._where,
                    )
            return mask.copy()

    def above_mask(self, w: npt.NDArray[Any], key: int) -> tuple[npt.NDArray[np.uint8], int]:
        """Keep what ranks above `key`, and count it."""
        rows, cols = rows_and_cols(w.shape)
        x = w.view(bits_type(w.dtype))
        with guarded((rows, -(-cols // 8)), np.dtype(np.uint8)) as mask:
            count = _core.above_mask(x, w.dtype.name, key, rows, cols, mask, **self._where)
            return mask.copy(), count

    def pack(
        self, w: npt.NDArray[Any], given: npt.NDArray[np.uint8] | None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
        """Mask and values of the kept weights that are not zero."""
        rows, cols = rows_and_cols(w.shape)
        x = w.view(bits_type(w.dtype))
        with (
            guarded((rows, -(-cols // 8)), np.dtype(np.uint8)) as mask,
            guarded((w.size,), x.dtype) as values,
        ):
            count = _core.pack(x, w.dtype.name, rows, cols, given, mask, values, **self._where)
            return mask.copy(), values[:count].view(w.dtype).copy()

    def unpack(
        self, mask: npt.NDArray[np.uint8], values: npt.NDArray[Any], shape: tuple[int, ...]
    ) -> npt.NDArray[Any]:
        rows, cols = rows_and_cols(shape)
        with guarded(shape, bits_type(values.dtype)) as out:
            _core.unpack(
                mask,
                values.view(out.dtype),
                values.dtype.name,
                rows,
                cols,
                out,
                **self._where,
            )
            return out.view(values.dtype).copy()

    def apply_mask(self, w: npt.NDArray[Any], mask: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        rows, cols = rows_and_cols(w.shape)
        with guarded(w.shape, bits_type(w.dtype)) as out:
            _core.apply_mask(w.view(out.dtype), w.dtype.name, rows, cols, mask, out, **self._where)
            return out.view(w.dtype).copy()

    def prepare(
        self, w: npt.NDArray[Any], layout: str | None = None, activations: str = "float32"
    ) -> _core.Prepared:
        mask, values, _ = pack(w, np.ones(w.shape, dtype=bool))
        bits, dtype = values.view(bits_type(w.dtype)), w.dtype.name
        rows, cols = w.shape
        return _core.prepare(
            mask, bits, dtype, rows, cols, layout, activations=activations, **self._where
        )

    def linear(
        self,
        x: npt.NDArray[Any],
        matrix: _core.Prepared,
        outputs: int,
        bias: npt.NDArray[np.float32] | None = None,
        scales: npt.NDArray[np.float32] | None = None,
        activations: str = "float32",
    ) -> npt.NDArray[np.float32]:
        with guarded((len(x), outputs), np.dtype(np.float32)) as out:
            _core.linear(matrix, x, x.dtype.name, activations, scales, bias, out, **self._where)
            return out.copy()

    @property
    def _where(self) -> dict[str, Any]:
        return {"threads": self.threads, "isa": self.isa}


def _around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Sizes before, along and after the axis that groups run along."""
    if len(shape) < 2:
        return 1, prod(shape), 1
    axis %= len(shape)
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def _whole_tile(tile: tuple[int | None, ...], shape: tuple[int, ...]) -> list[int]:
    """Sides of a tile on every axis: 1 where none is given, the whole axis for None."""
    sides = (*tile, *(1,) * (len(shape) - len(tile)))
    return [max(1, size if side is None else side) for side, size in zip(sides, shape, strict=True)]
