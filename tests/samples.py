"""Weights to test with: every dtype, raw bit patterns, and ten distributions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from prunepack import NM, Block, Unstructured
from reference import kept, prune

if TYPE_CHECKING:
    import numpy.typing as npt

DTYPES = tuple(
    np.dtype(each)
    for each in (
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2,
        np.int8,
        np.uint8,
        np.float16,
        ml_dtypes.bfloat16,
        np.float32,
        np.float64,
    )
)
FLOATS = tuple(dtype for dtype in DTYPES if dtype.name not in ("int8", "uint8"))
REGISTER_BYTES = 64  # the widest register of any ISA


def bits_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"u{dtype.itemsize}")


def same_bits(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool:
    """Compare dtype, shape and bytes, so NaN equals itself and -0.0 is not +0.0."""
    return (
        actual.dtype == expected.dtype
        and actual.shape == expected.shape
        and actual.tobytes() == expected.tobytes()
    )


def assert_within(
    y: npt.NDArray[np.float32],
    exact: npt.NDArray[np.float64],
    bound: npt.NDArray[np.float64],
) -> None:
    """Check that results are no further from the exact ones than they may be."""
    finite = np.isfinite(exact)
    wrong = np.argwhere(finite & ~(np.abs(y - np.where(finite, exact, 0)) <= bound))
    assert len(wrong) == 0, f"{len(wrong)} of {y.size}, first {wrong[0]}"
    assert np.array_equal(y[~finite], exact[~finite].astype(np.float32), equal_nan=True)


def telling_bits(dtype: np.dtype[Any]) -> list[int]:
    """Bit patterns where a kernel is likely to slip, in both signs."""
    if dtype.kind in "iu":
        values = [0, 1, 2, 127, 128, 129, 255]
        return [value % 256 for value in values]
    info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    one = np.ones((), dtype)
    extremes = [0 * one, one, info.max, info.smallest_subnormal, info.smallest_normal]
    patterns = [int(np.asarray(x, dtype).view(bits_type(dtype))) for x in extremes]
    largest = 2 ** (8 * dtype.itemsize - 1) - 1  # a NaN
    infinity = patterns[2] + 1  # in float8_e4m3fn this is a NaN too
    patterns += [infinity, min(infinity + 1, largest), largest]
    return patterns + [largest + 1 + pattern for pattern in patterns]


def weights(
    dtype: np.dtype[Any],
    shape: st.SearchStrategy[tuple[int, ...]] | st.SearchStrategy[int] | int | tuple[int, ...],
) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Arrays of any bit pattern: NaN, infinities, subnormals, both zeros, int8 -128."""
    bits = bits_type(dtype)
    elements = st.one_of(st.integers(0, np.iinfo(bits).max), st.sampled_from(telling_bits(dtype)))
    return arrays(bits, shape, elements=elements).map(lambda array: array.view(dtype))


shapes = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)


def random_bits(dtype: np.dtype[Any], shape: int | tuple[int, ...], seed: int = 0) -> Any:
    """Uniform bit patterns, one in four of them a telling one; quick for long arrays."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, np.iinfo(bits_type(dtype)).max, shape, bits_type(dtype), endpoint=True)
    telling = rng.choice(np.array(telling_bits(dtype), bits_type(dtype)), shape)
    return np.where(rng.random(shape) < 0.25, telling, bits).view(dtype)


DISTRIBUTIONS = (
    "normal",
    "laplace",
    "constant",
    "two values",
    "sorted",
    "reversed",
    "subnormal",
    "NaN and infinities",
    "few levels",
    "90 % zeros",
)


@cache
def sample(distribution: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Read-only weights of a named distribution, the same at every call."""
    rng = np.random.default_rng(len(distribution))
    if distribution == "subnormal":
        if dtype.kind in "iu":
            w = rng.integers(0, 3, shape).astype(dtype)
        else:
            info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
            mantissa = 2**info.nmant - 1
            sign = 2 ** (8 * dtype.itemsize - 1)
            bits = rng.integers(0, mantissa, shape, bits_type(dtype), endpoint=True)
            w = (bits | sign * rng.integers(0, 2, shape, bits_type(dtype))).view(dtype)
    else:
        w = _rounded(_real(distribution, rng, shape), dtype)
    w.flags.writeable = False
    return w


SPARSE_PATTERNS: dict[str, Unstructured | NM | Block] = {
    "3:4": NM(3, 4),
    "13:16": NM(13, 16),
    "4x4 blocks": Block((4, 4), 0.7),
    "16x1 blocks": Block((16, 1), 0.7),
    "1x16 blocks": Block((1, 16), 0.7),
    "90 %": Unstructured(0.9),
    "50 %": Unstructured(0.5),
    "none": Unstructured(0),
    "all": Unstructured(1),
}


@cache
def sparse_matrix(pattern: str, dtype: np.dtype[Any], shape: tuple[int, int]) -> Any:
    """Read-only weights that follow a named pattern."""
    w = sample("normal", dtype, shape)
    w = prune(w, kept(w, SPARSE_PATTERNS[pattern]))
    w.flags.writeable = False
    return w


def _real(
    distribution: str, rng: np.random.Generator, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    normal = rng.normal(0, 0.05, shape)
    match distribution:
        case "laplace":
            return rng.laplace(0, 0.05, shape)
        case "constant":
            return np.full(shape, -0.5)
        case "two values":
            return rng.choice([-0.25, 0.5], shape)
        case "sorted":
            return np.sort(normal, axis=None).reshape(shape)
        case "reversed":
            return np.sort(normal, axis=None)[::-1].reshape(shape)
        case "NaN and infinities":
            odd = rng.choice([np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0], shape)
            return np.where(rng.random(shape) < 0.4, odd, normal)
        case "few levels":
            return np.round(normal / 0.05) * 0.05
        case "90 % zeros":
            return np.where(rng.random(shape) < 0.9, 0.0, normal)
        case _:
            return normal


def _rounded(real: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.kind in "iu":
        levels = np.iinfo(dtype)
        scaled = np.nan_to_num(real, posinf=1e9, neginf=-1e9) * 400
        scaled = np.abs(scaled) if dtype.kind == "u" else scaled
        return np.clip(np.round(scaled), levels.min, levels.max).astype(dtype)
    with np.errstate(all="ignore"):
        return real.astype(dtype)
