"""Packed tensors: mask, values, row offsets, and back."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prunepack as pp
import reference
from per_isa import Operations, guarded
from prunepack import _core
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

LARGE = (1031, 2003)


def all_kept(w: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.ones(w.shape, dtype=bool)


def plus_zero(w: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the weights with +0.0 for every zero."""
    return reference.prune(w, reference.key(w) != 0)


def assert_packs_and_unpacks(
    on: Operations, w: npt.NDArray[Any], kept: npt.NDArray[np.bool_] | None
) -> None:
    given = None if kept is None else reference.mask_bytes(kept)
    mask, values, _ = reference.pack(w, all_kept(w) if kept is None else kept)
    actual_mask, actual_values = on.pack(w, given)
    assert same_bits(actual_mask, mask)
    assert same_bits(actual_values, values)
    dense = plus_zero(w) if kept is None else reference.prune(plus_zero(w), kept)
    assert same_bits(on.unpack(mask, values, w.shape), dense)


@given(data=st.data())
def test_any_bits(isa: str, dtype: np.dtype[Any], data: st.DataObject) -> None:
    w = data.draw(weights(dtype, shapes))
    kept = data.draw(weights(np.dtype(np.uint8), w.shape)) > 100
    assert_packs_and_unpacks(Operations(isa), w, None)
    assert_packs_and_unpacks(Operations(isa), w, kept)


