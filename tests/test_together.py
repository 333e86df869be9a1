"""Weights of several tensors ranked together, against the reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import prunepack as pp
import reference
from prunepack import _core, _together
from samples import (
    DISTRIBUTIONS,
    DTYPES,
    FLOATS,
    bits_type,
    random_bits,
    same_bits,
    sample,
    weights,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Tensors = list[npt.NDArray[Any]]

sparsities = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.6, 1.0]), st.floats(0, 1))


@st.composite
def tensors_of(draw: st.DrawFn, dtypes: tuple[np.dtype[Any], ...] = DTYPES) -> Tensors:
    """Draw tensors of several dtypes, many of whose weights are equal across them."""
    tensors = []
    for _ in range(draw(st.integers(0, 5))):
        dtype = draw(st.sampled_from(dtypes))
        size = draw(st.integers(0, 30))
        few = st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0, -1.0, 2.0, 3.0])
        if draw(st.booleans()):
            values = np.array(draw(st.lists(few, min_size=size, max_size=size)))
            tensors.append((np.abs(values) if dtype.kind == "u" else values).astype(dtype))
        else:
            tensors.append(draw(weights(dtype, size)))
    return tensors


def named(tensors: Tensors) -> dict[str, npt.NDArray[Any]]:
    return {str(i): w for i, w in enumerate(tensors)}


def check(tensors: Tensors, pattern: pp.Unstructured, threads: int = 1) -> None:
    expected = reference.kept_together(
        tensors,
        pattern.sparsity,
        normalize=pattern.normalize is not None,
        min_sparsity=pattern.min_sparsity,
        max_sparsity=pattern.max_sparsity,
    )
    masks = pp.prune_masks(named(tensors), pattern, num_threads=threads)
    for mask, kept in zip(masks.values(), expected, strict=True):
        assert same_bits(mask.to_bool(), kept)


@given(tensors=tensors_of(), sparsity=sparsities)
def test_any_dtypes(tensors: Tensors, sparsity: float) -> None:
    check(tensors, pp.Unstructured(sparsity, "model"))


def feasible(tensors: Tensors, sparsity: float, low: float, high: float) -> bool:
    count = round(sparsity * sum(w.size for w in tensors))
    least, most = (sum(round(bound * w.size) for w in tensors) for bound in (low, high))
    return least <= count <= most


@given(tensors=tensors_of(), bounds=st.lists(sparsities, min_size=3, max_size=3).map(sorted))
def test_bounds(tensors: Tensors, bounds: list[float]) -> None:
    low, sparsity, high = bounds
    pattern = pp.Unstructured(sparsity, "model", min_sparsity=low, max_sparsity=high)
    if feasible(tensors, sparsity, low, high):
        check(tensors, pattern)
    else:
        with pytest.raises(ValueError, match=r"_sparsity must leave a way to prune"):
            pp.prune_masks(named(tensors), pattern)


@given(tensors=tensors_of(), bounds=st.lists(sparsities, min_size=3, max_size=3).map(sorted))
def test_normalized(tensors: Tensors, bounds: list[float]) -> None:
    low, sparsity, high = bounds
    with np.errstate(over="ignore"):
        sums = [reference.squares_sum(w) for w in tensors]
    assume(all(math.isfinite(s) for s in sums) and feasible(tensors, sparsity, low, high))
    assume(all(s > 0 or not reference.key(w).any() for s, w in zip(sums, tensors, strict=True)))
    check(tensors, pp.Unstructured(sparsity, "model", "l2", low, high))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distributions(distribution: str, dtype: np.dtype[Any]) -> None:
    """More weights than a histogram has bins, and a tensor of another dtype among them."""
    w = sample(distribution, dtype, (300, 257))
    others = sample("normal", np.dtype(np.float64), (1000,)), w[:10]
    for sparsity in (0.01, 0.6, 0.99):
        check([w, *others], pp.Unstructured(sparsity, "model"), threads=2)
        check([w, *others], pp.Unstructured(sparsity, "model", max_sparsity=1, min_sparsity=0.005))


@pytest.mark.parametrize("distribution", [d for d in DISTRIBUTIONS if "NaN" not in d])
def test_distributions_normalized(distribution: str) -> None:
    tensors = [sample(distribution, dtype, (100, 157)) for dtype in DTYPES]
    if distribution == "subnormal":
        tensors.pop()  # the squares of float64 subnormals are zero
    check(tensors, pp.Unstructured(0.6, "model", "l2"), threads=3)
    check(tensors, pp.Unstructured(0.6, "model", "l2", 0.3, 0.8))


def test_many_small_differences() -> None:
    """Float64 weights that differ only in their last bits, and float32 between them."""
    rng = np.random.default_rng(1)
    near = (1.0 + rng.integers(0, 1000, 5000) * 2.0**-52).astype(np.float64)
    tensors: Tensors = [
        near,
        np.ones(77, np.float32),
        near[::-1].copy(),
        np.ones(5, ml_dtypes.bfloat16),
    ]
    for sparsity in (0.001, 0.1, 0.5, 0.9999):
        check(tensors, pp.Unstructured(sparsity, "model"))
    check(tensors, pp.Unstructured(0.5, "model", "l2"))


def test_the_largest_and_the_smallest() -> None:
    huge, tiny = np.finfo(np.float64).max, 5e-324
    tensors = [
        np.array([huge, tiny, 0, np.inf, np.nan, -tiny]),
        np.array([np.inf, np.nan, -0.0, 1e-45], np.float32),
        np.array([-128, 127, 0], np.int8),
        np.array([np.nan, 448, 2**-9], ml_dtypes.float8_e4m3fn),
    ]
    for pruned in range(17):
        check(tensors, pp.Unstructured(pruned / 16, "model"))


def test_few_bins_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """However coarse the histograms have to be."""
    tensors = [sample("laplace", dtype, (64, 40)) for dtype in DTYPES]
    monkeypatch.setattr(_together, "MOST_BINS", 100)
    check(tensors, pp.Unstructured(0.37, "model"))
    check(tensors, pp.Unstructured(0.37, "model", "l2", 0.2, 0.7))


def test_the_first_tensor_goes_first() -> None:
    same = np.ones(4, np.float32)
    masks = pp.prune_masks({"b": same, "a": same}, pp.Unstructured(0.75, "model"))
    assert masks["b"].kept == 0
    assert masks["a"].to_bool().tolist() == [False, False, True, True]


def test_bounds_are_made_up_for_by_the_others() -> None:
    small, large = np.arange(1, 101) / 1000, np.arange(1, 101).astype(np.float32)
    pattern = pp.Unstructured(0.5, "model", max_sparsity=0.8)
    masks = pp.prune_masks({"small": small, "large": large}, pattern)
    assert [mask.kept for mask in masks.values()] == [20, 80]
    pattern = pp.Unstructured(0.5, "model", min_sparsity=0.4)
    masks = pp.prune_masks({"small": small, "large": large}, pattern)
    assert [mask.kept for mask in masks.values()] == [40, 60]


def test_normalizing_makes_scale_irrelevant() -> None:
    w = sample("normal", np.dtype(np.float32), (64, 64))
    pattern = pp.Unstructured(0.5, "model", normalize="l2")
    masks = pp.prune_masks({"a": w, "b": w * np.float32(1024)}, pattern)
    # Ranks are the same in both, and ties prune the first.
    assert masks["a"].kept == masks["b"].kept == w.size // 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200, 1e-200])
def test_a_norm_that_is_none_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match=r"tensor 'w' must have an L2 norm to be normalized"):
        pp.prune_masks({"w": np.array([0, bad])}, pp.Unstructured(0.5, "model", "l2"))


def test_other_patterns_are_applied_to_each() -> None:
    tensors = named([sample("normal", dtype, (8, 16)) for dtype in DTYPES])
    for pattern in (pp.NM(2, 4), pp.Unstructured(0.5), pp.Block((2, 2), 0.5), pp.Threshold(0.1)):
        masks = pp.prune_masks(tensors, pattern)
        assert masks == {name: pp.prune_mask(w, pattern) for name, w in tensors.items()}


def test_importance() -> None:
    tensors = named([np.array([3.0, 1.0]), np.array([2.0, 4.0])])
    importance = named([np.array([1, 2], np.int8), np.array([0.5, 9], np.float16)])
    masks = pp.prune_masks(tensors, pp.Unstructured(0.5, "model"), importance=importance)
    assert [mask.to_bool().tolist() for mask in masks.values()] == [[False, True], [False, True]]
    with pytest.raises(ValueError, match=r"must have the names of tensors, and '1' is only in one"):
        pp.prune_masks(tensors, pp.NM(1, 2), importance={"0": importance["0"]})
    with pytest.raises(ValueError, match=r"importance of '0' must have the shape of the tensor"):
        pp.prune_masks(tensors, pp.NM(1, 2), importance=named([np.ones(3), np.ones(2)]))


def test_tensors_have_names() -> None:
    arrays: Any = [np.ones((4, 4))]
    with pytest.raises(TypeError, match="tensors must be a mapping of names to arrays, got list"):
        pp.prune_masks(arrays, pp.NM(2, 4))
    with pytest.raises(
        TypeError, match="importance must be a mapping of names to arrays, got list"
    ):
        pp.prune_masks(named(arrays), pp.NM(2, 4), importance=arrays)


@pytest.mark.parametrize("call", [pp.prune, pp.prune_mask, pp.verify])
def test_one_tensor_is_no_model(call: Any) -> None:
    with pytest.raises(ValueError, match=r"scope 'model' ranks the weights of several tensors"):
        call(np.ones((4, 4)), pp.Unstructured(0.5, "model"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scope": "layer"}, "scope must be 'tensor', 'row' or 'model', got 'layer'"),
        ({"scope": "model", "normalize": "l1"}, "normalize must be 'l2' or None, got 'l1'"),
        ({"normalize": "l2"}, "go with scope 'model', got scope 'tensor'"),
        ({"scope": "row", "max_sparsity": 0.9}, "go with scope 'model', got scope 'row'"),
        ({"scope": "model", "max_sparsity": 0.4}, "must be from min_sparsity to max_sparsity"),
        ({"scope": "model", "min_sparsity": 2}, "min_sparsity must be from 0 to 1, got 2"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pp.Unstructured(0.5, **arguments)


def test_in_words() -> None:
    pattern = pp.Unstructured(0.6, "model", "l2", 0.2, 0.9)
    assert str(pattern) == (
        "unstructured 60 % of the model, l2 normalized, 20 % to 90 % of each tensor"
    )
    assert str(pp.Unstructured(0.6, "model")) == "unstructured 60 % of the model"


# What it is made of.


@given(data=st.data())
def test_key_histogram(isa: str, dtype: np.dtype[Any], data: st.DataObject) -> None:
    w = data.draw(weights(dtype, st.integers(0, 200)))
    most = int(np.iinfo(bits_type(dtype)).max)
    low = data.draw(st.one_of(st.just(0), st.integers(0, most)))
    shift = data.draw(st.integers(0, 8 * dtype.itemsize - 1))
    bins = data.draw(st.integers(1, 300))
    counts = np.zeros(bins + 2, np.int64)
    bits = w.view(bits_type(dtype))
    _core.key_histogram(bits, dtype.name, low, shift, counts, threads=1, isa=isa)
    assert counts.tolist() == reference.key_histogram(w, low, shift, bins)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_key_histogram_of_many(isa: str, dtype: np.dtype[Any], threads: int) -> None:
    w = random_bits(dtype, 3_000_001)
    keys = reference.key(w)
    low, bits = int(np.median(keys)), 8 * dtype.itemsize
    shift = max(0, bits - 12)
    counts = np.full(102, 7, np.int64)  # adds to what is there
    _core.key_histogram(
        w.view(bits_type(dtype)), dtype.name, low, shift, counts, threads=threads, isa=isa
    )
    above = (keys[keys >= low] - keys.dtype.type(low)) >> keys.dtype.type(shift)
    expected = np.bincount(np.minimum(above, 100).astype(np.int64), minlength=101)
    assert counts.tolist() == [7 + int((keys < low).sum()), *(7 + expected)]


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 300_001])
def test_sum_of_squares(isa: str, size: int) -> None:
    for dtype in FLOATS:
        w = sample("laplace", dtype, (size,))
        sums = {
            _core.sum_of_squares(w.view(bits_type(dtype)), dtype.name, threads=threads, isa=isa)
            for threads in (1, 3)
        }
        assert sums == {reference.squares_sum(w)}


@given(data=st.data(), norm=st.one_of(st.just(1.0), st.floats(1e-30, 1e30)))
def test_importances(dtype: np.dtype[Any], data: st.DataObject, norm: float) -> None:
    w = data.draw(weights(dtype, st.integers(0, 50)))
    keys = reference.key(w).astype(np.uint64)
    with np.errstate(all="ignore"):
        expected = reference.importance(w, norm)
    assert same_bits(_core.importances(dtype.name, keys, norm), expected)
