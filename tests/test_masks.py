"""Masks of every pattern against the reference, on every ISA and dtype."""

from __future__ import annotations

import ctypes
import math
import pickle
import platform
from ctypes.util import find_library
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prunepack as pp
import reference
from per_isa import Operations
from samples import (
    DISTRIBUTIONS,
    DTYPES,
    FLOATS,
    REGISTER_BYTES,
    bits_type,
    random_bits,
    same_bits,
    sample,
    shapes,
    telling_bits,
    weights,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Pattern = pp.Unstructured | pp.NM | pp.Block

sparsities = st.one_of(st.sampled_from([0.0, 0.5, 0.75, 1.0]), st.floats(0, 1))


def expected(w: npt.NDArray[Any], pattern: Pattern) -> npt.NDArray[np.uint8]:
    return reference.mask_bytes(reference.kept(w, pattern))


@cache
def expected_of(
    distribution: str, dtype: np.dtype[Any], shape: tuple[int, ...], pattern: Pattern
) -> npt.NDArray[np.uint8]:
    """Keep the reference's answers, which are slow and the same for every ISA."""
    return expected(sample(distribution, dtype, shape), pattern)


def tails(dtype: np.dtype[Any]) -> range:
    """Every size up to two of the widest registers and one element."""
    return range(2 * REGISTER_BYTES // dtype.itemsize + 2)


# Properties, on any bits.


@given(data=st.data(), sparsity=sparsities)
def test_unstructured(isa: str, dtype: np.dtype[Any], data: st.DataObject, sparsity: float) -> None:
    w = data.draw(weights(dtype, shapes))
    pattern = pp.Unstructured(sparsity)
    assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern))


@given(data=st.data(), sparsity=sparsities)
def test_unstructured_in_rows(
    isa: str, dtype: np.dtype[Any], data: st.DataObject, sparsity: float
) -> None:
    w = data.draw(weights(dtype, shapes.filter(lambda shape: len(shape) > 1)))
    pattern = pp.Unstructured(sparsity, scope="row")
    assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern))


@given(data=st.data(), m=st.integers(1, 20))
def test_n_of_m(isa: str, dtype: np.dtype[Any], data: st.DataObject, m: int) -> None:
    w = data.draw(weights(dtype, shapes))
    axis = data.draw(st.integers(-w.ndim, w.ndim - 1)) if w.ndim > 1 else 1
    pattern = pp.NM(data.draw(st.integers(0, m)), m, axis)
    assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern))


@given(data=st.data(), sparsity=sparsities, norm=st.sampled_from(["l1", "l2", "max"]))
def test_blocks(
    isa: str, dtype: np.dtype[Any], data: st.DataObject, sparsity: float, norm: Any
) -> None:
    w = data.draw(weights(dtype, shapes))
    steps = st.one_of(st.none(), st.integers(1, 10))
    pattern = pp.Block(
        tuple(data.draw(st.lists(steps, min_size=1, max_size=max(w.ndim, 1)))), sparsity, norm
    )
    assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern))


@given(data=st.data())
def test_above(isa: str, dtype: np.dtype[Any], data: st.DataObject) -> None:
    """What a threshold is made of, and with key 0 the mask of the weights that are not zero."""
    w = data.draw(weights(dtype, shapes))
    keys = reference.key(w)
    largest = int(np.iinfo(bits_type(dtype)).max)
    some = st.sampled_from(keys.ravel().tolist()) if w.size else st.nothing()
    above = data.draw(st.one_of(st.just(0), some, st.integers(0, largest)))
    mask, count = Operations(isa).above_mask(w, above)
    assert same_bits(mask, reference.mask_bytes(keys > above))
    assert count == np.count_nonzero(keys > above)


# Every tail. Two rows, so that the second starts inside a register.


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_every_tail_of_unstructured(isa: str, dtype: np.dtype[Any], sparsity: float) -> None:
    for cols in tails(dtype):
        w = random_bits(dtype, (2, cols), seed=cols)
        pattern = pp.Unstructured(sparsity)
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), cols
        pattern = pp.Unstructured(sparsity, scope="row")
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), cols


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (3, 4), (7, 8), (14, 16), (2, 3), (5, 7)])
def test_every_tail_of_n_of_m(isa: str, dtype: np.dtype[Any], n: int, m: int) -> None:
    for cols in tails(dtype):
        w = random_bits(dtype, (3, cols), seed=cols)
        pattern = pp.NM(n, m)
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), cols


