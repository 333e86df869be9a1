"""What a caller of linear sees: dtypes, shapes, results in place, and prepared matrices."""

from __future__ import annotations

import gc
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import prunepack as pp
import reference
from samples import SPARSE_PATTERNS, assert_within, same_bits, sparse_matrix

if TYPE_CHECKING:
    import numpy.typing as npt

FLOAT32, BFLOAT16 = np.dtype(np.float32), np.dtype(ml_dtypes.bfloat16)
FLOATS = (FLOAT32, np.dtype(np.float16), BFLOAT16)
COMPUTABLE = (*FLOATS, np.dtype(np.int8))


def rows_of_x(*shape: int, dtype: Any = np.float32) -> npt.NDArray[Any]:
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


@pytest.fixture
def w() -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = sparse_matrix("3:4", FLOAT32, (37, 52))
    return found


@pytest.mark.parametrize("weights", COMPUTABLE, ids=str)
@pytest.mark.parametrize("x_dtype", FLOATS, ids=str)
@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (2, 1, 4), (0,), (3, 0)], ids=str)
def test_result_has_the_dtype_and_the_leading_axes_of_x(
    weights: np.dtype[Any], x_dtype: np.dtype[Any], lead: tuple[int, ...]
) -> None:
    w = sparse_matrix("50 %", weights, (21, 30))
    x = rows_of_x(*lead, 30, dtype=x_dtype)
    bias = rows_of_x(21)
    y = pp.linear(x, pp.pack(w), bias)
    assert y.dtype == x_dtype
    assert y.shape == (*lead, 21)
    exact, bound = reference.linear(x.reshape(-1, 30).astype(np.float32), w, bias)
    half_step = ml_dtypes.finfo(x_dtype).eps / 2  # type: ignore[no-untyped-call]
    rounding = 0 if x_dtype == FLOAT32 else np.abs(exact) * float(half_step) * 1.01 + 1e-7
    assert_within(y.reshape(-1, 21).astype(np.float32), exact, bound + rounding)


def test_scales_and_bias_of_every_float(w: npt.NDArray[Any]) -> None:
    x = rows_of_x(4, 52)
    for dtype in FLOATS:
        scales, bias = rows_of_x(37, dtype=dtype), rows_of_x(37, dtype=dtype)
        y = pp.linear(x, pp.pack(w), bias, scales=scales)
        exact = reference.linear(x, w, bias.astype(np.float32), scales.astype(np.float32))
        assert_within(y, *exact)


@pytest.mark.parametrize(
    ("weights", "activations"), [(BFLOAT16, "bfloat16"), (np.dtype(np.int8), "int8")], ids=str
)
def test_activations(weights: np.dtype[Any], activations: str) -> None:
    w = sparse_matrix("50 %", weights, (21, 30))
    x, scales = rows_of_x(4, 30), rows_of_x(21)
    y = pp.linear(x, pp.pack(w), scales=scales, activations=activations)
    assert_within(y, *reference.linear(x, w, scales=scales, activations=activations))
    plain = pp.linear(x, pp.pack(w), scales=scales)
    assert same_bits(plain, pp.linear(x, pp.pack(w), scales=scales, activations="float32"))
    assert not np.array_equal(plain, y)


def test_x_in_any_layout(w: npt.NDArray[Any]) -> None:
    x = rows_of_x(6, 52)
    y = pp.linear(x, pp.pack(w))
    spaced = np.zeros((12, 104), np.float32)
    spaced[::2, ::2] = x
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
    unaligned[...] = x
    for same in (
        np.asfortranarray(x),
        spaced[::2, ::2],
        unaligned,
        x[::-1, ::-1].copy()[::-1, ::-1],
    ):
        assert same_bits(pp.linear(same, pp.pack(w)), y)


def test_x_bias_and_scales_through_the_buffer_protocol(w: npt.NDArray[Any]) -> None:
    x, vector = rows_of_x(2, 52), rows_of_x(37)
    lent = vector.data
    y = pp.linear(x.data, pp.pack(w), lent, scales=lent)
    assert same_bits(y, pp.linear(x, pp.pack(w), vector, scales=vector))


# out.


