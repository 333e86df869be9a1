"""The report of ``prunepack bench`` as tables to paste where people ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _text
from ._show import PIPE_WIDTH, console, table

if TYPE_CHECKING:
    from rich.table import Table

    from .._bench import BenchReport, PackedRow, ShapeReport, Timing

LEGEND = """\
GB/s: bytes of the dense matrix over the time, also where fewer are read
batch: times faster than the fastest dense layer at that batch, and half the spread (p10-p90)
dense wins: the smallest of these batches that was faster dense"""


def show_bench_report(report: BenchReport) -> None:
    """Print what was measured where, and a table for each shape."""
    out = console()
    packages = ", ".join(f"{name} {found}" for name, found in report.versions.items())
    out.print(f"{report.machine}, {report.isa}; {packages}; {report.date}", soft_wrap=True)
    for note in report.notes:
        out.print(note, soft_wrap=True)
    for shape in report.shapes:
        threads = _text.count_of(report.threads, "thread")
        size = _text.in_bytes(shape.dense_nbytes)
        out.print()
        out.print(f"{_text.of_shape(shape.shape)} {report.dtype}, {size}, {threads}", style="bold")
        out.print()
        out.print(_table(shape), width=PIPE_WIDTH, crop=False)  # wrapped it could not be pasted
    out.print()
    out.print(LEGEND)


def _table(shape: ShapeReport) -> Table:
    first = shape.dense[0].timings[0].batch
    batches = [f"batch {timing.batch}" for timing in shape.dense[0].timings]
    made = table("", "layout", "memory", f"time, {first}", "GB/s", *batches, "dense wins", left=2)
    for dense in shape.dense:
        figures = _figures(dense.nbytes, dense.timings)
        made.add_row("dense", dense.name, *figures, "", style="dim")
    for packed in shape.packed:
        figures = _figures(packed.nbytes, packed.timings)
        made.add_row(packed.pattern, packed.layout, *figures, _crossover(packed))
    return made


def _figures(nbytes: int, timings: tuple[Timing, ...]) -> list[str]:
    return [
        _text.in_bytes(nbytes),
        _text.in_short_seconds(timings[0].seconds),
        f"{timings[0].gigabytes_per_second:.1f}",
        *(_speedup(timing) for timing in timings),
    ]


def _speedup(timing: Timing) -> str:
    half = (timing.p90 - timing.p10) / 2 / timing.speedup
    return f"{timing.speedup:.2f}x ±{100 * half:.0f}%"


def _crossover(packed: PackedRow) -> str:
    return "none" if packed.dense_wins_at is None else f"at {packed.dense_wins_at}"