@pytest.mark.parametrize(("n", "m"), [(2, 4), (14, 16), (2, 3)])
@pytest.mark.parametrize("length", [4, 16, 17])
def test_every_tail_beside_the_groups(
    isa: str, dtype: np.dtype[Any], n: int, m: int, length: int
) -> None:
    """Groups along axis 0: every width of what lies beside them."""
    for width in tails(dtype):
        w = random_bits(dtype, (length, width), seed=width)
        pattern = pp.NM(n, m, axis=0)
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), width


@pytest.mark.parametrize(("n", "m"), [(2, 4), (5, 8), (9, 13), (30, 40), (60, 64), (50, 70)])
@pytest.mark.parametrize(
    "shape",
    [(2, 147, 3, 3), (9, 150, 1, 5), (3, 140, 7, 7), (5, 70, 2, 300), (2, 80, 4, 64), (140, 300)],
)
def test_groups_beside_each_other(
    isa: str, dtype: np.dtype[Any], n: int, m: int, shape: tuple[int, ...]
) -> None:
    """Groups along axis 1, as in a convolution, and along axis 0."""
    w = random_bits(dtype, shape, seed=m)
    for axis in (0, 1) if len(shape) > 2 else (0,):
        pattern = pp.NM(n, m, axis=axis)
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), axis


def test_bands_of_short_rows_in_several_tasks(isa: str) -> None:
    """Each task puts what it decides where its first row is in the mask."""
    w = sample("normal", np.dtype(np.float32), (3000, 12, 3, 3))
    pattern = pp.NM(2, 4, axis=1)
    assert w.nbytes > 4 * 256 * 1024  # a task
    assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern))