@pytest.mark.parametrize("x_dtype", FLOATS, ids=str)
def test_out(w: npt.NDArray[Any], x_dtype: np.dtype[Any]) -> None:
    x, bias = rows_of_x(2, 3, 52, dtype=x_dtype), rows_of_x(37)
    y = pp.linear(x, pp.pack(w), bias)
    spaced = np.full((2, 3, 74), 7, x_dtype)
    for out in (np.empty_like(y), np.empty_like(y.T).T, spaced[..., ::2]):
        assert pp.linear(x, pp.pack(w), bias, out) is out
        assert same_bits(np.ascontiguousarray(out), y)
    assert (spaced[..., 1::2] == 7).all()


def test_out_may_be_x_or_bias_or_scales() -> None:
    w = sparse_matrix("3:4", FLOAT32, (52, 52))
    packed = pp.pack(w)
    x, bias, scales = rows_of_x(3, 52), rows_of_x(52), rows_of_x(1, 52)[0] + 2
    y = pp.linear(x, packed, bias, scales=scales)
    shared = x.copy()
    pp.linear(shared, packed, bias, scales=scales, out=shared)
    assert same_bits(shared, y)
    shared = np.stack([bias] * 3)
    pp.linear(x, packed, shared[0], scales=scales, out=shared)
    assert same_bits(shared, y)
    shared = np.stack([scales] * 3)
    pp.linear(x, packed, bias, scales=shared[1], out=shared)
    assert same_bits(shared, y)


@pytest.mark.parametrize("layout", ["bitmask", "index", "csr"])
@pytest.mark.parametrize("shift", [0, 1, 51], ids=str)
def test_out_may_overlap_a_single_x(layout: str, shift: int) -> None:
    matrix = pp.pack(sparse_matrix("3:4", FLOAT32, (52, 52))).prepare(layout)
    memory = rows_of_x(104)
    for first, second in ((0, shift), (shift, 0)):
        shared = memory.copy()
        x, out = shared[first:][:52], shared[second:][:52]
        y = pp.linear(x.copy(), matrix)
        assert pp.linear(x, matrix, out=out) is out
        assert same_bits(out, y)


def test_out_must_fit(w: npt.NDArray[Any]) -> None:
    x, packed = rows_of_x(2, 52), pp.pack(w)
    with pytest.raises(ValueError, match=r"out must have shape \(2, 37\).*got \(2, 36\)"):
        pp.linear(x, packed, out=np.empty((2, 36), np.float32))
    with pytest.raises(TypeError, match=r"out must have .*dtype float32, got .*float16"):
        pp.linear(x, packed, out=np.empty((2, 37), np.float16))
    out = np.empty((2, 37), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        pp.linear(x, packed, out=out)


# What is refused.


@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.int64, bool], ids=lambda d: d.__name__)
def test_x_of_another_dtype(w: npt.NDArray[Any], dtype: Any) -> None:
    name = np.dtype(dtype).name
    with pytest.raises(TypeError, match=f"x must be float32.*got {name}; convert it"):
        pp.linear(np.ones((2, 52), dtype), pp.pack(w))


@pytest.mark.parametrize("shape", [(), (51,), (52, 2), (2, 53)], ids=str)
def test_x_of_another_shape(w: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x must have the 52 inputs .* on its last axis, got"):
        pp.linear(np.ones(shape, np.float32), pp.pack(w))


def test_weights_of_another_dtype(dtype: np.dtype[Any]) -> None:
    packed = pp.pack(np.ones((2, 3), dtype))
    if dtype in COMPUTABLE:
        assert pp.linear(np.ones(3, np.float32), packed).tolist() == [3, 3]
        return
    message = f"weights to compute with must be one of float32.*got {dtype}"
    for call in (lambda: pp.linear(np.ones(3, np.float32), packed), packed.prepare):
        with pytest.raises(TypeError, match=message):
            call()
    with pytest.raises(TypeError, match=message):
        pp.PackedLinear(packed)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)], ids=str)
def test_weights_of_another_shape(shape: tuple[int, ...]) -> None:
    packed = pp.pack(np.ones(shape, np.float32))
    with pytest.raises(ValueError, match="must be 2-D"):
        pp.linear(np.ones(3, np.float32), packed)
    with pytest.raises(ValueError, match="must be 2-D"):
        pp.PackedLinear(packed)


def test_weights_that_are_not_packed(w: npt.NDArray[Any]) -> None:
    with pytest.raises(TypeError, match=r"packed must be a PackedTensor .*got ndarray"):
        pp.linear(np.ones(52, np.float32), w)  # type: ignore[arg-type]