def test_every_tail(isa: str, dtype: np.dtype[Any]) -> None:
    for cols in range(2 * REGISTER_BYTES // dtype.itemsize + 2):
        w = random_bits(dtype, (3, cols), seed=cols)
        kept = random_bits(np.dtype(np.uint8), w.shape, seed=cols) > 100
        assert_packs_and_unpacks(Operations(isa), w, None)
        assert_packs_and_unpacks(Operations(isa), w, kept)


def test_many_short_rows(isa: str) -> None:
    """As in small convolutions, whose rows of mask are moved eight at a time."""
    for cols in range(1, 10):
        for rows in (63, 64, 65, 200, 207):
            w = random_bits(np.dtype(np.uint8), (rows, cols), seed=rows + cols) & 3
            kept = random_bits(np.dtype(np.uint8), w.shape, seed=cols) > 100
            assert_packs_and_unpacks(Operations(isa), w, None)
            assert_packs_and_unpacks(Operations(isa), w, kept)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distribution(isa: str, dtype: np.dtype[Any], distribution: str) -> None:
    w = sample(distribution, dtype, (24, 37))
    assert_packs_and_unpacks(Operations(isa), w, None)


@pytest.mark.parametrize("share", [0, 1, 50, 99, 100])
def test_every_share_of_zeros(isa: str, dtype: np.dtype[Any], share: int) -> None:
    w = np.ones((5, 1000), dtype)
    w[np.random.default_rng(0).random(w.shape) < share / 100] = 0
    assert_packs_and_unpacks(Operations(isa), w, None)


def test_two_million_weights(isa: str, dtype: np.dtype[Any]) -> None:
    w = random_bits(dtype, LARGE)
    kept = random_bits(np.dtype(np.uint8), LARGE) > 100
    mask, values, _ = reference.pack(w, kept)
    dense = reference.prune(plus_zero(w), kept)
    for threads in (1, 2, 3, 5):
        on = Operations(isa, threads)
        actual_mask, actual_values = on.pack(w, reference.mask_bytes(kept))
        assert same_bits(actual_mask, mask), threads
        assert same_bits(actual_values, values), threads
        assert same_bits(on.unpack(mask, values, LARGE), dense), threads


@pytest.mark.parametrize("shift", [0, 1, 32])
def test_results_that_no_cache_holds(isa: str, shift: int) -> None:
    """They are written past the caches, but only where that can be done by whole lines."""
    rows, cols = 4097, 4099
    w = random_bits(np.dtype(np.int8), (rows, cols))
    mask, values, _ = reference.pack(w, all_kept(w))
    memory = np.empty(w.nbytes + 64 + shift, np.uint8)
    begin = -memory.ctypes.data % 64 + shift
    out = memory[begin : begin + w.nbytes].reshape(w.shape)
    _core.unpack(mask, values.view(np.uint8), "int8", rows, cols, out, threads=1, isa=isa)
    assert same_bits(out.view(np.int8), w)


# The public functions.


@given(data=st.data())
def test_pack(dtype: np.dtype[Any], data: st.DataObject) -> None:
    w = data.draw(weights(dtype, shapes))
    p = pp.pack(w)
    mask, values, offsets = reference.pack(w, all_kept(w))
    assert p.shape == w.shape
    assert p.dtype == w.dtype
    assert same_bits(p.mask, mask)
    assert same_bits(p.values, values)
    assert same_bits(p.row_offsets, offsets)
    assert p.kept == len(values)
    assert p.nbytes == mask.nbytes + values.nbytes + offsets.nbytes
    assert p.sparsity == (1 - len(values) / w.size if w.size else 0)


@given(data=st.data())
def test_to_dense_is_the_weights_with_plus_zeros(dtype: np.dtype[Any], data: st.DataObject) -> None:
    w = data.draw(weights(dtype, shapes))
    assert same_bits(pp.pack(w).to_dense(), plus_zero(w))


@given(data=st.data(), sparsity=st.floats(0, 1))
def test_packing_with_a_mask_prunes(
    dtype: np.dtype[Any], data: st.DataObject, sparsity: float
) -> None:
    w = data.draw(weights(dtype, shapes))
    pattern = pp.Unstructured(sparsity)
    mask = pp.prune_mask(w, pattern)
    wanted = pp.pack(pp.prune(w, pattern))
    assert pp.pack(w, mask) == wanted
    assert pp.pack(w, mask.to_bool()) == wanted


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_minus_zero_is_a_zero(dtype: np.dtype[Any]) -> None:
    p = pp.pack(np.array([-0.0, 1, 0.0, -1], dtype))
    assert p.mask.tolist() == [[0b1010]]
    assert p.values.tolist() == [1, -1]
    assert p.to_dense().tobytes() == np.array([0, 1, 0, -1], dtype).tobytes()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nan_infinity_and_subnormals_are_values(dtype: np.dtype[Any]) -> None:
    tiny = np.ones((), f"u{dtype.itemsize}").view(dtype)
    w = np.array([np.nan, 0, np.inf, tiny, -np.inf], dtype)
    p = pp.pack(w)
    assert p.mask.tolist() == [[0b11101]]
    assert p.values.tobytes() == w[[0, 2, 3, 4]].tobytes()


def test_the_lowest_int8_is_a_value() -> None:
    p = pp.pack(np.array([-128, 0, 127], np.int8))
    assert p.mask.tolist() == [[0b101]]
    assert p.values.tolist() == [-128, 127]


def test_a_nan_payload_survives() -> None:
    bits = np.array([0x7FC12345, 0xFF812345, 0], np.uint32)  # quiet and signalling
    w = bits.view(np.float32)
    assert pp.pack(w).to_dense().view(np.uint32).tolist() == bits.tolist()


def test_a_kept_zero_is_not_a_value() -> None:
    p = pp.pack(np.array([0, 1], np.float32), np.array([True, True]))
    assert p.mask.tolist() == [[0b10]]


def test_each_row_starts_on_a_byte() -> None:
    p = pp.pack(np.ones((2, 3, 9), np.int8))
    assert p.mask.tolist() == [[0xFF, 0x01]] * 6
    assert p.row_offsets.tolist() == [0, 9, 18, 27, 36, 45, 54]


@pytest.mark.parametrize(
    ("shape", "mask_shape", "offsets"),
    [
        ((), (1, 1), [0, 1]),
        ((0,), (1, 0), [0, 0]),
        ((1,), (1, 1), [0, 1]),
        ((3, 0), (3, 0), [0, 0, 0, 0]),
        ((0, 9), (0, 2), [0]),
        ((2, 0, 3), (0, 1), [0]),
    ],
)
def test_shapes_at_the_edge(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    mask_shape: tuple[int, ...],
    offsets: list[int],
) -> None:
    w = np.ones(shape, dtype)
    p = pp.pack(w)
    assert p.mask.shape == mask_shape
    assert p.row_offsets.tolist() == offsets
    assert same_bits(p.to_dense(), w)
    assert pickle.loads(pickle.dumps(p)) == p


@pytest.mark.parametrize(
    ("dtype", "bits"), [(np.float32, 17.0), (np.float16, 9.0), (np.int8, 5.0), (np.float64, 33.0)]
)
def test_bits_per_weight(dtype: Any, bits: float) -> None:
    """One bit for the mask, and the width of a weight for every one kept; offsets are extra."""
    w = np.tile(np.array([0, 1], dtype), (64, 512))
    assert pp.pack(w).bits_per_weight == pytest.approx(bits, abs=0.1)


def test_packing_leaves_the_weights_alone(dtype: np.dtype[Any]) -> None:
    w = random_bits(dtype, (7, 19))
    before = w.tobytes()
    p = pp.pack(w)
    assert w.tobytes() == before
    assert not np.shares_memory(p.values, w)


@pytest.mark.parametrize("name", ["mask", "values", "row_offsets"])
def test_parts_are_read_only(name: str) -> None:
    part = getattr(pp.pack(np.ones((2, 3), np.float32)), name)
    assert not part.flags.writeable


# to_dense(out=)


def test_out_is_filled_and_returned(dtype: np.dtype[Any]) -> None:
    w = random_bits(dtype, (7, 19))
    p = pp.pack(w)
    with guarded(w.shape, dtype) as out:
        assert p.to_dense(out=out) is out
        assert same_bits(out, plus_zero(w))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            np.zeros((2, 3), np.float32),
            ValueError,
            r"out must have shape \(2, 4\) .*, got \(2, 3\)",
        ),
        (np.zeros((2, 4), np.float64), TypeError, "out must have .*float32, got .*float64"),
        (np.frombuffer(bytes(32), np.float32).reshape(2, 4), ValueError, "out must be writable"),
    ],
    ids=["shape", "dtype", "read-only"],
)
def test_out_must_fit(out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pp.pack(np.ones((2, 4), np.float32)).to_dense(out=out)


# Equality, repr, pickle.


def test_packed_tensors_compare_by_value() -> None:
    w = np.array([[0, 1, np.nan], [2, 0, -3]], np.float32)
    p = pp.pack(w)
    assert p == pp.pack(w.copy())  # NaN of the same bits included
    assert p != pp.pack(w.reshape(3, 2))
    assert p != pp.pack(w.astype(np.float64))
    assert p != pp.pack(-w)
    assert p != w.tolist()


@given(data=st.data())
def test_pickle(dtype: np.dtype[Any], data: st.DataObject) -> None:
    p = pp.pack(data.draw(weights(dtype, shapes)))
    again = pickle.loads(pickle.dumps(p))
    assert again == p
    assert again.dtype == p.dtype
    assert same_bits(again.to_dense(), p.to_dense())
    assert copy.deepcopy(p) == p


def test_repr_says_shape_dtype_and_sparsity() -> None:
    text = repr(pp.pack(np.array([[0, 0, 0, 1]], np.float32)))
    assert "PackedTensor" in text
    assert "(1, 4)" in text
    assert "float32" in text
    assert "75" in text


# The constructor trusts nobody.


def parts(**changed: Any) -> dict[str, Any]:
    """Arguments of a good 2 x 3 tensor, [[1, 0, 2], [0, 0, 3]], with some of them changed."""
    good = {
        "shape": (2, 3),
        "dtype": np.dtype(np.float32),
        "mask": np.array([[0b101], [0b100]], np.uint8),
        "values": np.array([1, 2, 3], np.float32),
        "row_offsets": np.array([0, 2, 3], np.int64),
    }
    return good | changed


def test_constructor_takes_what_pack_gives() -> None:
    p = pp.PackedTensor(**parts())
    assert p.to_dense().tolist() == [[1, 0, 2], [0, 0, 3]]
    assert pp.PackedTensor(**parts(row_offsets=None)) == p
    assert pp.pack(p.to_dense()) == p


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shape": (2, -3)}, "shape"),
        ({"shape": (2**40, 2**40)}, "mask"),
        ({"mask": np.array([[0b101]], np.uint8)}, "mask"),
        ({"mask": np.array([0b101, 0b100], np.uint8)}, "mask"),
        ({"mask": np.array([[0b101, 0], [0b100, 0]], np.uint8)}, "mask"),
        ({"mask": np.array([[0b1101], [0b100]], np.uint8)}, "mask.*padding"),
        ({"mask": np.array([[0b101], [0b10000000]], np.uint8)}, "mask.*padding"),
        ({"mask": np.array([[0b111], [0b100]], np.uint8)}, "values"),
        ({"values": np.array([1, 2], np.float32)}, "values"),
        ({"values": np.array([1, 2, 3, 4], np.float32)}, "values"),
        ({"values": np.array([[1, 2, 3]], np.float32)}, "values"),
        ({"row_offsets": np.array([0, 2], np.int64)}, "row_offsets"),
        ({"row_offsets": np.array([0, 1, 3], np.int64)}, "row_offsets"),
        ({"row_offsets": np.array([0, 2, 4], np.int64)}, "row_offsets"),
        ({"row_offsets": np.array([0, -2, 3], np.int64)}, "row_offsets"),
    ],
    ids=[
        "negative side",
        "a shape no memory holds",
        "too few rows",
        "1-D mask",
        "too many bytes in a row",
        "padding bit set",
        "padding bit set in the last row",
        "more bits than values",
        "too few values",
        "too many values",
        "2-D values",
        "too few offsets",
        "offsets that miss the rows",
        "offsets beyond the values",
        "negative offset",
    ],
)
def test_constructor_refuses_parts_that_disagree(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pp.PackedTensor(**parts(**changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dtype": np.dtype(np.int64), "values": np.array([1, 2, 3])}, "dtype"),
        ({"values": np.array([1, 2, 3], np.float64)}, "values"),
        ({"mask": np.array([[5], [4]], np.int8)}, "mask"),
        ({"row_offsets": np.array([0, 2, 3], np.int32)}, "row_offsets"),
        ({"row_offsets": np.array([0, 2, 3], np.float64)}, "row_offsets"),
        ({"values": [1.0, 2.0, 3.0]}, "values"),
        ({"mask": [[5], [4]]}, "mask"),
        ({"row_offsets": [0, 2, 3]}, "row_offsets"),
        ({"shape": (2.5, 3)}, "shape"),
        ({"shape": ("2", 3)}, "shape"),
    ],
    ids=[
        "dtype",
        "values",
        "mask",
        "narrow offsets",
        "float offsets",
        "list of values",
        "list of bytes",
        "list of offsets",
        "float side",
        "text side",
    ],
)
def test_constructor_refuses_other_dtypes(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        pp.PackedTensor(**parts(**changed))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.ones((2, 3), bool), ValueError, r"mask must .*\(2, 4\), got .*\(2, 3\)"),
        (np.ones((2, 4), np.uint8), TypeError, "mask must be .*bool"),
        (np.ones((2, 4), np.float32), TypeError, "mask must be .*bool"),
        (pp.Mask.from_bool(np.ones((4, 2), bool)), ValueError, r"mask must .*\(2, 4\)"),
        ("mask", TypeError, "mask must be"),
    ],
    ids=["shape", "bytes", "floats", "shape of a Mask", "text"],
)
def test_mask_must_fit(mask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pp.pack(np.ones((2, 4), np.float32), mask)


def test_to_mask_keeps_what_is_stored() -> None:
    w = np.array([[0.0, -0.0, 3.0], [np.nan, 0.0, 1.0]], dtype=np.float32)
    assert pp.pack(w).to_mask().to_bool().tolist() == [[False, False, True], [True, False, True]]
