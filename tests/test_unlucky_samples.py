"""Weights made to fool every sample that the selection takes: it must still be exact.

The places that samples are taken from are known beforehand, as every run must take the same: so all of
them can be made to look alike, and unlike the rest. This follows cpp/src/sample.cpp; if that
changes, the masks here are as right as before, but prove less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import prunepack as pp
import reference
from per_isa import Operations
from samples import same_bits

if TYPE_CHECKING:
    import numpy.typing as npt

COUNT = 1 << 20
ATTEMPTS = 4


def random_numbers(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """SplitMix64, as the samples use it."""
    with np.errstate(over="ignore"):
        step = np.uint64(0x9E3779B97F4A7C15)
        z = np.uint64(seed) + step * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def sampled(runs: int, length: int) -> npt.NDArray[np.bool_]:
    """Tell which weights are in such a sample of any attempt."""
    inside = np.zeros(COUNT, bool)
    stretch = COUNT // runs
    for attempt in range(ATTEMPTS):
        within = random_numbers(attempt, runs) % np.uint64(stretch - length + 1)
        starts = np.arange(runs) * stretch + within.astype(np.int64)
        inside[(starts[:, None] + np.arange(length)).ravel()] = True
    return inside


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seen", [0.25, 8.0])
def test_samples_that_all_look_alike(isa: str, seen: float, sparsity: float) -> None:
    w = np.random.default_rng(5).uniform(1, 2, COUNT).astype(np.float32)
    inside = sampled(1024, 8)
    for runs in (64, 128, 256, 512):
        inside |= sampled(runs, 128)
    assert inside.mean() < 0.6
    w[inside] = seen
    mask = Operations(isa, threads=2).mask(w, pp.Unstructured(sparsity))
    expected = reference.mask_bytes(reference.kept(w, pp.Unstructured(sparsity)))
    assert same_bits(mask, expected)