@pytest.mark.parametrize("argument", ["bias", "scales"])
def test_bias_and_scales_that_do_not_fit(w: npt.NDArray[Any], argument: str) -> None:
    x, packed = rows_of_x(2, 52), pp.pack(w)
    with pytest.raises(ValueError, match=rf"{argument} must have shape \(37,\).*got \(1, 37\)"):
        pp.linear(x, packed, **{argument: np.ones((1, 37), np.float32)})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"{argument} must be float32.*got float64"):
        pp.linear(x, packed, **{argument: np.ones(37)})  # type: ignore[arg-type]


def test_activations_that_do_not_fit(w: npt.NDArray[Any]) -> None:
    x, packed = rows_of_x(52), pp.pack(w)
    for activations in ("int8", "bfloat16"):
        message = f"activations of {activations} must go with weights of {activations}, .* float32"
        with pytest.raises(TypeError, match=message):
            pp.linear(x, packed, activations=activations)
    for wrong in ("fp8", "", 8):
        with pytest.raises(ValueError, match="activations must be float32, bfloat16, int8 or None"):
            pp.linear(x, packed, activations=wrong)  # type: ignore[arg-type]


def test_num_threads(w: npt.NDArray[Any]) -> None:
    x, packed = rows_of_x(52), pp.pack(w)
    assert same_bits(pp.linear(x, packed, num_threads=3), pp.linear(x, packed, num_threads=1))
    with pytest.raises(ValueError, match=r"num_threads must be .*got 0"):
        pp.linear(x, packed, num_threads=0)
    with pytest.raises(TypeError, match=r"num_threads must be .*got str"):
        packed.prepare(num_threads="2")  # type: ignore[arg-type]


# The operator.


def test_matmul(w: npt.NDArray[Any]) -> None:
    packed = pp.pack(w)
    vector, columns = rows_of_x(52), rows_of_x(52, 3)
    assert same_bits(packed @ vector, pp.linear(vector, packed))
    y = packed @ columns
    assert y.shape == (37, 3)
    assert_within(y.T, *reference.linear(columns.T, w))
    assert same_bits(
        packed.prepare("bitmask") @ vector, pp.linear(vector, packed.prepare("bitmask"))
    )


def test_matmul_refuses_more_axes_and_the_other_order(w: npt.NDArray[Any]) -> None:
    packed = pp.pack(w)
    with pytest.raises(
        ValueError, match=r"x must be a vector or a matrix .*got shape \(2, 52, 3\)"
    ):
        packed @ rows_of_x(2, 52, 3)
    with pytest.raises(ValueError, match="x must have the 52 inputs"):
        packed @ rows_of_x(3, 52)
    for matrix in (packed, packed.prepare()):
        with pytest.raises(TypeError, match="unsupported operand"):
            rows_of_x(3, 37) @ matrix


# Prepared matrices.


@pytest.mark.parametrize("weights", COMPUTABLE, ids=str)
@pytest.mark.parametrize("pattern", SPARSE_PATTERNS)
def test_every_layout_can_be_forced(weights: np.dtype[Any], pattern: str) -> None:
    w = sparse_matrix(pattern, weights, (33, 66))
    packed, x = pp.pack(w), rows_of_x(2, 66)
    for layout in ("dense", "bitmask", "nm", "nm4", "nm16", "blocks", "index", "csr"):
        matrix = packed.prepare(layout)
        assert matrix.layout.startswith(layout)
        assert (matrix.shape, matrix.dtype) == (w.shape, w.dtype)
        assert_within(pp.linear(x, matrix), *reference.linear(x, w))


def test_nm_is_the_smaller_of_two() -> None:
    four = pp.pack(sparse_matrix("3:4", FLOAT32, (64, 64))).prepare("nm")
    sixteen = pp.pack(sparse_matrix("13:16", FLOAT32, (64, 64))).prepare("nm")
    assert (four.layout, sixteen.layout) == ("nm4", "nm16")


def test_repr_says_the_layout_and_the_bytes() -> None:
    packed = pp.pack(sparse_matrix("3:4", FLOAT32, (64, 64)))
    for layout, named in (
        ("dense", "dense"),
        ("bitmask", "bitmask"),
        ("nm4", "nm4 (3:4)"),
        ("nm16", "nm16 (12:16)"),
        ("blocks", "blocks (16x1)"),
        ("index", "index"),
        ("csr", "csr"),
    ):
        matrix = packed.prepare(layout)
        assert repr(matrix) == (
            f"PreparedMatrix(shape=(64, 64), dtype=float32, layout={named}, nbytes={matrix.nbytes})"
        )


