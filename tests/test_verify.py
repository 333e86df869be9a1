"""Verification: exactly the groups that break a pattern, and where the first one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prunepack as pp
import reference
from samples import random_bits, shapes, weights

if TYPE_CHECKING:
    import numpy.typing as npt

PATTERNS = (
    pp.Unstructured(0.6),
    pp.Threshold(0.25),
    pp.NM(3, 4, axis=-1),
    pp.NM(5, 7, axis=0),
    pp.Block((2,), 0.5),
    pp.Block((2,), 1.0, "max"),
)


def broken_groups(w: npt.NDArray[Any], n: int, m: int) -> list[tuple[int, ...]]:
    """Where the groups of a 2-D tensor begin that hold too few zeros, group by group."""
    begins: list[tuple[int, ...]] = []
    for row, col in np.ndindex(w.shape[0], -(-w.shape[1] // m)):
        group = w[row, col * m : (col + 1) * m]
        padding = m - group.size
        if np.count_nonzero(reference.key(group) == 0) + padding < n:
            begins.append((row, col * m))
    return begins


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@given(data=st.data())
def test_what_was_pruned_is_whole(dtype: np.dtype[Any], pattern: Any, data: st.DataObject) -> None:
    w = data.draw(weights(dtype, shapes.filter(bool)))
    pruned = pp.prune(w, pattern)
    for what in (pruned, pp.pack(pruned)):
        verification = pp.verify(what, pattern)
        assert verification.ok, verification.message
        assert verification.broken == 0
        assert verification.first is None


@given(data=st.data(), m=st.integers(1, 9))
def test_broken_groups_of_n_of_m(dtype: np.dtype[Any], data: st.DataObject, m: int) -> None:
    n = data.draw(st.integers(0, m))
    w = data.draw(weights(dtype, st.tuples(st.integers(0, 4), st.integers(0, 20))))
    wanted = broken_groups(w, n, m)
    for what in (w, pp.pack(w)):
        verification = pp.verify(what, pp.NM(n, m))
        assert verification.ok == (not wanted)
        assert verification.broken == len(wanted)
        assert verification.first == (wanted[0] if wanted else None)


def test_one_broken_group_is_found_anywhere() -> None:
    pattern = pp.NM(2, 4)
    pruned = pp.prune(random_bits(np.dtype(np.float32), (6, 20)), pattern)
    for row, group in np.ndindex(6, 5):
        w = pruned.copy()
        w[row, 4 * group : 4 * group + 4] = 1
        verification = pp.verify(w, pattern)
        assert not verification.ok
        assert verification.broken == 1
        assert verification.first == (row, 4 * group)
        assert str((row, 4 * group)) in verification.message


def test_groups_along_other_axes() -> None:
    w = np.zeros((8, 3, 2), np.float16)
    w[5:, 2, 1] = 1  # three of rows 4..7
    w[0, 0, 1] = 1
    verification = pp.verify(w, pp.NM(2, 4, axis=0))
    assert (verification.broken, verification.first) == (1, (4, 2, 1))
    w[:3, 1, 0] = 1
    verification = pp.verify(w, pp.NM(2, 4, axis=0))
    assert (verification.broken, verification.first) == (2, (0, 1, 0))


def test_more_zeros_than_asked_are_fine() -> None:
    assert pp.verify(np.zeros((3, 8), np.float32), pp.NM(2, 4)).ok
    assert pp.verify(np.zeros((3, 8), np.float32), pp.Unstructured(0.5)).ok
    assert pp.verify(np.zeros((4, 8), np.float32), pp.Block((2,), 0.5)).ok


def test_minus_zero_is_a_zero() -> None:
    assert pp.verify(np.array([-0.0, -0.0, 1, 1], np.float32), pp.NM(2, 4)).ok


def test_nan_is_no_zero() -> None:
    assert not pp.verify(np.array([np.nan, 0, 1, 1], np.float32), pp.NM(2, 4)).ok


def test_unstructured_counts_the_whole_tensor() -> None:
    w = np.array([[0, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    assert pp.verify(w, pp.Unstructured(0.25)).ok
    verification = pp.verify(w, pp.Unstructured(0.375))
    assert (verification.broken, verification.first) == (1, (0, 0))


def test_rows_count_apart() -> None:
    w = np.array([[0, 0, 0, 0], [1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    verification = pp.verify(w, pp.Unstructured(0.5, scope="row"))
    assert (verification.broken, verification.first) == (2, (1, 0))


def test_threshold_counts_weights() -> None:
    w = np.array([[0, 2, 0.5], [np.nan, -0.5, 0.1]], np.float32)
    verification = pp.verify(w, pp.Threshold(0.5))
    assert (verification.broken, verification.first) == (3, (0, 2))
    assert pp.verify(w, pp.Threshold(0.05)).ok


def test_blocks_need_whole_tiles() -> None:
    w = np.zeros((4, 2), np.float32)
    w[0, 0] = w[2, 1] = 1  # two of the four tiles
    assert pp.verify(w, pp.Block((2,), 0.5)).ok
    verification = pp.verify(w, pp.Block((2,), 0.75))
    assert not verification.ok
    assert verification.first is not None


def test_message_says_what_was_verified() -> None:
    pattern = pp.NM(2, 4)
    w = np.array([[0, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    message = pp.verify(w, pattern).message
    assert "2:4" in message
    assert "(1, 0)" in message
    assert message == message.strip(" .")
    assert "2:4" in pp.verify(np.zeros(4, np.float32), pattern).message


@pytest.mark.parametrize("what", ["w", None, [[0.0, 1.0]]], ids=repr)
def test_only_tensors(what: Any) -> None:
    with pytest.raises(TypeError, match="must"):
        pp.verify(what, pp.NM(2, 4))


@pytest.mark.parametrize("pattern", ["2:4", None], ids=repr)
def test_only_patterns(pattern: Any) -> None:
    with pytest.raises(TypeError, match="pattern must be"):
        pp.verify(np.ones(4, np.float32), pattern)
