"""Products of every layout, dtype and ISA against float64, within what float32 sums can lose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from per_isa import Operations
from samples import (
    SPARSE_PATTERNS,
    assert_within,
    random_bits,
    same_bits,
    sample,
    sparse_matrix,
)

if TYPE_CHECKING:
    import numpy.typing as npt

FLOAT32, FLOAT16, INT8 = np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.int8)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
PRODUCTS = [
    (FLOAT32, "float32"),
    (FLOAT16, "float32"),
    (BFLOAT16, "float32"),
    (INT8, "float32"),
    (BFLOAT16, "bfloat16"),
    (INT8, "int8"),
]
LAYOUTS = ("dense", "bitmask", "nm4", "nm16", "blocks", "index", "csr")
SHAPES = ((1, 1), (16, 64), (17, 65), (5, 300))
LARGE = (517, 1003)


@pytest.fixture(scope="session", params=PRODUCTS, ids=lambda product: f"{product[0]}x{product[1]}")
def product(request: pytest.FixtureRequest) -> tuple[np.dtype[Any], str]:
    """What is multiplied with what: weights, activations."""
    each: tuple[np.dtype[Any], str] = request.param
    return each


def rows_of_x(batch: int, columns: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(batch).standard_normal((batch, columns), np.float32)


def assert_product(
    on: Operations,
    x: npt.NDArray[np.float32],
    w: npt.NDArray[Any],
    layout: str | None,
    activations: str = "float32",
) -> None:
    random = np.random.default_rng(w.size)
    bias = random.standard_normal(len(w), np.float32)
    scales = random.standard_normal(len(w), np.float32)
    matrix = on.prepare(w, layout, activations)
    assert layout in (None, matrix.layout)
    for given_bias, given_scales in ((None, None), (bias, scales)):
        y = on.linear(x, matrix, len(w), given_bias, given_scales, activations)
        exact, bound = reference.linear(x, w, given_bias, given_scales, activations)
        assert_within(y, exact, bound)


@pytest.mark.parametrize("layout", [*LAYOUTS, None])
@pytest.mark.parametrize("pattern", SPARSE_PATTERNS)
def test_every_pattern_in_every_layout(
    isa: str, product: tuple[np.dtype[Any], str], layout: str | None, pattern: str
) -> None:
    dtype, activations = product
    for shape in SHAPES:
        w = sparse_matrix(pattern, dtype, shape)
        for batch in (1, 3, 17):
            x = rows_of_x(batch, shape[1])
            assert_product(Operations(isa), x, w, layout, activations)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tail(isa: str, product: tuple[np.dtype[Any], str], layout: str) -> None:
    dtype, activations = product
    for columns in range(131):
        w = sparse_matrix("50 %", dtype, (3, columns))
        assert_product(Operations(isa), rows_of_x(2, columns), w, layout, activations)
    for rows in range(34):
        w = sparse_matrix("50 %", dtype, (rows, 7))
        assert_product(Operations(isa), rows_of_x(1, 7), w, layout, activations)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_batch(isa: str, product: tuple[np.dtype[Any], str], layout: str) -> None:
    dtype, activations = product
    w = sparse_matrix("50 %", dtype, (17, 65))
    for batch in range(35):
        assert_product(Operations(isa), rows_of_x(batch, 65), w, layout, activations)


@pytest.mark.parametrize("kind", [FLOAT16, BFLOAT16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_halves_are_multiplied_as_the_numbers_they_are(
    isa: str, product: tuple[np.dtype[Any], str], layout: str, kind: np.dtype[Any]
) -> None:
    dtype, activations = product
    w, on = sparse_matrix("90 %", dtype, (35, 131)), Operations(isa)
    matrix = on.prepare(w, layout, activations)
    for batch in (1, 3, 17, 67):
        x = rows_of_x(batch, 131).astype(kind)
        y, as_floats = (
            on.linear(each, matrix, len(w), activations=activations)
            for each in (x, x.astype(np.float32))
        )
        assert same_bits(y, as_floats)


@pytest.mark.parametrize("layout", ["bitmask", "index"])
@pytest.mark.parametrize("pattern", ["50 %", "90 %", "all", "none"])
def test_batches_that_are_worth_expanding(
    isa: str, product: tuple[np.dtype[Any], str], layout: str, pattern: str
) -> None:
    dtype, activations = product
    for shape, batch in (((35, 130), 64), ((35, 130), 101), ((16, 1), 70), ((3, 2000), 67)):
        w = sparse_matrix(pattern, dtype, shape)
        assert_product(Operations(isa, 2), rows_of_x(batch, shape[1]), w, layout, activations)


@pytest.mark.parametrize("layout", [*LAYOUTS, None])
@pytest.mark.parametrize("pattern", ["90 %", "3:4", "all"])
def test_batches_that_are_worth_lists(
    isa: str, product: tuple[np.dtype[Any], str], layout: str | None, pattern: str
) -> None:
    dtype, activations = product
    shapes_and_batches = (
        *(((19, 130), batch) for batch in (9, 16, 17, 32, 33, 41, 65)),
        *(((3, columns), 40) for columns in (1, 8, 4095, 4097, 8200)),
    )
    for shape, batch in shapes_and_batches:
        w = sparse_matrix(pattern, dtype, shape)
        assert_product(Operations(isa, 2), rows_of_x(batch, shape[1]), w, layout, activations)


@pytest.mark.parametrize("kept", range(17))
def test_every_number_kept_of_a_group(
    isa: str, product: tuple[np.dtype[Any], str], kept: int
) -> None:
    dtype, activations = product
    random = np.random.default_rng(kept)
    places = np.argsort(random.random((20, 5, 16)), axis=-1).reshape(20, 80)
    w = np.where(places < kept, sample("laplace", dtype, (20, 80)), np.zeros((), dtype))
    for layout in ("nm4", "nm16"):
        for batch in (1, 2, 4, 8, 16):
            assert_product(Operations(isa), rows_of_x(batch, 80), w, layout, activations)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_every_density(isa: str, product: tuple[np.dtype[Any], str], layout: str) -> None:
    dtype, activations = product
    random = np.random.default_rng(1)
    keep = random.random((67, 203)) < np.linspace(-0.2, 1.2, 67)[:, np.newaxis]
    w = np.where(keep, sample("few levels", dtype, (67, 203)), np.zeros((), dtype))
    for rows in (w, w[::-1].copy()):
        assert_product(Operations(isa), rows_of_x(5, 203), rows, layout, activations)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_that_are_not_finite(isa: str, layout: str) -> None:
    for dtype in (FLOAT32, FLOAT16, BFLOAT16):
        w = sample("NaN and infinities", dtype, (19, 77))
        assert_product(Operations(isa), rows_of_x(3, 77), w, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_subnormal_weights(isa: str, layout: str) -> None:
    for dtype in (FLOAT16, INT8):  # those of the others are beyond the bound
        w = sample("subnormal", dtype, (19, 77))
        assert_product(Operations(isa), rows_of_x(3, 77), w, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float16_is_widened_exactly(isa: str, layout: str) -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(1024, 64)
    on = Operations(isa)
    w = np.where(np.isfinite(every), every, np.float16(1))
    one = np.eye(64, dtype=np.float32)
    y = on.linear(one, on.prepare(w, layout), 1024)
    assert np.array_equal(y, w.T.astype(np.float32))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_of_two_stripes(isa: str, product: tuple[np.dtype[Any], str], layout: str) -> None:
    dtype, activations = product
    w = sparse_matrix("50 %", dtype, (17, 7080))  # an odd number of chunks
    for batch in (2, 66) if layout in ("bitmask", "index") else (2,):  # 66 are expanded
        assert_product(Operations(isa), rows_of_x(batch, 7080), w, layout, activations)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [1, 8, 40], ids=lambda batch: f"batch{batch}")
def test_activations_are_rounded_to_bfloat16_as_numbers_are(
    isa: str, layout: str, batch: int
) -> None:
    """To the nearest, to even between two; NaN stays NaN whichever of its bits are set."""
    bits = [0x3F808000, 0x3F818000, 0x3F808001, 0x3F817FFF, 0xBF808000]
    bits += [0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000]
    x = np.resize(np.array(bits, np.uint32), 5 * batch).view(np.float32).reshape(5, batch, 1)
    on = Operations(isa)
    one = on.prepare(np.ones((1, 1), BFLOAT16), layout, "bfloat16")
    for rows in x:
        y = on.linear(rows, one, 1, activations="bfloat16")
        with np.errstate(invalid="ignore"):
            expected = rows.astype(BFLOAT16).astype(np.float32)
        assert np.array_equal(y, expected, equal_nan=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_int8_sums_do_not_saturate(isa: str, layout: str) -> None:
    w = np.full((16, 4096), -128, np.int8)
    w[1::2, ::2] = 127
    for sign in (1, -1):
        x = np.full((2, 4096), sign * 127, np.float32)  # each step is 1
        assert_product(Operations(isa), x, w, layout, "int8")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_int8_rows_that_are_not_finite_or_zero(isa: str, layout: str) -> None:
    w = sparse_matrix("50 %", INT8, (16, 64))
    x = rows_of_x(6, 64)
    x[1, 5], x[2, 63], x[3, 0], x[4] = np.nan, np.inf, -np.inf, 0
    on = Operations(isa)
    y = on.linear(x, on.prepare(w, layout), 16, activations="int8")
    assert np.isnan(y[1:4]).all()
    assert not y[4].any()
    assert_within(y, *reference.linear(x, w, activations="int8"))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "blocks"])
def test_more_columns_than_int32_sums_can_hold(isa: str, layout: str) -> None:
    w = np.full((1, 70_000), -128, np.int8)
    x = np.ones((1, 70_000), np.float32)
    assert_product(Operations(isa), x, w, layout, "int8")


@given(data=st.data())
def test_any_matrix(isa: str, product: tuple[np.dtype[Any], str], data: st.DataObject) -> None:
    dtype, activations = product
    shape = data.draw(st.tuples(st.integers(0, 40), st.integers(0, 90)))
    batch = data.draw(st.integers(0, 20))
    seed = data.draw(st.integers(0, 2**32))
    random = np.random.default_rng(seed)
    density = random.random((shape[0], 1)) * random.random((1, shape[1]))
    w = np.where(random.random(shape) < density, random_bits(INT8, shape, seed), 0)
    w = np.asarray(w, np.int8).astype(dtype)
    x = random_bits(INT8, (batch, shape[1]), seed).astype(np.float32)
    assert_product(Operations(isa), x, w, data.draw(st.sampled_from([*LAYOUTS, None])), activations)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_bits_on_any_number_of_threads(
    isa: str, product: tuple[np.dtype[Any], str], layout: str
) -> None:
    dtype, activations = product
    # Lists multiply 32 rows of x at once, and one that is left over in another way.
    for pattern, batch in (("50 %", 3), ("90 %", 20), ("90 %", 33)):
        w = np.array(sparse_matrix(pattern, dtype, LARGE))
        w[100:300] = 0  # so that equal rows are not equal work
        x = rows_of_x(batch, LARGE[1])
        alone = Operations(isa)
        y = alone.linear(x, alone.prepare(w, layout), LARGE[0], activations=activations)
        assert_within(y, *reference.linear(x, w, activations=activations))
        for threads in (2, 3, 5):
            on = Operations(isa, threads)
            again = on.linear(x, on.prepare(w, layout), LARGE[0], activations=activations)
            assert same_bits(again, y), threads


@pytest.mark.parametrize(
    ("pattern", "layouts"),
    [
        ("3:4", {"nm4"}),
        ("13:16", {"nm16"}),
        ("16x1 blocks", {"blocks"}),
        ("90 %", {"index", "bitmask", "nm16", "csr"}),
        ("none", {"dense"}),
    ],
)
def test_the_layout_follows_the_pattern(isa: str, pattern: str, layouts: set[str]) -> None:
    if isa == "scalar":
        pytest.skip("scalar code is slow in every layout alike")
    w = sparse_matrix(pattern, FLOAT32, (128, 256))
    assert Operations(isa).prepare(w).layout in layouts


@pytest.mark.parametrize(("kept", "layout"), [(12, "index"), (17, "bitmask")])
def test_an_index_has_slots_for_at_most_a_half(isa: str, kept: int, layout: str) -> None:
    if isa != "avx512":
        pytest.skip("only AVX-512 is fast enough at indices to want more of them")
    places = np.argsort(np.random.default_rng(0).random((1024, 32, 32)), axis=-1)
    w = (places < kept).astype(np.float16)
    assert Operations(isa).prepare(w.reshape(1024, 1024)).layout == layout


@pytest.mark.parametrize(("rows", "layout"), [(128, "dense"), (2048, "bitmask")])
def test_only_a_matrix_beyond_the_l2_cache_is_bound_by_reading(
    isa: str, rows: int, layout: str
) -> None:
    if isa != "avx512":
        pytest.skip("the costs of AVX-512 are those that tell the two apart")
    w = sparse_matrix("50 %", FLOAT32, (rows, 512))
    assert Operations(isa).prepare(w).layout == layout
