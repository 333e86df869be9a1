"""Linear layers timed on the machine at hand: dense beside packed, by shape, pattern and batch."""

from __future__ import annotations

from ._report import BenchReport, DenseRow, PackedRow, ShapeReport, Timing
from ._run import DEFAULT_BATCHES, DEFAULT_PATTERNS, DTYPES, run_bench

__all__ = [
    "DEFAULT_BATCHES",
    "DEFAULT_PATTERNS",
    "DTYPES",
    "BenchReport",
    "DenseRow",
    "PackedRow",
    "ShapeReport",
    "Timing",
    "run_bench",
]
