"""Patterns: what they accept, how many weights they prune, what they are called."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prunepack as pp
import reference
from samples import shapes

PATTERNS = (
    pp.Unstructured(0.75),
    pp.Unstructured(0.75, scope="row"),
    pp.Threshold(0.001),
    pp.NM(3, 4),
    pp.NM(3, 4, axis=0),
    pp.Block((4, 1), 0.5),
    pp.Block((1, None), 0.5, norm="max"),
)


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_patterns_are_values(pattern: Any) -> None:
    assert pattern == pickle.loads(pickle.dumps(pattern))
    assert hash(pattern) == hash(pickle.loads(pickle.dumps(pattern)))
    assert eval(repr(pattern), vars(pp)) == pattern
    with pytest.raises(FrozenInstanceError):
        pattern.m = 5


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (pp.Unstructured(0.75), "unstructured 75 %"),
        (pp.NM(3, 4), "3:4 (75 % sparse)"),
        (pp.Block((4, 1), 0.5), "block 4x1 50 % l2"),
        (pp.Threshold(0.001), "threshold 0.001"),
    ],
    ids=repr,
)
def test_names(pattern: Any, name: str) -> None:
    assert str(pattern) == name


def test_different_patterns_have_different_names() -> None:
    assert len({str(pattern) for pattern in PATTERNS}) == len(PATTERNS)


def test_n_counts_zeros_and_keeping_counts_the_rest() -> None:
    assert pp.NM.keeping(1, 4) == pp.NM(3, 4)
    assert pp.NM.keeping(2, 4) == pp.NM(2, 4)
    assert pp.NM.keeping(2, 16, axis=0) == pp.NM(14, 16, axis=0)


# How many weights are pruned.


@given(shape=shapes, sparsity=st.floats(0, 1))
def test_target_of_unstructured(shape: tuple[int, ...], sparsity: float) -> None:
    pattern = pp.Unstructured(sparsity)
    kept = reference.kept(np.ones(shape, np.float32), pattern)
    assert pattern.target(shape) == np.count_nonzero(~kept)


@given(shape=shapes.filter(lambda shape: len(shape) > 1), sparsity=st.floats(0, 1))
def test_target_of_rows(shape: tuple[int, ...], sparsity: float) -> None:
    pattern = pp.Unstructured(sparsity, scope="row")
    kept = reference.kept(np.ones(shape, np.float32), pattern)
    assert pattern.target(shape) == np.count_nonzero(~kept)


@given(shape=shapes, m=st.integers(1, 12), data=st.data())
def test_target_of_n_of_m(shape: tuple[int, ...], m: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1)) if len(shape) > 1 else 1
    pattern = pp.NM(data.draw(st.integers(0, m)), m, axis)
    kept = reference.kept(np.ones(shape, np.float32), pattern)
    assert pattern.target(shape) == np.count_nonzero(~kept)


def test_target_of_blocks() -> None:
    assert pp.Block((4,), 0.5).target((8, 6)) == 24
    assert pp.Block((4, None), 0.5).target((8, 6)) == 24
    assert pp.Block((4, 4), 1.0).target((8, 8)) == 64
    assert pp.Block((1, 1, None, None), 0.25).target((4, 4, 3, 3)) == 36
    assert pp.Block((4,), 0.5).target((9, 6)) is None  # the last row of tiles is smaller


def test_target_of_a_threshold_depends_on_the_weights() -> None:
    pattern: pp.Pattern = pp.Threshold(0.1)
    assert pattern.target((8, 6)) is None


@pytest.mark.parametrize(
    ("sparsity", "size", "pruned"),
    [(0.5, 1, 0), (0.5, 3, 2), (0.5, 5, 2), (0.1, 5, 0), (0.3, 5, 2)],
)
def test_halves_are_rounded_to_even(sparsity: float, size: int, pruned: int) -> None:
    assert pp.Unstructured(sparsity).target((size,)) == pruned
    assert pp.prune_mask(np.ones(size, np.float32), pp.Unstructured(sparsity)).kept == size - pruned


# What is refused.


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan"), float("inf"), 75])
def test_sparsity_is_between_0_and_1(sparsity: float) -> None:
    with pytest.raises(ValueError, match=rf"sparsity must be from 0 to 1, got {sparsity}"):
        pp.Unstructured(sparsity)
    with pytest.raises(ValueError, match=rf"sparsity must be from 0 to 1, got {sparsity}"):
        pp.Block((4,), sparsity)


def test_no_sparsity_has_no_sign() -> None:
    assert str(pp.Unstructured(-0.0)) == "unstructured 0 %"


@pytest.mark.parametrize("sparsity", ["0.5", None, 1j, [0.5]], ids=repr)
def test_sparsity_is_a_number(sparsity: Any) -> None:
    with pytest.raises(TypeError, match="sparsity must be a number"):
        pp.Unstructured(sparsity)
    with pytest.raises(TypeError, match="sparsity must be a number"):
        pp.Block((4,), sparsity)


@pytest.mark.parametrize("scope", ["column", "Row", "", None, "Model"], ids=repr)
def test_scope_is_known(scope: Any) -> None:
    with pytest.raises(ValueError, match="scope must be"):
        pp.Unstructured(0.5, scope=scope)


@pytest.mark.parametrize("value", [-1.0, -1e-300, float("nan")])
def test_threshold_is_a_magnitude(value: float) -> None:
    with pytest.raises(ValueError, match=f"value must .*got {value}"):
        pp.Threshold(value)


def test_threshold_of_minus_zero_is_zero() -> None:
    assert repr(pp.Threshold(-0.0)) == repr(pp.Threshold(0.0))
    w = np.array([0, 1e-45, -3], np.float32)
    assert pp.prune_mask(w, pp.Threshold(-0.0)).to_bool().tolist() == [False, True, True]


def test_integers_that_no_float_holds() -> None:
    with pytest.raises(ValueError, match="sparsity must be from 0 to 1"):
        pp.Unstructured(10**400)
    with pytest.raises(ValueError, match="value must not be negative"):
        pp.Threshold(-(10**400))
    assert pp.Threshold(10**400) == pp.Threshold(np.inf)


def test_threshold_is_a_number() -> None:
    with pytest.raises(TypeError, match="value must be a number"):
        pp.Threshold("0.1")  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "m"), [(5, 4), (-1, 4), (0, 0), (1, 0), (1, -4)])
def test_n_is_at_most_m(n: int, m: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to {m}, got {n}|m must be at least 1, got {m}"):
        pp.NM(n, m)


def test_keeping_more_than_m() -> None:
    with pytest.raises(ValueError, match="kept must be from 0 to 4, got 5"):
        pp.NM.keeping(5, 4)
    with pytest.raises(ValueError, match="kept must be from 0 to 4, got -1"):
        pp.NM.keeping(-1, 4)


@pytest.mark.parametrize(
    "arguments", [(1.5, 4), (1, 4.0), ("1", 4), (None, 4), (1, 4, 0.0), (1, 4, None)], ids=repr
)
def test_n_m_and_axis_are_integers(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="must be an int, got "):
        pp.NM(*arguments)


def test_numpy_integers_are_integers() -> None:
    numpy: Any = (np.uint8(3), np.uint8(4), np.int32(1))
    assert pp.NM(*numpy) == pp.NM(3, 4)
    assert pp.NM(*numpy).target((100, 1003)) == 100 * 752  # in uint8 this would overflow
    assert pp.prune_mask(np.ones((2, 2), np.float32), pp.NM(*numpy)).kept == 2
    for side in (4, np.int64(4)):
        tile: Any = side
        assert pp.Block(tile, 0.5) == pp.Block((4,), 0.5)


@pytest.mark.parametrize("number", [np.float16, np.float32, np.float64, np.array], ids=str)
def test_numpy_numbers_are_numbers(number: Any) -> None:
    """They are not multiplied in their own precision: 2**24 + 1 is no float32."""
    pattern = pp.Unstructured(number(1.0))
    assert pattern == pp.Unstructured(1.0)
    assert hash(pattern) == hash(pp.Unstructured(1.0))
    assert pattern.target((2**24 + 1,)) == 2**24 + 1
    assert pp.Block((1,), number(1.0)).target((2**24 + 1,)) == 2**24 + 1
    assert pp.Threshold(number(0.5)) == pp.Threshold(0.5)


@pytest.mark.parametrize("axis", [2, -3, 5])
def test_axis_must_exist(axis: int) -> None:
    with pytest.raises(ValueError, match=rf"axis.*{axis}.*\(4, 4\)"):
        pp.prune_mask(np.ones((4, 4), np.float32), pp.NM(2, 4, axis))


def test_axis_1_of_one_dimension_is_its_only_one() -> None:
    w = np.array([1, 2, 3, 4], np.float32)
    for axis in (1, 0, -1):
        assert pp.prune_mask(w, pp.NM(2, 4, axis)).to_bool().tolist() == [False, False, True, True]


@pytest.mark.parametrize("axis", [2, -2])
def test_axis_of_one_dimension_must_exist(axis: int) -> None:
    with pytest.raises(ValueError, match=f"axis.*{axis}"):
        pp.prune_mask(np.ones(4, np.float32), pp.NM(2, 4, axis))


@pytest.mark.parametrize("shape", [(), (5,)], ids=repr)
def test_rows_need_two_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="row"):
        pp.prune_mask(np.ones(shape, np.float32), pp.Unstructured(0.5, "row"))


@pytest.mark.parametrize("shape", [(0,), (4, -1), (4, 0), (), None, 0], ids=repr)
def test_tiles_have_positive_sides(shape: Any) -> None:
    with pytest.raises(ValueError, match="shape must"):
        pp.Block(shape, 0.5)


@pytest.mark.parametrize("shape", [4.0, (4.0,), ("4",), "44"], ids=repr)
def test_shape_of_a_tile_is_made_of_integers(shape: Any) -> None:
    with pytest.raises(TypeError, match="shape must"):
        pp.Block(shape, 0.5)


def test_tiles_have_no_more_axes_than_the_weights() -> None:
    with pytest.raises(
        ValueError, match=r"must have the 3 axes of block 2x2x2 .*, got shape \(4, 4\)"
    ):
        pp.prune_mask(np.ones((4, 4), np.float32), pp.Block((2, 2, 2), 0.5))


@pytest.mark.parametrize("norm", ["L2", "l0", "", None], ids=repr)
def test_norm_is_known(norm: Any) -> None:
    with pytest.raises(ValueError, match="norm must be"):
        pp.Block((4,), 0.5, norm=norm)
