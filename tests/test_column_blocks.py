"""Masks of blocks that are columns, of so many that their norms are ranked in float32 first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import prunepack as pp
import reference
from per_isa import Operations
from samples import same_bits

if TYPE_CHECKING:
    import numpy.typing as npt

COLUMNS = 1024
BANDS = 70  # with the columns: more tiles than are looked at one by one
NORMS = ["l1", "l2", "max"]


def norms_of(w: npt.NDArray[Any], size: int, norm: str) -> npt.NDArray[np.float64]:
    """Return the documented norms of all tiles: reference.norm_of for many at once."""
    x = reference.magnitude(w).reshape(-1, size, w.shape[1])
    has_nan = np.isnan(x).any(axis=1)
    x = np.where(np.isnan(x), 0, x)
    lanes = np.zeros((8, *has_nan.shape))
    with np.errstate(over="ignore", under="ignore"):
        for e in range(size):
            if norm == "max":
                lanes[e % 8] = np.maximum(lanes[e % 8], x[:, e])
            else:
                lanes[e % 8] += x[:, e] if norm == "l1" else x[:, e] * x[:, e]
        for half in (4, 2, 1):
            pairs = lanes[:half], lanes[half : 2 * half]
            lanes = np.maximum(*pairs) if norm == "max" else np.add(*pairs)
    return np.where(has_nan, np.nan, lanes[0])


def expected(w: npt.NDArray[Any], size: int, norm: str, sparsity: float) -> npt.NDArray[np.uint8]:
    norms = norms_of(w, size, norm).ravel()
    kept = np.ones(norms.size, dtype=bool)
    kept[np.argsort(norms, kind="stable")[: round(sparsity * norms.size)]] = False
    rows = np.repeat(kept.reshape(-1, w.shape[1]), size, axis=0)
    return reference.mask_bytes(rows)


def check(isa: str, w: npt.NDArray[Any], size: int, norm: Any, sparsity: float) -> None:
    found = Operations(isa).mask(w, pp.Block((size,), sparsity, norm))
    assert same_bits(found, expected(w, size, norm, sparsity))


def normal(dtype: np.dtype[Any], size: int, seed: int = 1) -> npt.NDArray[Any]:
    x = np.random.default_rng(seed).standard_normal((BANDS * size, COLUMNS))
    return (x * 40 if dtype.kind in "iu" else x).astype(dtype)


def test_reference_is_the_reference() -> None:
    w = normal(np.dtype(np.float32), 11)[:22, :5]
    w[3, 2] = np.nan
    for norm in NORMS:
        for column in range(5):
            one = reference.norm_of(w[:11, column], norm)
            assert np.array_equal(norms_of(w, 11, norm)[0, column], one, equal_nan=True)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [1, 2, 4, 5, 16])
def test_normal_weights(isa: str, dtype: np.dtype[Any], size: int, norm: str) -> None:
    check(isa, normal(dtype, size), size, norm, 0.5)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("size", [4, 16])
def test_norms_that_float32_ranks_wrongly(
    isa: str, dtype: np.dtype[Any], size: int, norm: str
) -> None:
    """A hundred tiles around the cut have nearly the same norm, rounded differently."""
    w = normal(dtype, size)
    norms = norms_of(w, size, norm)
    order = np.argsort(norms.ravel(), kind="stable")
    middle = order.size // 2
    tiles = w.reshape(BANDS, size, COLUMNS)
    at = np.unravel_index(order[middle - 50 : middle + 50], norms.shape)
    model = tiles[at[0][50], :, at[1][50]].copy()
    random = np.random.default_rng(2)
    for band, column in zip(*at, strict=True):
        tile = random.permutation(model)
        bits = tile.view(f"u{dtype.itemsize}")
        bits[random.integers(size)] ^= random.integers(2, dtype=bits.dtype)
        tiles[band, :, column] = tile
    for sparsity in (0.4996, 0.4999, 0.5, 0.5001, 0.5004):
        check(isa, w, size, norm, sparsity)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-22, 1e15, 1e19, 1e30, 1e38])
def test_norms_that_float32_cannot_hold(isa: str, norm: str, scale: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        for dtype in (np.float32, np.float64):
            w = (normal(np.dtype(np.float64), 4) * scale).astype(dtype)
            check(isa, w, 4, norm, 0.5)


@pytest.mark.parametrize("norm", NORMS)
def test_few_norms_that_float32_cannot_hold(isa: str, norm: str) -> None:
    w = normal(np.dtype(np.float32), 4)
    w[::7, ::3] *= np.float32(1e-30)
    w[::5, ::11] *= np.float32(1e30)
    w[::31, ::5] = np.inf
    w[::37, ::7] = -np.nan
    w[8:16] = 0
    for sparsity in (0.01, 0.5, 0.9, 0.97, 0.99):
        check(isa, w, 4, norm, sparsity)


@pytest.mark.parametrize("norm", NORMS)
def test_many_equal_norms(isa: str, dtype: np.dtype[Any], norm: str) -> None:
    w = np.round(np.abs(normal(np.dtype(np.float32), 4)) * 2).astype(dtype)
    check(isa, w, 4, norm, 0.5)
    check(isa, np.ones_like(w), 4, norm, 0.5)
    w[::4] = 0
    w[1::4, ::2] = 0
    check(isa, w, 4, norm, 0.3)


@pytest.mark.parametrize("columns", [1000, 1021])
def test_lines_of_any_length(isa: str, columns: int) -> None:
    """Also where a line of the mask ends inside a byte, and the last tiles are smaller."""
    w = np.random.default_rng(3).standard_normal((4 * 80, columns)).astype(np.float32)
    check(isa, w, 4, "l2", 0.5)
    pattern = pp.Block((4,), 0.5)
    assert pp.prune_mask(w[:-1], pattern, num_threads=3) == pp.prune_mask(
        w[:-1], pattern, num_threads=1
    )


def test_any_number_of_threads(dtype: np.dtype[Any]) -> None:
    w = normal(dtype, 4, seed=7)
    pattern = pp.Block((4,), 0.5)
    assert pp.prune_mask(w, pattern, num_threads=5) == pp.prune_mask(w, pattern, num_threads=1)
