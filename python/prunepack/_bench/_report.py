"""What was measured: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """One batch size.

    Attributes
    ----------
    batch : int
        Rows of activations.
    seconds : float
        The median time of a call.
    gigabytes_per_second : float
        Bytes of the dense matrix over that time, also where fewer were read.
    speedup, p10, p90 : float
        How many times faster than the fastest dense layer: the median of interleaved pairs, and
        their spread.
    rounds : int
        How many pairs there were.
    """

    batch: int
    seconds: float
    gigabytes_per_second: float
    speedup: float
    p10: float
    p90: float
    rounds: int


@dataclass(frozen=True)
class DenseRow:
    """A library's dense layer."""

    name: str
    nbytes: int
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class PackedRow:
    """A packed layer.

    Attributes
    ----------
    pattern : str
        What was pruned, such as ``"3:4"``.
    sparsity : float
        The share of zeros.
    layout : str
        What the matrix was prepared as.
    nbytes : int
        The bytes that takes.
    stored_nbytes : int
        The bytes of the packed tensor.
    timings : tuple of Timing
        One for each batch size.
    wrong : bool
        Whether a result was further from float64 than float32 sums can be.
    """

    pattern: str
    sparsity: float
    layout: str
    nbytes: int
    stored_nbytes: int
    timings: tuple[Timing, ...]
    wrong: bool

    @property
    def dense_wins_at(self) -> int | None:
        """The smallest batch that was faster dense; None if none was."""
        return next((t.batch for t in self.timings if t.speedup < 1), None)


@dataclass(frozen=True)
class ShapeReport:
    """One shape: outputs, inputs."""

    shape: tuple[int, int]
    dense_nbytes: int
    dense: tuple[DenseRow, ...]
    packed: tuple[PackedRow, ...]


@dataclass(frozen=True)
class BenchReport:
    """Everything, and what it was measured on."""

    machine: str
    isa: str
    versions: dict[str, str]
    date: str
    dtype: str
    threads: int
    notes: tuple[str, ...]
    shapes: tuple[ShapeReport, ...]

    @property
    def ok(self) -> bool:
        """Whether every packed layer gave the right result."""
        return not any(row.wrong for shape in self.shapes for row in shape.packed)

    def to_json(self) -> dict[str, Any]:
        """Return the report as what `json.dumps` takes."""
        report = asdict(self) | {"ok": self.ok}
        for shape, found in zip(report["shapes"], self.shapes, strict=True):
            for row, packed in zip(shape["packed"], found.packed, strict=True):
                row["dense_wins_at"] = packed.dense_wins_at
        return report