@pytest.mark.parametrize("distribution", [*DISTRIBUTIONS, "all"])
def test_many_large_groups(isa: str, dtype: np.dtype[Any], distribution: str) -> None:
    """What is learnt from one group must not decide another: neighbours alike, and not at all."""
    names = DISTRIBUTIONS if distribution == "all" else [distribution]
    rows = [sample(name, dtype, (24 // len(names), 1100)) for name in names for _ in range(2)]
    w = np.concatenate(rows)
    w = w[np.random.default_rng(0).permutation(len(w))]
    for pattern in (
        pp.Unstructured(0.5, scope="row"),
        pp.Unstructured(0.97, scope="row"),
        pp.NM(100, 512),
        pp.NM(1, 260),
        pp.NM(1000, 1001),
    ):
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), pattern


def test_every_size_of_a_group(isa: str, dtype: np.dtype[Any]) -> None:
    for m in (*range(1, 70), 127, 128, 129, 256, 1000):
        w = random_bits(dtype, (2, 2 * m + m // 2), seed=m)
        for n in {0, 1, m // 2, m - 1, m}:
            pattern = pp.NM(n, m)
            assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), (n, m)


def test_every_tail_of_above(isa: str, dtype: np.dtype[Any]) -> None:
    for cols in tails(dtype):
        w = random_bits(dtype, (2, cols), seed=cols)
        keys = reference.key(w)
        for above in {0, *np.sort(keys, axis=None)[cols : cols + 1].tolist()}:
            mask, count = Operations(isa).above_mask(w, above)
            assert same_bits(mask, reference.mask_bytes(keys > above)), cols
            assert count == np.count_nonzero(keys > above), cols


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_every_tail_of_a_tile(isa: str, dtype: np.dtype[Any], norm: Any) -> None:
    """Tiles of every length, side by side and one above the other, with smaller ones at the edge."""
    for size in tails(dtype)[1:]:
        w = random_bits(dtype, (3, 2 * size + size // 2), seed=size)
        for turned, tile in ((w, (1, size)), (np.ascontiguousarray(w.T), (size,))):
            pattern = pp.Block(tile, 0.5, norm)
            actual = Operations(isa).mask(turned, pattern)
            assert same_bits(actual, expected(turned, pattern)), (size, tile)


# The ten distributions.

SMALL = (24, 37)
PATTERNS = (
    pp.Unstructured(0.5),
    pp.Unstructured(0.9),
    pp.Unstructured(0.75, scope="row"),
    pp.NM(3, 4),
    pp.NM(14, 16),
    pp.NM(20, 32, axis=0),
    pp.Block((4,), 0.5),
    pp.Block((1, 4), 0.75, "l1"),
    pp.Block((4, 4), 0.5, "max"),
    pp.Block((1, None), 0.5),
)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distribution(isa: str, dtype: np.dtype[Any], distribution: str) -> None:
    w = sample(distribution, dtype, SMALL)
    for pattern in PATTERNS:
        answer = expected_of(distribution, dtype, SMALL, pattern)
        assert same_bits(Operations(isa).mask(w, pattern), answer), pattern


# Populations too long for the cache are selected another way: by a sample and one pass.


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_long_populations(isa: str, dtype: np.dtype[Any], distribution: str) -> None:
    """Rows of more than 256 KiB of any dtype, one of which begins inside a byte of the mask."""
    w = sample(distribution, dtype, (2, 264_001))
    for sparsity in (1e-5, 0.4, 0.9999):
        for pattern in (pp.Unstructured(sparsity), pp.Unstructured(sparsity, "row")):
            answer = expected_of(distribution, dtype, w.shape, pattern)
            assert same_bits(Operations(isa).mask(w, pattern), answer), pattern


def test_a_few_large_weights_among_equal_ones(isa: str) -> None:
    """No sample sees the threshold: it lies among 100 of two hundred thousand weights."""
    w = np.full((1, 200_003), 0.5, np.float32)
    w[0, 7::2003] = np.arange(1, 101)
    for pruned in (200_003 - 50, 200_003 - 100, 200_003 - 101, 3):
        pattern = pp.Unstructured(pruned / w.size)
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), pruned


def test_a_sample_that_misleads(isa: str) -> None:
    """Large weights wherever the first samples look, small ones everywhere else.

    The selection must notice, every time, and still be exact. A sample is a run of 32 bytes out
    of every 1024th part of the weights, at a place given by the generator below; if that changes,
    this test proves less.
    """
    w = np.random.default_rng(0).normal(0, 0.01, 2**20).astype(np.float32)
    stretch, run, mask64 = w.size // 1024, 8, 2**64 - 1
    for attempt in range(4):
        state = attempt
        for first in range(0, w.size, stretch):
            state = (state + 0x9E3779B97F4A7C15) & mask64
            z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask64
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask64
            begin = first + (z ^ (z >> 31)) % (stretch - run + 1)
            w[begin : begin + run] += 1000
    w = w.reshape(1, -1)
    for sparsity in (0.1, 0.5):
        pattern = pp.Unstructured(sparsity)
        assert same_bits(Operations(isa).mask(w, pattern), expected(w, pattern)), sparsity


@pytest.mark.parametrize("distribution", ["normal", "few levels"])
def test_lengths_at_which_the_way_changes(
    isa: str, dtype: np.dtype[Any], distribution: str
) -> None:
    for kib in (32, 63, 64, 65, 127, 128, 129, 255, 256, 257):
        for more in (-1, 0, 1):
            count = kib * 1024 // dtype.itemsize + more
            w = sample(distribution, dtype, (1, count))
            pattern = pp.Unstructured(0.6)
            answer = expected_of(distribution, dtype, w.shape, pattern)
            assert same_bits(Operations(isa).mask(w, pattern), answer), count


# Two million elements, in odd rows.

LARGE = (1031, 2003)


@pytest.fixture(
    params=[
        ("normal", "float32", pp.Unstructured(0.75)),
        ("normal", "float64", pp.Unstructured(0.5)),
        ("normal", "bfloat16", pp.Unstructured(0.5)),
        ("laplace", "float16", pp.Unstructured(0.9)),
        ("constant", "float32", pp.Unstructured(0.5)),
        ("two values", "float16", pp.Unstructured(0.75)),
        ("sorted", "float32", pp.Unstructured(0.3)),
        ("reversed", "bfloat16", pp.Unstructured(0.7)),
        ("subnormal", "float32", pp.Unstructured(0.5)),
        ("NaN and infinities", "float32", pp.Unstructured(0.75)),
        ("few levels", "int8", pp.Unstructured(0.5)),
        ("normal", "int8", pp.Unstructured(0.5)),
        ("two values", "int8", pp.Unstructured(0.5)),
        ("90 % zeros", "float32", pp.Unstructured(0.5)),
        ("90 % zeros", "float8_e4m3fn", pp.Unstructured(0.95)),
        ("normal", "bfloat16", pp.Unstructured(0.75, scope="row")),
        ("normal", "float32", pp.Unstructured(0.5, scope="row")),
        ("normal", "float16", pp.NM(3, 4)),
        ("few levels", "float32", pp.NM(14, 16)),
        ("normal", "int8", pp.NM(96, 128)),
        ("normal", "bfloat16", pp.NM(2, 4, axis=0)),
        ("normal", "float16", pp.Block((16, 16), 0.5)),
        ("normal", "float32", pp.Block((32,), 0.5, "l1")),
    ],
    ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}",
    scope="module",
)
def large(
    request: pytest.FixtureRequest,
) -> tuple[npt.NDArray[Any], Pattern, npt.NDArray[np.uint8]]:
    distribution, name, pattern = request.param
    dtype = next(dtype for dtype in DTYPES if dtype.name == name)
    answer = expected_of(distribution, dtype, LARGE, pattern)
    return sample(distribution, dtype, LARGE), pattern, answer


def test_two_million_weights(
    isa: str, large: tuple[npt.NDArray[Any], Pattern, npt.NDArray[np.uint8]]
) -> None:
    w, pattern, answer = large
    for threads in (1, 2, 3, 5):
        assert same_bits(Operations(isa, threads).mask(w, pattern), answer), threads


# Named cases.


def kept(w: npt.NDArray[Any], pattern: Any) -> Any:
    """Which weights the public function keeps, as 0 and 1."""
    return pp.prune_mask(w, pattern).to_bool().astype(int).tolist()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nan_ranks_above_infinity(dtype: np.dtype[Any]) -> None:
    w = np.array([np.nan, 1, -np.nan, 2], dtype)
    assert kept(w, pp.Unstructured(0.5)) == [1, 0, 1, 0]
    if dtype.name != "float8_e4m3fn":  # which has no infinity
        w = np.array([np.inf, np.nan, -np.inf, -np.nan], dtype)
        assert kept(w, pp.Unstructured(0.5)) == [0, 1, 0, 1]
        assert kept(w, pp.Threshold(np.inf)) == [0, 1, 0, 1]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_both_zeros_tie(dtype: np.dtype[Any]) -> None:
    w = np.array([-0.0, 0.0, -0.0, 0.0], dtype)
    assert kept(w, pp.NM(2, 4)) == [0, 0, 1, 1]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_subnormals_rank_above_zero(dtype: np.dtype[Any]) -> None:
    w = np.array([1, 0, 2, 0], bits_type(dtype)).view(dtype)
    assert kept(w, pp.NM(2, 4)) == [1, 0, 1, 0]
    assert kept(w, pp.Unstructured(0.75)) == [0, 0, 1, 0]
    assert kept(w, pp.Threshold(0)) == [1, 0, 1, 0]


def test_the_lowest_int8_has_the_largest_magnitude() -> None:
    w = np.array([127, -128, -127, 5], np.int8)
    assert kept(w, pp.Unstructured(0.75)) == [0, 1, 0, 0]
    assert kept(w, pp.NM(3, 4)) == [0, 1, 0, 0]
    assert kept(w, pp.Threshold(127)) == [0, 1, 0, 0]
    assert kept(w, pp.Block((2,), 0.5, "max")) == [1, 1, 0, 0]


def test_unsigned_weights_have_no_sign() -> None:
    w = np.array([128, 255, 127, 1], np.uint8)
    assert kept(w, pp.Unstructured(0.5)) == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "pattern", [pp.Unstructured(0.5), pp.NM(4, 8), pp.Block((1,), 0.5)], ids=repr
)
def test_equal_weights_lose_the_lower_indices(dtype: np.dtype[Any], pattern: Any) -> None:
    assert kept(np.ones(8, dtype), pattern) == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_all_nan_norms_tie(isa: str, dtype: np.dtype[Any], norm: Any) -> None:
    """A tile's NaN ranks above infinity, whatever its payload, its sign and its place are."""
    rng = np.random.default_rng(0)
    sign = 2 ** (8 * dtype.itemsize - 1)
    infinity = telling_bits(dtype)[5] - (dtype.name == "float8_e4m3fn")
    for size in (*range(1, 19), 33, 64):
        bits = rng.integers(0, infinity, (16, size), bits_type(dtype))
        nan = rng.integers(infinity + 1, sign, (16, 1), bits_type(dtype))
        np.put_along_axis(bits, rng.integers(0, size, (16, 1)), nan, axis=1)
        bits[5, 0] = bits[9, -1] = infinity
        w = (bits | rng.choice([0, sign], bits.shape).astype(bits.dtype)).view(dtype)
        for turned, tile in ((w, (1, size)), (np.ascontiguousarray(w.T), (size,))):
            pattern = pp.Block(tile, 0.5, norm)
            actual = Operations(isa).mask(turned, pattern)
            assert same_bits(actual, expected(turned, pattern)), (size, tile)


def test_norms_of_float16_do_not_overflow() -> None:
    w = np.array([60000, 60000, 65504, 65504, 50000, 50000, 0, 0], np.float16)
    assert kept(w, pp.Block((2,), 0.75)) == [0, 0, 1, 1, 0, 0, 0, 0]


def test_norms_of_float16_do_not_underflow() -> None:
    w = np.array([2e-7, 2e-7, 1e-7, 1e-7, 3e-7, 3e-7, 4e-7, 4e-7], np.float16)
    assert kept(w, pp.Block((2,), 0.5)) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_norms_are_summed_in_eight_lanes(isa: str) -> None:
    """1e16 swallows a lone 1, but not the 2 that lanes 1 and 5 make of two of them.

    In order, 1e16 + 1 + 1 is 1e16, which would tie; in lanes it is 1e16 + 2.
    """
    in_lanes = [1e16, 1, 0, 0, 0, 1, 0, 0]
    alone = [1e16, 0, 0, 0, 0, 0, 0, 0]
    w = np.array(in_lanes + alone)
    assert Operations(isa).mask(w, pp.Block((8,), 0.5, "l1")).tolist() == [[0xFF, 0]]


# Shapes at the edge.

ANY_PATTERN = (pp.Unstructured(0.5), pp.Threshold(0.5), pp.NM(1, 2), pp.Block((1,), 0.5))


@pytest.mark.parametrize("pattern", ANY_PATTERN, ids=repr)
@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3), (0, 0)])
def test_empty(dtype: np.dtype[Any], shape: tuple[int, ...], pattern: Any) -> None:
    mask = pp.prune_mask(np.ones(shape, dtype), pattern)
    assert mask.shape == shape
    assert mask.kept == 0
    assert mask.sparsity == 0
    assert mask.to_bool().shape == shape


