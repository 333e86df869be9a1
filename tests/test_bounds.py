"""Kernels read and write nothing past the end of what they are given.

Every array ends where its page of memory ends, and the next page may not be touched. A kernel
that strays kills the process, which is why each ISA runs in its own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from prunepack import _core
from reference import key
from samples import DTYPES, REGISTER_BYTES, bits_type, random_bits

if TYPE_CHECKING:
    from collections.abc import Callable

COMPUTABLE = [each for each in DTYPES if each.name in ("float32", "float16", "bfloat16", "int8")]
LIBC = ctypes.CDLL(None, use_errno=True)
PAGE = mmap.PAGESIZE


class Cliff:
    """Pages of memory with a page behind them that nobody may touch."""

    def __init__(self, pages: int = 1) -> None:
        self._size = pages * PAGE
        self._pages = mmap.mmap(-1, self._size + PAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        if LIBC.mprotect(ctypes.c_void_p(begin + self._size), ctypes.c_size_t(PAGE), 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        self._page = np.frombuffer(self._pages, np.uint8, self._size)

    def place(self, array: np.ndarray) -> np.ndarray:
        """Copy an array to the very end of the pages."""
        end = self._page[self._size - array.nbytes :].view(array.dtype).reshape(array.shape)
        end[...] = array
        return end


def walk(isa: str) -> None:
    """Call every operation on every tail of every dtype, each array against its own cliff."""
    cliffs = [Cliff() for _ in range(6)]
    where: dict[str, Any] = {"threads": 1, "isa": isa}
    for dtype in DTYPES:
        for cols in range(2 * REGISTER_BYTES // dtype.itemsize + 2):
            bits = random_bits(dtype, (1, cols), seed=cols).view(bits_type(dtype))
            kept = np.packbits(key(bits.view(dtype)) != 0, axis=1, bitorder="little")
            x, given, mask, out = (
                cliff.place(array)
                for cliff, array in zip(cliffs[:4], (bits, kept, kept, bits), strict=True)
            )
            element = dtype.name
            for n, m in ((2, 4), (14, 16), (3, 7)):
                _core.nm_mask(x, element, 1, cols, 1, n, m, 1, cols, mask, **where)
                _core.nm_mask(x, element, 1, 1, cols, n, m, 1, cols, mask, **where)
            _core.smallest_mask(x, element, 1, cols // 2, 1, cols, mask, **where)
            _core.above_mask(x, element, 1, 1, cols, mask, **where)
            for norm in ("l1", "l2", "max"):
                _core.block_mask(x, element, [1, cols], [1, 3], norm, 0, mask, **where)
                _core.block_mask(
                    x, element, [cols, 1], [3, 1], norm, 0, np.zeros((cols, 1), np.uint8), **where
                )
            _core.apply_mask(x, element, 1, cols, given, out, **where)
            count = _core.pack(x, element, 1, cols, given, mask, out, **where)
            values = cliffs[0].place(out.ravel()[:count].copy())
            _core.unpack(given, values, element, 1, cols, out, **where)
            if dtype in COMPUTABLE:
                walk_linear(given, values, element, cols, cliffs[3:], where)


def walk_samples(isa: str) -> None:
    """Take samples, whose runs begin anywhere, of weights that end where their last stretch does."""
    element, runs = np.dtype(np.float32), 1024
    cliffs = [Cliff(pages=128), Cliff(pages=4)]
    for stretch in range(65, 121):
        w = np.arange(runs * stretch, dtype=np.uint32).reshape(1, -1)
        x, mask = cliffs[0].place(w), cliffs[1].place(np.zeros((1, w.size // 8), np.uint8))
        _core.smallest_mask(x, element.name, 1, w.size // 2, 1, w.size, mask, threads=1, isa=isa)


def walk_linear(
    mask: np.ndarray,
    values: np.ndarray,
    element: str,
    cols: int,
    cliffs: list[Cliff],
    where: dict[str, Any],
) -> None:
    """Prepare a row in each layout, and multiply it with two, each array against its own cliff."""
    for layout in ("dense", "bitmask", "nm4", "nm16", "blocks", "index", "csr"):
        matrix = _core.prepare(mask, values, element, 1, cols, layout, "float32", **where)
        arrays = np.ones((2, cols), np.float32), np.ones(1, np.float32), np.ones((2, 1), np.float32)
        x, scales, out = (
            cliff.place(array) for cliff, array in zip(cliffs[-3:], arrays, strict=True)
        )
        _core.linear(matrix, x, "float32", "float32", scales, scales, out, **where)


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("way", [walk, walk_samples], ids=lambda way: way.__name__)
def test_nothing_past_the_end_is_touched(isa: str, way: Callable[[str], None]) -> None:
    here = os.pathsep.join(path for path in sys.path if path)
    code = f"import test_bounds; test_bounds.{way.__name__}({isa!r}); print('whole')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": here, "PYTHONFAULTHANDLER": "1"},
    )
    assert result.stdout == "whole\n", result.stderr
