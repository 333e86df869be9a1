"""The measurement: for each shape the dense layers among themselves, then each packed one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import ml_dtypes
import numpy as np

from .. import _core
from .._arrays import resolve_threads
from .._linear import linear
from .._masks import prune_mask
from .._packed import pack
from .._patterns import NM, Block, Unstructured
from ._contest import Outcome, take_turns
from ._dense import dense_layers, missing, packed_layer, rounding, with_threads
from ._machine import machine, versions
from ._report import BenchReport, DenseRow, PackedRow, ShapeReport, Timing

if TYPE_CHECKING:
    from .._arrays import Array
    from .._packed import PackedTensor
    from .._patterns import Pattern
    from .._prepared import PreparedMatrix
    from ._dense import Layer

Progress: TypeAlias = "Callable[[str, int, int], None]"

DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int8": np.dtype(np.int8),
}

DEFAULT_BATCHES = (1, 4, 16, 64)

DEFAULT_PATTERNS: dict[str, Pattern] = {
    "50%": Unstructured(0.5),
    "75%": Unstructured(0.75),
    "90%": Unstructured(0.9),
    "2:4": NM(2, 4),
    "3:4": NM(3, 4),
    "7:8": NM(7, 8),
    "14:16": NM(14, 16),
    "16x1@75%": Block((16, 1), 0.75),
}

SECONDS = 0.25


def run_bench(
    shapes: Sequence[tuple[int, int]],
    *,
    dtype: str = "float32",
    batches: Sequence[int] = DEFAULT_BATCHES,
    patterns: dict[str, Pattern] | None = None,
    num_threads: int | None = None,
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> BenchReport:
    """Time linear layers of these shapes, dense and packed.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Outputs, inputs.
    dtype : {"float32", "float16", "bfloat16", "int8"}
        Of the weights. Beside bfloat16 and int8 the activations are the same.
    batches : sequence of int
        Rows of activations.
    patterns : dict of str to Pattern, optional
        What to prune, by name.
    num_threads : int, optional
        Of every library; by default all cores this process may use.
    seconds : float
        How long each contest takes, or five rounds if that is longer.
    progress : callable, optional
        Called with what is being measured, and the bytes done and to do.

    Returns
    -------
    BenchReport
        The times; `BenchReport.ok` tells whether every result was right.
    """
    threads = resolve_threads(num_threads)
    chosen = DEFAULT_PATTERNS if patterns is None else patterns
    element = DTYPES[dtype]
    watch = _Watch(progress, shapes, element.itemsize, len(chosen) + 1)
    with with_threads(threads):
        found = tuple(
            _Shape(shape, element, sorted(set(batches)), threads, seconds).measure(chosen, watch)
            for shape in shapes
        )
    return BenchReport(
        machine(),
        _core.isa(),
        versions(),
        time.strftime("%Y-%m-%d"),
        dtype,
        threads,
        missing(element, threads),
        found,
    )


class _Watch:
    """Says how far the measurement is, in bytes of dense weights."""

    def __init__(
        self,
        progress: Progress | None,
        shapes: Sequence[tuple[int, int]],
        itemsize: int,
        contests: int,
    ) -> None:
        self._progress = progress
        self._itemsize = itemsize
        self._done = 0
        self._total = sum(rows * columns * itemsize * contests for rows, columns in shapes)

    def before(self, name: str, shape: tuple[int, int]) -> None:
        if self._progress is not None:
            self._progress(f"{shape[0]}x{shape[1]} {name}", self._done, self._total)
        self._done += shape[0] * shape[1] * self._itemsize


class _Shape:
    """One shape: its weights and activations, and the fastest dense layer of each batch."""

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        batches: Sequence[int],
        threads: int,
        seconds: float,
    ) -> None:
        random = np.random.default_rng(0)
        normal = random.standard_normal(shape, np.float32)
        w = np.clip(np.rint(normal * 40), -127, 127) if dtype == np.int8 else normal
        self._w: Array = w.astype(dtype, copy=False)
        self._activations = {
            batch: random.standard_normal((batch, shape[1]), np.float32) for batch in batches
        }
        self._threads, self._seconds = threads, seconds
        self._layers = dense_layers(self._w, threads)
        self._fastest: dict[int, str] = {}

    def measure(self, patterns: dict[str, Pattern], watch: _Watch) -> ShapeReport:
        rows, columns = self._w.shape
        shape = (rows, columns)
        watch.before("dense", shape)
        dense = self._measure_dense()
        packed = []
        for name, pattern in patterns.items():
            watch.before(name, shape)
            packed.append(self._measure_packed(name, pattern))
        return ShapeReport(shape, self._w.nbytes, dense, tuple(packed))

    def _measure_dense(self) -> tuple[DenseRow, ...]:
        outcomes = {}
        for batch in self._activations:
            outcomes[batch] = self._contest(self._layers, batch)
            self._fastest[batch] = outcomes[batch].fastest()
        return tuple(
            DenseRow(
                name,
                self._w.nbytes,
                tuple(self._timing(b, outcome, name) for b, outcome in outcomes.items()),
            )
            for name in self._layers
        )

    def _measure_packed(self, name: str, pattern: Pattern) -> PackedRow:
        mask = prune_mask(self._w, pattern, num_threads=self._threads)
        packed = pack(self._w, mask, num_threads=self._threads)
        matrix = packed.prepare(activations=rounding(packed.dtype), num_threads=self._threads)
        layer = packed_layer(matrix, self._threads)
        timings = []
        for batch, fastest in self._fastest.items():
            outcome = self._contest({fastest: self._layers[fastest], "": layer}, batch)
            timings.append(self._timing(batch, outcome, ""))
        return PackedRow(
            name,
            packed.sparsity,
            matrix.layout,
            matrix.nbytes,
            packed.nbytes,
            tuple(timings),
            self._is_wrong(packed, matrix),
        )

    def _contest(self, layers: dict[str, Layer], batch: int) -> Outcome:
        works = {name: layer(self._activations[batch]) for name, layer in layers.items()}
        return take_turns(works, threads=self._threads, seconds=self._seconds)

    def _timing(self, batch: int, outcome: Outcome, name: str) -> Timing:
        seconds = outcome.median(name)
        p10, speedup, p90 = outcome.times_faster(name, self._fastest[batch])
        rounds = len(outcome.seconds[name])
        return Timing(batch, seconds, self._w.nbytes / seconds / 1e9, speedup, p10, p90, rounds)

    def _is_wrong(self, packed: PackedTensor, matrix: PreparedMatrix) -> bool:
        """Compare a row of activations with the product of the unpacked matrix."""
        x = next(iter(self._activations.values()))[:1]
        y = linear(x, matrix, activations=rounding(packed.dtype), num_threads=self._threads)
        dense = packed.to_dense(num_threads=self._threads).astype(np.float32, copy=False)
        # Rounding moves each term by a part in 256 at most, and where it is scaled, each x.
        step = {"bfloat16": 2.0**-8, "int8": 2.0**-7}.get(rounding(packed.dtype) or "", 1e-4)
        allowed = step * (np.abs(x).max() * np.abs(dense).sum(axis=1))
        return not bool(np.all(np.abs(y[0] - dense @ x[0]) <= allowed + 1e-6))
