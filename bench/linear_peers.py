"""Time packed linear layers beside dense and sparse ones of NumPy, SciPy and torch.

    pip install . torch scipy threadpoolctl
    python bench/linear_peers.py
    python bench/linear_peers.py --shapes 512x512 --batch 1 64 --threads 2 --dtype bfloat16

All take turns in one process, and the medians of the ratios of their times count; above 1 the packed
layer is the faster one. Results are compared before anything is timed. `prunepack bench` is the
same for a user's own layers, without the sparse rivals.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import prunepack as pp
from prunepack._bench import DEFAULT_PATTERNS, DTYPES
from prunepack._bench._contest import Outcome, Work, take_turns
from prunepack._bench._dense import (
    Layer,
    dense_layers,
    find_torch,
    packed_layer,
    rounding,
    with_threads,
)
from prunepack._bench._machine import machine, versions
from prunepack._cli._arguments import matrix_shape
from report import print_table

SHAPES = ((512, 512), (2048, 2048), (4096, 4096), (4096, 11008), (11008, 4096))
BATCHES = (1, 4, 16, 64, 256)
PATTERNS = {**DEFAULT_PATTERNS, **{f"{s}%": pp.Unstructured(s / 100) for s in (85, 95, 98, 99)}}
OURS, SCIPY_CSR, TORCH_CSR = "packed", "SciPy CSR", "torch CSR"
COLUMNS = (
    "zeros",
    "shape",
    "MB",
    "batch",
    "layout",
    "packed MB",
    "us",
    "GB/s",
    "fastest dense",
    "x dense",
    "p10-p90",
    f"x {SCIPY_CSR}",
    f"x {TORCH_CSR}",
    "p10-p90",
    "rounds",
)


def main() -> int:
    """Print the table; return 1 if a result disagrees."""
    options = _parse()
    warnings.filterwarnings("ignore", message="Sparse ")  # torch's, of its CSR tensors
    rows: list[list[str]] = []
    wrong: list[str] = []
    with with_threads(options.threads):
        for shape in options.shapes:
            w = _weights(shape, DTYPES[options.dtype])
            dense = dense_layers(w, options.threads)
            for pattern in options.patterns:
                contest = _Contest(w, pattern, dense, options.threads)
                for batch in options.batch:
                    wrong += contest.disagreements(batch)
                    rows.append(contest.row(batch, options.seconds))
                print(f"{shape[0]}x{shape[1]}, {pattern}: done", file=sys.stderr)
    print_table(_title(options), COLUMNS, rows, markdown=options.markdown)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--shapes", type=matrix_shape, nargs="+", default=SHAPES)
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="float32")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--patterns", nargs="+", choices=tuple(PATTERNS), default=tuple(PATTERNS))
    parser.add_argument("--threads", type=int, default=1, help="of every library but SciPy")
    parser.add_argument("--seconds", type=float, default=0.3, help="for each contest")
    parser.add_argument("--markdown", action="store_true", help="print a markdown table")
    return parser.parse_args()


def _weights(shape: tuple[int, int], dtype: Any) -> Any:
    normal = np.random.default_rng(42).standard_normal(shape, np.float32)
    w = np.clip(np.rint(normal * 40), -127, 127) if dtype == np.int8 else normal
    return w.astype(dtype, copy=False)


class _Contest:
    """One matrix, pruned one way, and all who multiply with it."""

    def __init__(self, w: Any, pattern: str, dense: dict[str, Layer], threads: int) -> None:
        self._threads, self._pattern = threads, pattern
        mask = pp.prune_mask(w, PATTERNS[pattern], num_threads=threads)
        self._packed = pp.pack(w, mask, num_threads=threads)
        self._matrix = self._packed.prepare(activations=rounding(w.dtype), num_threads=threads)
        self._pruned = self._packed.to_dense(num_threads=threads)
        self._dense = dense
        self._sparse = dict(_sparse_layers(self._pruned))

    def disagreements(self, batch: int) -> Iterable[str]:
        """Compare the packed layer and the sparse ones with NumPy, on the first row of x."""
        x = self._x(batch)
        w = self._pruned.astype(np.float32, copy=False)
        exact = w @ x[0]
        step = {"bfloat16": 2.0**-8, "int8": 2.0**-7}.get(rounding(self._packed.dtype) or "", 1e-4)
        allowed = step * np.abs(x[0]).max() * np.abs(w).sum(axis=1) + 1e-6
        for name, layer in self._layers().items():
            if name not in self._dense:
                y = np.asarray(layer(x)()).reshape(-1, len(x) if name != OURS else len(w))
                first = y[0] if name == OURS else y[:, 0]
                if not np.all(np.abs(first - exact) <= allowed):
                    yield f"{self._pattern}, batch {batch}: {name} gives another result"

    def row(self, batch: int, seconds: float) -> list[str]:
        """Let all take turns, and set the packed layer beside each."""
        x = self._x(batch)
        works: dict[str, Work] = {name: layer(x) for name, layer in self._layers().items()}
        outcome = take_turns(works, threads=self._threads, seconds=seconds)
        fastest = min(self._dense, key=outcome.median)
        rows, columns = self._packed.shape
        nbytes = rows * columns * self._packed.dtype.itemsize
        taken = outcome.median(OURS)
        return [
            self._pattern,
            f"{rows}x{columns}",
            f"{nbytes / 1e6:.1f}",
            str(batch),
            self._matrix.layout,
            f"{self._matrix.nbytes / 1e6:.2f}",
            f"{taken * 1e6:.0f}",
            f"{nbytes / taken / 1e9:.1f}",
            fastest,
            *_ratio(outcome, fastest),
            _ratio(outcome, SCIPY_CSR)[0],
            *_ratio(outcome, TORCH_CSR),
            str(len(outcome.seconds[OURS])),
        ]

    def _layers(self) -> dict[str, Layer]:
        return {OURS: packed_layer(self._matrix, self._threads), **self._dense, **self._sparse}

    def _x(self, batch: int) -> Any:
        columns = self._packed.shape[1]
        return np.random.default_rng(batch).standard_normal((batch, columns), np.float32)


def _sparse_layers(w: Any) -> Iterable[tuple[str, Layer]]:
    """Return CSR layers; neither library has a fast one for anything but float32."""
    if w.dtype != np.float32:
        return
    try:
        from scipy import sparse
    except ImportError:
        return
    matrix = sparse.csr_array(w)
    yield SCIPY_CSR, lambda x: _times_columns(matrix, np.ascontiguousarray(x.T))
    torch = find_torch()
    if torch is None:
        return
    # int64 indices, torch's default, are two to five times slower.
    parts = (torch.from_numpy(part.astype(np.int32)) for part in (matrix.indptr, matrix.indices))
    csr = torch.sparse_csr_tensor(*parts, torch.from_numpy(matrix.data), w.shape)
    yield TORCH_CSR, lambda x: _times_columns(csr, torch.from_numpy(x).T.contiguous())


def _times_columns(matrix: Any, columns: Any) -> Callable[[], object]:
    if columns.shape[1] == 1:
        vector = columns[:, 0]
        return lambda: matrix @ vector
    return lambda: matrix @ columns


def _ratio(outcome: Outcome, rival: str) -> tuple[str, str]:
    if rival not in outcome.seconds:
        return "-", "-"
    p10, median, p90 = outcome.times_faster(OURS, rival)
    return f"{median:.2f}", f"{p10:.2f}-{p90:.2f}"


def _title(options: argparse.Namespace) -> str:
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    packages = ", ".join(f"{name} {found}" for name, found in versions().items())
    today = time.strftime("%Y-%m-%d")
    return f"{options.dtype}, {threads}, {pp.isa()}, {machine()}, {packages}, {today}"


if __name__ == "__main__":
    sys.exit(main())
