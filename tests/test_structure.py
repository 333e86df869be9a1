"""Which patterns a mask obeys, against counting group by group."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import prunepack as pp
from prunepack import _core
from prunepack._checkpoint import find_structure
from prunepack._checkpoint._structure import GROUPS, SIDES

if TYPE_CHECKING:
    import numpy.typing as npt


def counted(kept: npt.NDArray[np.bool_]) -> tuple[int, list[int], list[list[int]], int]:
    """Count in a mask of (height, depth, width) what `mask_structure` counts."""
    width = kept.shape[2]
    by_step = {m: in_steps(kept, m, axis=2) for m in {*GROUPS, *SIDES}}
    most = [int(by_step[m].max(initial=0)) for m in GROUPS]
    # A tile is live if any of its weights is; then all of them count.
    ones = np.ones(kept.shape, bool)
    live = [[0 for _ in SIDES] for _ in SIDES]
    for i, tall in enumerate(SIDES):
        for j, wide in enumerate(SIDES):
            inside = in_steps(by_step[wide], tall, axis=0) > 0
            sizes = in_steps(in_steps(ones, wide, axis=2), tall, axis=0)
            live[i][j] = int(sizes[inside].sum())
    return int(kept.sum()), most, live, width * int(kept.any(axis=2).sum())


def in_steps(counts: npt.NDArray[Any], step: int, axis: int) -> npt.NDArray[np.int64]:
    """Add up every `step` neighbours along an axis, the last ones being fewer."""
    if counts.size == 0:
        return np.zeros((0, 0, 0), np.int64)
    starts = np.arange(0, counts.shape[axis], step)
    return np.add.reduceat(counts, starts, axis=axis, dtype=np.int64)


def check(kept: npt.NDArray[np.bool_], isa: str, threads: int = 1) -> None:
    width = kept.shape[2]
    mask = np.packbits(kept, axis=2, bitorder="little")
    columns = np.full(mask.shape[1:], 0xA5, np.uint8)
    found = _core.mask_structure(mask, width, columns, threads=threads, isa=isa)
    assert found == counted(kept)
    any_height = np.packbits(kept.any(axis=0), axis=1, bitorder="little")
    assert columns.tolist() == any_height.tolist()


@given(data=st.data())
def test_any_mask(isa: str, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 70)))
    share = data.draw(st.sampled_from([0.0, 0.02, 0.5, 0.97, 1.0]))
    seed = data.draw(st.integers(0, 1000))
    check(np.random.default_rng(seed).random(shape) < share, isa)


@given(kept=arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=40)))
def test_small_masks(isa: str, kept: npt.NDArray[np.bool_]) -> None:
    check(kept, isa)


@pytest.mark.parametrize("width", [1, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129])
def test_every_tail(isa: str, width: int) -> None:
    rng = np.random.default_rng(width)
    for height in (1, 3, 4, 31, 32, 33, 65):
        check(rng.random((height, 1, width)) < 0.1, isa)
        check(rng.random((height, 2, width)) < 0.6, isa)


def test_threads(isa: str) -> None:
    """A mask large enough for several threads, whose parts are told apart."""
    kept = np.zeros((4099, 1, 2600), dtype=bool)
    kept[::5, 0, ::3] = True
    kept[-1, 0, -4:] = True
    mask = np.packbits(kept, axis=2, bitorder="little")
    found = []
    for threads in (1, 2, 5):
        columns = np.empty(mask.shape[1:], np.uint8)
        found.append(
            (*_core.mask_structure(mask, 2600, columns, threads=threads, isa=isa), columns.tolist())
        )
    assert found[0] == found[1] == found[2]
    assert found[0][0] == kept.sum()


def structure(pattern: pp.Pattern, shape: tuple[int, ...]) -> Any:
    w = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    return find_structure(pp.prune_mask(w, pattern).bits, shape)


@pytest.mark.parametrize(
    ("pattern", "shape", "name", "obeys"),
    [
        (pp.NM(2, 4), (64, 96), "2:4", ("2:4", "4:8", "8:16", "16:32")),
        (pp.NM(1, 2), (64, 96), "1:2", ("1:2", "2:4", "4:8", "8:16", "16:32")),
        (pp.NM(30, 32), (64, 96), "30:32", ("30:32",)),
        (pp.NM(6, 8), (16, 48, 3, 3), "6:8", ("6:8", "12:16", "24:32")),
        (pp.Block((4, 4), 0.5), (64, 96), "block 4x4", ("block 4x4", "block 4x1", "block 1x4")),
        (
            pp.Block((32, 1), 0.5),
            (64, 96),
            "block 32x1",
            ("block 32x1", "block 16x1", "block 8x1", "block 4x1"),
        ),
    ],
)
def test_names(
    pattern: pp.Pattern, shape: tuple[int, ...], name: str, obeys: tuple[str, ...]
) -> None:
    found = structure(pattern, shape)
    assert found.pattern == name
    ours = {each for each in found.obeys if ":" in each or "block" in name}
    assert set(obeys) <= ours


def test_rows_and_columns() -> None:
    assert structure(pp.Block((1, None), 0.5), (64, 96)).pattern == "block 1x*"
    assert structure(pp.Block((None, 1), 0.5), (64, 96)).pattern == "block *x1"
    assert "block 1x32" in structure(pp.Block((1, None), 0.5), (64, 96)).obeys


def test_what_is_obeyed_can_be_verified() -> None:
    """Every n:m that is named passes `verify`, and one zero more in each group does not."""
    shape = (50, 70)
    w = pp.prune(np.random.default_rng(1).standard_normal(shape), pp.Unstructured(0.8))
    found = find_structure(pp.prune_mask(w, pp.Threshold(0)).bits, shape)
    groups = {int(m): int(n) for n, _, m in (each.partition(":") for each in found.obeys) if m}
    assert groups
    for m in GROUPS:
        n = groups.get(m, 0)
        assert pp.verify(w, pp.NM(n, m)).ok
        assert not pp.verify(w, pp.NM(n + 1, m)).ok
    assert prod(shape)


def test_rows_of_nothing_cost_nothing() -> None:
    """However many there are: a file may claim 2**40 of them."""
    rows = 2**40
    found = _core.mask_structure(
        np.empty((rows, 1, 0), np.uint8), 0, np.empty((1, 0), np.uint8), threads=1
    )
    assert found[0] == 0
    assert pp.Mask((rows, 0), np.empty((rows, 0), np.uint8)).kept == 0
