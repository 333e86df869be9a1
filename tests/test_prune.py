"""Dense pruning: the same weights with +0.0 where the mask says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prunepack as pp
import reference
from per_isa import Operations, guarded
from samples import (
    DISTRIBUTIONS,
    FLOATS,
    REGISTER_BYTES,
    random_bits,
    same_bits,
    sample,
    shapes,
    weights,
)

if TYPE_CHECKING:
    import numpy.typing as npt

PATTERNS = (
    pp.Unstructured(0.6),
    pp.Threshold(0.02),
    pp.NM(3, 4, axis=-1),
    pp.NM(14, 16, axis=0),
    pp.Block((2,), 0.5),
)


def expected(w: npt.NDArray[Any], pattern: Any) -> npt.NDArray[Any]:
    return reference.prune(w, reference.kept(w, pattern))


@given(data=st.data())
def test_apply_mask(isa: str, dtype: np.dtype[Any], data: st.DataObject) -> None:
    w = data.draw(weights(dtype, shapes))
    kept = data.draw(weights(np.dtype(np.uint8), w.shape)) > 100
    actual = Operations(isa).apply_mask(w, reference.mask_bytes(kept))
    assert same_bits(actual, reference.prune(w, kept))


def test_every_tail_of_apply_mask(isa: str, dtype: np.dtype[Any]) -> None:
    for cols in range(2 * REGISTER_BYTES // dtype.itemsize + 2):
        w = random_bits(dtype, (3, cols), seed=cols)
        kept = random_bits(np.dtype(np.uint8), w.shape, seed=cols) > 100
        actual = Operations(isa).apply_mask(w, reference.mask_bytes(kept))
        assert same_bits(actual, reference.prune(w, kept)), cols


def test_two_million_weights(isa: str, dtype: np.dtype[Any]) -> None:
    w = random_bits(dtype, (1031, 2003))
    kept = random_bits(np.dtype(np.uint8), w.shape) > 100
    for threads in (1, 2, 3, 5):
        actual = Operations(isa, threads).apply_mask(w, reference.mask_bytes(kept))
        assert same_bits(actual, reference.prune(w, kept)), threads


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distribution(dtype: np.dtype[Any], distribution: str) -> None:
    w = sample(distribution, dtype, (24, 37))
    for pattern in PATTERNS:
        assert same_bits(pp.prune(w, pattern), expected(w, pattern)), pattern


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@given(data=st.data())
def test_any_bits(dtype: np.dtype[Any], pattern: Any, data: st.DataObject) -> None:
    w = data.draw(weights(dtype, shapes.filter(bool)))
    assert same_bits(pp.prune(w, pattern), expected(w, pattern))


@given(data=st.data())
def test_importance(dtype: np.dtype[Any], data: st.DataObject) -> None:
    w = data.draw(weights(dtype, shapes))
    importance = data.draw(weights(np.dtype(np.float32), w.shape))
    pattern = pp.Unstructured(0.5)
    kept = reference.kept(w, pattern, importance)
    assert same_bits(pp.prune(w, pattern, importance=importance), reference.prune(w, kept))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_pruned_weights_are_plus_zero(dtype: np.dtype[Any]) -> None:
    """The sign of a pruned weight goes too; that of a kept zero stays."""
    w = np.array([-1, -0.0, -2, 3], dtype)
    assert pp.prune(w, pp.Unstructured(0.5)).tobytes() == np.array([0, 0, -2, 3], dtype).tobytes()
    assert pp.prune(w, pp.Unstructured(0)).tobytes() == w.tobytes()
    assert pp.prune(w, pp.Threshold(5)).tobytes() == bytes(w.nbytes)


def test_the_weights_are_left_alone(dtype: np.dtype[Any]) -> None:
    w = random_bits(dtype, (7, 19))
    before = w.tobytes()
    pruned = pp.prune(w, pp.Unstructured(0.5))
    assert w.tobytes() == before
    assert not np.shares_memory(w, pruned)
    assert pruned.flags.writeable
    assert pruned.flags.c_contiguous


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_out_is_filled_and_returned(dtype: np.dtype[Any], pattern: Any) -> None:
    w = random_bits(dtype, (7, 19))
    with guarded(w.shape, dtype) as out:
        assert pp.prune(w, pattern, out=out) is out
        assert same_bits(out, expected(w, pattern))


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_out_may_be_the_weights(dtype: np.dtype[Any], pattern: Any) -> None:
    w = random_bits(dtype, (7, 19))
    wanted = expected(w, pattern)
    assert pp.prune(w, pattern, out=w) is w
    assert same_bits(w, wanted)


@pytest.mark.parametrize("shift", [-4, -1, 1, 4])
def test_out_may_overlap_the_weights(shift: int) -> None:
    buffer = random_bits(np.dtype(np.float32), 300)
    w, out = buffer[10:-10], buffer[10 + shift : 290 + shift]
    wanted = expected(w, pp.NM(2, 4))
    pp.prune(w, pp.NM(2, 4), out=out)
    assert same_bits(out, wanted)


@pytest.mark.parametrize("layout", ["Fortran order", "spaced", "reversed", "unaligned"])
def test_out_may_lie_in_memory_anyhow(dtype: np.dtype[Any], layout: str) -> None:
    w = random_bits(dtype, (7, 19))
    room = np.zeros(1 + 4 * w.nbytes, np.uint8)
    spaced = room[: 4 * w.nbytes].view(dtype).reshape(14, 38)
    out = {
        "Fortran order": np.zeros_like(w, order="F"),
        "spaced": spaced[::2, ::2],
        "reversed": np.zeros_like(w)[::-1, ::-1],
        "unaligned": room[1 : 1 + w.nbytes].view(dtype).reshape(w.shape),
    }[layout]
    for pattern in PATTERNS:
        assert pp.prune(w, pattern, out=out) is out
        assert same_bits(out, expected(w, pattern))
    assert pp.pack(w).to_dense(out=out) is out
    assert same_bits(out, pp.pack(w).to_dense())
    if layout == "spaced":
        spaced[::2, ::2] = 0
        assert not room.any(), "wrote between the elements"


def test_out_may_be_the_importance() -> None:
    """Ranking is over before anything is stored, so the importance may be overwritten."""
    w = np.array([1, 2, 3, 4], np.float32)
    importance = np.array([4, 3, 2, 1], np.float32)
    assert pp.prune(w, pp.NM(2, 4), importance=importance, out=importance).tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            np.zeros((2, 3), np.float32),
            ValueError,
            r"out must have shape \(2, 4\) .*, got \(2, 3\)",
        ),
        (np.zeros((2, 4), np.float64), TypeError, "out must have .*float32, got .*float64"),
        (np.zeros((2, 4), ">f4"), TypeError, "out must have .*float32, got .*>f4"),
        (np.frombuffer(bytes(32), np.float32).reshape(2, 4), ValueError, "out must be writable"),
        ([[0.0] * 4] * 2, TypeError, "out must be .*array"),
    ],
    ids=["shape", "dtype", "byte order", "read-only", "list"],
)
def test_out_must_fit(out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pp.prune(np.ones((2, 4), np.float32), pp.NM(2, 4), out=out)


def test_importance_must_have_the_shape_of_the_weights() -> None:
    with pytest.raises(ValueError, match=r"importance must .*\(2, 4\), got .*\(4, 2\)"):
        pp.prune(np.ones((2, 4), np.float32), pp.NM(2, 4), importance=np.ones((4, 2)))


def test_importance_must_have_a_rankable_dtype() -> None:
    w = np.ones((2, 4), np.float32)
    with pytest.raises(TypeError, match=r"importance must .*got int64"):
        pp.prune(w, pp.NM(2, 4), importance=np.ones((2, 4), np.int64))


@pytest.mark.parametrize("pattern", [(3, 4), "3:4", 0.5, None, pp.NM], ids=repr)
def test_pattern_must_be_one(pattern: Any) -> None:
    with pytest.raises(TypeError, match="pattern must be"):
        pp.prune(np.ones(4, np.float32), pattern)