def test_prepared_once_and_kept(w: npt.NDArray[Any]) -> None:
    packed = pp.pack(w)
    before = packed.nbytes
    first = packed.prepare()
    pp.linear(rows_of_x(52), packed)
    assert packed.prepare() is first
    assert packed.prepare("dense") is not first
    assert packed.prepare() is first
    assert packed.nbytes == before


def test_prepared_for_each_kind_of_activations() -> None:
    packed = pp.pack(sparse_matrix("90 %", BFLOAT16, (64, 64)))
    x = rows_of_x(64)
    y = pp.linear(x.astype(BFLOAT16), packed)
    assert same_bits(y, pp.linear(x, packed, activations="bfloat16").astype(BFLOAT16))
    rounded, plain = packed.prepare(activations="bfloat16"), packed.prepare()
    assert rounded is not plain
    assert packed.prepare(activations="bfloat16") is rounded
    assert packed.prepare(activations="float32") is plain
    with pytest.raises(TypeError, match="activations of int8 must go with weights of int8"):
        packed.prepare(activations="int8")


def test_prepared_is_not_pickled(w: npt.NDArray[Any]) -> None:
    packed = pp.pack(w)
    size = len(pickle.dumps(packed))
    matrix = packed.prepare()
    assert len(pickle.dumps(packed)) == size
    with pytest.raises(TypeError, match=r"cannot be pickled.*pickle the PackedTensor"):
        pickle.dumps(matrix)
    with pytest.raises(TypeError, match=r"made by PackedTensor.prepare\(\)"):
        pp.PreparedMatrix()


def test_without_rows_the_columns_cost_nothing() -> None:
    packed = pp.pack(np.empty((0, 2**50), np.float32))
    for layout in (None, "dense", "bitmask", "nm4", "nm16", "blocks", "index", "csr"):
        matrix = packed.prepare(layout)
        assert matrix.nbytes == 0
        assert pp.linear(np.empty((0, 2**50), np.float32), matrix).shape == (0, 0)
    assert pp.linear(rows_of_x(3, 40), pp.pack(np.empty((0, 40), np.float32))).shape == (3, 0)


def test_prepared_outlives_the_tensor(w: npt.NDArray[Any]) -> None:
    x = rows_of_x(52)
    matrix = pp.pack(w.copy()).prepare()
    gc.collect()
    assert_within(pp.linear(x, matrix)[np.newaxis], *reference.linear(x[np.newaxis], w))


def test_no_such_layout(w: npt.NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"layout must be one of dense, .* or None, got 'coo'"):
        pp.pack(w).prepare("coo")


def test_many_threads_use_a_tensor_that_is_not_prepared() -> None:
    w = sparse_matrix("50 %", FLOAT32, (300, 400))
    x = rows_of_x(400)
    for _ in range(5):
        packed = pp.pack(w)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: pp.linear(x, packed), range(8)))  # noqa: B023
        assert all(same_bits(y, results[0]) for y in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_computes() -> None:
    packed, x = pp.pack(np.ones((2000, 1000), np.float32)), np.ones(1000, np.float32)
    pp.linear(x, packed, num_threads=2)
    child = os.fork()
    if child == 0:
        y = pp.linear(x, packed, num_threads=2)
        os._exit(0 if (y == 1000).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_prepared_matrix_keeps_what_many_rows_are_computed_from() -> None:
    w = np.where(np.random.default_rng(0).random((40, 70)) < 0.1, np.float32(1.5), 0)
    w = w.astype(np.float32)
    matrix = pp.pack(w).prepare("index")
    gc.collect()
    np.full(len(w) * w.nbytes, 0xFF, np.uint8)  # over the memory, if it was let go
    x = np.ones((40, 70), np.float32)
    assert np.array_equal(pp.linear(x, matrix), x @ w.T)


def test_a_mask_that_is_written_to_afterwards_spoils_its_row_only() -> None:
    w = np.zeros((40, 70), np.float32)
    w[:, ::10] = 1.5
    packed = pp.pack(w)
    mask, values = packed.mask.copy(), packed.values.copy()
    matrix = pp.PackedTensor(w.shape, w.dtype, mask, values).prepare("index")
    mask[7] = 0xFF
    mask[8] = 0
    x = np.ones((40, 70), np.float32)
    y = pp.linear(x, matrix)
    others = [row for row in range(40) if row not in (7, 8)]
    assert np.array_equal(y[:, others], (x @ w.T)[:, others])