def test_rank_0(dtype: np.dtype[Any]) -> None:
    one = np.ones((), dtype)
    assert kept(one, pp.Unstructured(0.5)) == 1  # round(0.5) is 0
    assert kept(one, pp.Unstructured(0.6)) == 0
    assert kept(one, pp.Threshold(1)) == 0
    assert kept(one, pp.Threshold(0.5)) == 1
    assert kept(one, pp.NM(3, 4)) == 1  # three of the four are padding
    assert kept(one, pp.NM(4, 4)) == 0
    assert kept(one, pp.Block((1,), 1.0)) == 0
    assert kept(one, pp.Block((None,), 0.0)) == 1


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1)])
def test_single_weight(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    one = np.ones(shape, dtype)
    for pattern, stays in (
        (pp.Unstructured(0.0), 1),
        (pp.Unstructured(1.0), 0),
        (pp.NM(0, 1), 1),
        (pp.NM(1, 1), 0),
        (pp.NM(1, 2), 1),
        (pp.Block((1,), 1.0), 0),
    ):
        assert pp.prune_mask(one, pattern).kept == stays


def test_nothing_or_everything(dtype: np.dtype[Any]) -> None:
    w = random_bits(dtype, (5, 13))
    for nothing in (
        pp.Unstructured(0),
        pp.Unstructured(0.0, "row"),
        pp.NM(0, 4),
        pp.Block((2,), 0),
    ):
        assert pp.prune_mask(w, nothing).to_bool().all()
    for everything in (
        pp.Unstructured(1),
        pp.Unstructured(1, "row"),
        pp.NM(4, 4),
        pp.Block((2,), 1),
    ):
        assert not pp.prune_mask(w, everything).to_bool().any()


# Properties of the public function.


@given(data=st.data(), sparsity=sparsities)
def test_exactly_the_target_is_pruned(
    dtype: np.dtype[Any], data: st.DataObject, sparsity: float
) -> None:
    w = data.draw(weights(dtype, shapes))
    pattern = pp.Unstructured(sparsity)
    assert w.size - pp.prune_mask(w, pattern).kept == round(sparsity * w.size)
    assert pattern.target(w.shape) == round(sparsity * w.size)


@given(data=st.data(), m=st.integers(1, 17))
def test_exactly_n_of_every_m(dtype: np.dtype[Any], data: st.DataObject, m: int) -> None:
    n = data.draw(st.integers(0, m))
    w = data.draw(
        weights(dtype, st.tuples(st.integers(0, 4), st.integers(0, 4).map(lambda g: g * m)))
    )
    pattern = pp.NM(n, m)
    mask = pp.prune_mask(w, pattern)
    groups = mask.to_bool().reshape(-1, m)
    assert np.all(np.count_nonzero(~groups, axis=1) == n)
    assert pattern.target(w.shape) == w.size - mask.kept


@given(data=st.data(), m=st.integers(1, 17), cols=st.integers(0, 40))
def test_a_last_group_is_padded_with_zeros(
    dtype: np.dtype[Any], data: st.DataObject, m: int, cols: int
) -> None:
    n = data.draw(st.integers(0, m))
    w = data.draw(weights(dtype, (2, cols)))
    last = cols % m
    lost = ~pp.prune_mask(w, pp.NM(n, m)).to_bool()[:, cols - last :]
    assert np.all(np.count_nonzero(lost, axis=1) == (max(0, n - (m - last)) if last else 0))


ROW_LOCAL = (pp.Unstructured(0.6, "row"), pp.NM(3, 4), pp.NM(3, 7), pp.Threshold(0.25))


@pytest.mark.parametrize("pattern", ROW_LOCAL, ids=repr)
@given(data=st.data())
def test_permuting_rows_permutes_the_mask(
    dtype: np.dtype[Any], pattern: Any, data: st.DataObject
) -> None:
    w = data.draw(weights(dtype, st.tuples(st.integers(1, 6), st.integers(0, 20))))
    order = data.draw(st.permutations(range(len(w))))
    whole = pp.prune_mask(w, pattern).to_bool()
    assert np.array_equal(pp.prune_mask(w[order], pattern).to_bool(), whole[order])


@given(data=st.data(), importance_dtype=st.sampled_from(DTYPES))
def test_importance_ranks_instead_of_the_weights(
    dtype: np.dtype[Any], data: st.DataObject, importance_dtype: np.dtype[Any]
) -> None:
    w = data.draw(weights(dtype, shapes))
    importance = data.draw(weights(importance_dtype, w.shape))
    for pattern in (pp.Unstructured(0.5), pp.Threshold(1.0), pp.NM(2, 4), pp.Block((2,), 0.5)):
        if isinstance(pattern, pp.NM) and w.ndim > 2:
            pattern = pp.NM(2, 4, axis=-1)
        mask = pp.prune_mask(w, pattern, importance=importance)
        assert np.array_equal(mask.to_bool(), reference.kept(w, pattern, importance))


@given(data=st.data(), value=st.floats(min_value=0, allow_nan=False))
def test_threshold_compares_exactly(
    dtype: np.dtype[Any], data: st.DataObject, value: float
) -> None:
    """The value is never rounded to the dtype of the weights."""
    w = data.draw(weights(dtype, st.integers(1, 20)))
    largest = reference.magnitude(w)
    near = st.sampled_from([x for x in largest.tolist() if np.isfinite(x)] or [0.0])
    exact = data.draw(near)
    below = max(0.0, math.nextafter(exact, -1))
    for threshold in (value, exact, below, math.nextafter(exact, math.inf)):
        mask = pp.prune_mask(w, pp.Threshold(threshold))
        assert np.array_equal(mask.to_bool(), reference.kept(w, pp.Threshold(threshold)))


# The mask itself.


@given(kept=st.data(), shape=shapes)
def test_from_bool_and_back(kept: st.DataObject, shape: tuple[int, ...]) -> None:
    from hypothesis.extra.numpy import arrays

    wanted = kept.draw(arrays(bool, shape))
    mask = pp.Mask.from_bool(wanted)
    assert mask.shape == shape
    assert same_bits(mask.bits, reference.mask_bytes(wanted))
    assert np.array_equal(mask.to_bool(), wanted)
    assert mask.kept == np.count_nonzero(wanted)
    assert mask.sparsity == (1 - wanted.mean() if wanted.size else 0)
    assert mask.nbytes == mask.bits.nbytes


def test_from_bool_takes_any_strides() -> None:
    wanted = random_bits(np.dtype(np.uint8), (6, 10)) > 100
    for view in (wanted.T, wanted[::-1, ::-3], np.asfortranarray(wanted)):
        assert np.array_equal(pp.Mask.from_bool(view).to_bool(), view)


def test_bits_are_read_only() -> None:
    mask = pp.Mask.from_bool(np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="read-only"):
        mask.bits[0, 0] = 0


def test_masks_compare_by_value() -> None:
    kept = np.array([[True, False, True]])
    mask = pp.Mask.from_bool(kept)
    assert mask == pp.Mask.from_bool(kept.copy())
    assert mask != pp.Mask.from_bool(~kept)
    assert mask != pp.Mask.from_bool(kept.reshape(3))
    assert mask != "a mask"
    assert mask == pickle.loads(pickle.dumps(mask))


def test_repr_says_shape_and_sparsity() -> None:
    text = repr(pp.Mask.from_bool(np.array([[True, False, False, False]])))
    assert "Mask" in text
    assert "(1, 4)" in text
    assert "75" in text


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_mode_of_the_caller_changes_no_norm(dtype: Any) -> None:
    """Nor does flushing subnormals to zero, which is set in the same register."""
    w = np.random.default_rng(5).standard_normal((64, 48)).astype(dtype)
    expected = pp.prune_mask(w, pp.Block((7, 5), 0.5), num_threads=1)
    # Two tiles whose norms differ only in how a sum is rounded: 1 + 2**-60 and 1.
    close = np.zeros((2, 2), dtype=np.float64)
    close[0] = [1.0, 2.0**-60]
    close[1] = [1.0, 0.0]
    kept = pp.prune_mask(close, pp.Block((1, 2), 0.5, norm="l1"), num_threads=1)

    libm = ctypes.CDLL(find_library("m"))
    before = libm.fegetround()
    upward = {"x86_64": 0x800, "aarch64": 0x400000, "arm64": 0x400000}[platform.machine()]
    try:
        assert libm.fesetround(upward) == 0
        found = pp.prune_mask(w, pp.Block((7, 5), 0.5), num_threads=1)
        found_close = pp.prune_mask(close, pp.Block((1, 2), 0.5, norm="l1"), num_threads=1)
    finally:
        libm.fesetround(before)
    assert found == expected
    assert found_close == kept
    assert kept.to_bool().tolist() == [[False, False], [True, True]]  # equal: the first goes
