"""Reports as tables for a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import _text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.console import JustifyMethod

    from .._checkpoint import (
        CheckpointReport,
        InspectReport,
        MaskReport,
        TensorFound,
        TensorReport,
        VerifyReport,
    )
    from .._demo import DemoReport

# Wide enough for any name: what goes to a file or a pipe is searched, not looked at.
PIPE_WIDTH = 1000

COLUMN_GAP = 2

LEAST_NAME_WIDTH = 16

NAMES_LISTED = 3


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to main what happens when nobody reads on; rich would exit with status 1."""
        raise BrokenPipeError


def console() -> Console:
    """Return a console on standard output that leaves text as it is."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return _Console(width=width, highlight=False, markup=False, emoji=False)


def table(*headings: str, left: int = 1) -> Table:
    """Return a table whose first `left` columns are words and the others numbers."""
    made = Table(
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
        footer_style="bold",
    )
    for index, heading in enumerate(headings):
        justify: JustifyMethod = "left" if index < left else "right"
        made.add_column(heading, justify=justify, overflow="fold", no_wrap=index > 0)
    return made


def add_footer(made: Table, *cells: str) -> None:
    """Put a line under the table with its sums."""
    made.show_footer = True
    for column, cell in zip(made.columns, cells, strict=True):
        column.footer = cell


def show_checkpoint_report(report: CheckpointReport) -> None:
    """Print what became of a file: a line for each thing done, and one for the file."""
    out = console()
    target = "nothing is written" if report.dry_run else report.target
    title = f"{report.source} -> {target}"
    out.print(Text(_text.printable(title), style="bold"), soft_wrap=True)
    if report.rules:
        out.print(Text(report.rules))
    out.print()
    if report.dry_run:
        out.print(_tensor_table(report, out.width))
        out.print()
    out.print(_summary_table(report))
    out.print()
    for line in _closing_lines(report):
        out.print(Text(_text.printable(line)), soft_wrap=True)


def _tensor_table(report: CheckpointReport, width: int) -> Table:
    """Return a line for each tensor: what would become of it, why, and its size."""
    headings = ("shape", "dtype", "what", "before", "after")
    tensors = sorted(report.tensors, key=lambda tensor: _text.numbers_in_order(tensor.name))
    figures = [
        (
            _text.of_shape(tensor.shape),
            tensor.dtype,
            _what(tensor),
            _text.in_bytes(tensor.bytes_before),
            ("" if tensor.exact else "about ") + _text.in_bytes(tensor.bytes_after),
        )
        for tensor in tensors
    ]
    columns = zip(headings, *figures, strict=True)
    taken = sum(COLUMN_GAP + max(map(len, column)) for column in columns)
    made = table("tensor", *headings)
    made.columns[3].justify = "left"
    for tensor, cells in zip(tensors, figures, strict=True):
        name = _text.broken_at_dots(
            _text.printable(tensor.name), max(LEAST_NAME_WIDTH, width - taken)
        )
        style = "dim" if tensor.action == "unchanged" else None
        made.add_row(Text(name), *map(Text, cells), style=style)
    return made


def _what(tensor: TensorReport) -> str:
    done = tensor.pattern or tensor.action
    return f"{done}: {_text.printable(tensor.note)}" if tensor.note else done


def _summary_table(report: CheckpointReport) -> Table:
    made = table("", "tensors", "weights", "sparsity", "before", "after", "ratio")
    groups: dict[str, list[TensorReport]] = {}
    for tensor in report.tensors:
        groups.setdefault(_group(tensor), []).append(tensor)
    for name in sorted(groups, key=lambda name: name == "unchanged"):
        tensors = groups[name]
        before = sum(t.bytes_before for t in tensors)
        after = sum(t.bytes_after for t in tensors)
        style = "dim" if name == "unchanged" else None
        made.add_row(name, *_figures(tensors, before, after), style=style)
    figures = _figures(report.tensors, report.bytes_before, report.bytes_after)
    add_footer(made, "file", *figures)
    return made


def _group(tensor: TensorReport) -> str:
    if tensor.action != "pruned":
        return tensor.action
    return "pruned and packed" if tensor.packed else "pruned, dense"


def _figures(tensors: Iterable[TensorReport], before: int, after: int) -> list[str]:
    tensors = list(tensors)
    counted = [t for t in tensors if t.kept is not None]
    weights = sum(t.weights for t in counted)
    sparsity = 1 - sum(t.kept or 0 for t in counted) / weights if weights else None
    return [
        f"{len(tensors):,}",
        _text.in_weights(sum(t.weights for t in tensors)),
        _text.in_percent(sparsity),
        _text.in_bytes(before),
        _text.in_bytes(after),
        _text.times(before / after) if after else "-",
    ]


def _closing_lines(report: CheckpointReport) -> Iterable[str]:
    if report.model_bytes and any(t.packed for t in report.tensors):
        over = report.bytes_after / report.model_bytes - 1
        yield (
            f"{_text.in_bytes(report.model_bytes)} predicted by b(1-s)+1 bits a weight;"
            f" row offsets and header add {100 * over:.1f} %"
        )
    dense = [t.name for t in report.tensors if t.note and t.note.startswith("stayed dense")]
    if dense:
        listed = ", ".join(dense[:NAMES_LISTED])
        more = f" and {len(dense) - NAMES_LISTED} more" if len(dense) > NAMES_LISTED else ""
        notes = {t.note for t in report.tensors if t.name in dense}
        why = f", because {REASON}" if notes == {STAYS_DENSE} else ""
        yield f"stayed dense{why}: {listed}{more}"
    reasons = Counter(
        t.note for t in report.tensors if t.action == "unchanged" and t.note and t.name not in dense
    )
    if report.rules is not None and reasons:
        told = ", ".join(f"{count:,} {why}" for why, count in reasons.most_common())
        hint = "; --all also prunes embeddings and output heads" if _any_kind(reasons) else ""
        yield f"not pruned: {told}{hint}"
    if report.rules is not None and all(t.action == "unchanged" for t in report.tensors):
        yield "note: nothing was pruned; see --include, --min-size, --min-rank and --all"
    for note in report.notes:
        yield f"note: {note}"
    if report.dry_run:
        yield (
            f"dry run: nothing was written; {report.bytes_after:,} bytes predicted,"
            " fewer if weights that stay are zero already"
        )
        return
    rate = report.bytes_before / max(report.seconds, 1e-9)
    yield f"done in {_text.in_seconds(report.seconds)} ({_text.in_bytes(int(rate))}/s)"


def show_inspect_report(report: InspectReport) -> None:
    """Print a line for each tensor, and one for the file."""
    headings = ("shape", "dtype", "zeros", "pattern", "bytes", "ratio")
    tensors = sorted(report.tensors, key=lambda found: _text.numbers_in_order(found.name))
    figures = [_found_figures(found) for found in tensors]
    total = (
        _text.in_weights(report.weights),
        "",
        _text.in_percent(report.sparsity),
        "",
        _text.in_bytes(report.nbytes),
        _text.times(report.ratio),
    )
    columns = zip(headings, total, *figures, strict=True)
    taken = sum(COLUMN_GAP + max(map(len, column)) for column in columns)
    out = console()
    name_width = max(LEAST_NAME_WIDTH, out.width - taken)
    made = table("tensor", *headings)
    for found, cells in zip(tensors, figures, strict=True):
        name = _text.broken_at_dots(_text.printable(found.name), name_width)
        made.add_row(Text(name), *cells, style=None if found.packed else "dim")
    add_footer(made, _text.count_of(len(report.tensors), "tensor"), *total)
    out.print(made)
    if len(report.groups) < len(report.tensors):
        out.print()
        out.print(_group_table(report))


def _group_table(report: InspectReport) -> Table:
    """Return a line for each group of tensors whose names differ in numbers only."""
    made = table("group", "tensors", "weights", "zeros", "pattern", "bytes", "ratio")
    for group in sorted(report.groups, key=lambda group: -group.nbytes):
        made.add_row(
            Text(_text.printable(group.name)),
            f"{group.tensors:,}",
            _text.in_weights(group.weights),
            _text.in_percent(group.sparsity),
            ", ".join(group.patterns) or "-",
            _text.in_bytes(group.nbytes),
            _text.times(group.ratio),
        )
    return made


def _found_figures(found: TensorFound) -> tuple[str, ...]:
    return (
        _text.of_shape(found.shape),
        found.dtype,
        _text.in_percent(found.sparsity),
        found.pattern or "-",
        _text.in_bytes(found.nbytes),
        _text.times(found.ratio) if found.packed else "-",
    )


def show_mask_report(report: MaskReport) -> None:
    """Print how many weights the masks are for, and what they take."""
    out = console()
    title = f"{report.source} -> {report.target}"
    out.print(Text(_text.printable(title), style="bold"), soft_wrap=True)
    out.print(
        f"{_text.count_of(len(report.tensors), 'mask')} of {_text.in_weights(report.weights)}"
        f" weights, {_text.in_percent(report.sparsity)} pruned: {report.rules}",
        soft_wrap=True,
    )
    for note in report.notes:
        out.print(Text(f"note: {note}"), soft_wrap=True)
    size, seconds = _text.in_bytes(report.bytes_after), _text.in_seconds(report.seconds)
    out.print(f"{size}, done in {seconds}", soft_wrap=True)


def show_verify_report(report: VerifyReport) -> None:
    """Print a line for each tensor that breaks the pattern, and one that counts them."""
    out = console()
    broken = [t for t in report.tensors if not t.ok]
    for tensor in broken:
        rule = "" if tensor.rule is None else f" (rule {tensor.rule})"
        line = f"broken  {_text.printable(tensor.name)}{rule}: {tensor.message}"
        out.print(Text(line), soft_wrap=True)
    follow = len(report.tensors) - len(broken)
    total = _text.count_of(len(report.tensors), "tensor")
    out.print(f"{follow:,} of {total} follow {report.rules}", style="bold", soft_wrap=True)


def show_written(path: Path) -> None:
    """Print where a page is, and how large."""
    size = _text.in_bytes(path.stat().st_size)
    console().print(f"wrote {_text.printable(str(path))} ({size})", soft_wrap=True)


def show_demo_report(report: DemoReport, kept_in: Path | None) -> None:
    """Print a line for each way of pruning, what the columns mean, and where the files are."""
    out = console()
    out.print(
        f"a made-up model of {_text.count_of(report.tensors, 'tensor')},"
        f" {_text.in_weights(report.weights)} weights, {_text.in_bytes(report.nbytes)}",
        style="bold",
    )
    out.print()
    headings = ("zeros", "size", "ratio", "model", "prune", "unpack", "error", "exact")
    made = table("pruned", *headings)
    for row in report.rows:
        predicted = row.report.model_bytes
        made.add_row(
            row.name,
            _text.in_percent(row.report.sparsity),
            _text.in_bytes(row.report.bytes_after),
            _text.times(row.report.ratio),
            _text.times(row.report.bytes_before / predicted),
            _text.in_seconds(row.report.seconds),
            _text.in_seconds(row.unpack_seconds),
            f"{row.error:.3f}",
            "no" if row.wrong else "yes",
            style="red" if row.wrong else None,
        )
    out.print(made)
    out.print()
    out.print(LEGEND)
    if kept_in is not None:
        out.print(f"files: {_text.printable(str(kept_in))}", soft_wrap=True)


def _any_kind(reasons: Iterable[str | None]) -> bool:
    return any(why in ("embedding", "output head") for why in reasons)


REASON = "packing would not make it smaller"
STAYS_DENSE = f"stayed dense: {REASON}"

LEGEND = """\
model: the ratio that b(1-s)+1 bits a weight predict, without any header
error: the norm of what was pruned over the norm of the weights
exact: unpacked, every tensor is bit for bit what plain NumPy says it must be"""
