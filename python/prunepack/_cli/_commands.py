"""The commands: each calls the library, shows what it returns, and gives the exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .._bench import run_bench
from .._checkpoint import inspect_file, pack_file, prune_file, unpack_file, verify_file
from .._demo import run_demo
from . import _show, _show_bench
from ._arguments import pattern_from
from ._parser import UsageError
from ._progress import progress_bar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from .._checkpoint import FileReport
    from .._demo import DemoReport
    from .._patterns import Pattern


def prune(options: argparse.Namespace) -> int:
    """Carry out ``prunepack prune``."""
    pattern = _pattern(options)
    with progress_bar("pruning", shown=_talks(options)) as progress:
        report = prune_file(
            options.source,
            options.target,
            pattern,
            packed=options.format == "packed",
            even_if_larger=options.even_if_larger,
            num_threads=options.num_threads,
            progress=progress,
            **_selection(options),
        )
    return _done(report, options)


def pack(options: argparse.Namespace) -> int:
    """Carry out ``prunepack pack``."""
    with progress_bar("packing", shown=_talks(options)) as progress:
        report = pack_file(
            options.source,
            options.target,
            even_if_larger=options.even_if_larger,
            num_threads=options.num_threads,
            progress=progress,
            **_selection(options),
        )
    return _done(report, options)


def unpack(options: argparse.Namespace) -> int:
    """Carry out ``prunepack unpack``."""
    with progress_bar("unpacking", shown=_talks(options)) as progress:
        report = unpack_file(
            options.source, options.target, num_threads=options.num_threads, progress=progress
        )
    return _done(report, options)


def inspect(options: argparse.Namespace) -> int:
    """Carry out ``prunepack inspect``."""
    with progress_bar("inspecting", shown=_talks(options)) as progress:
        report = inspect_file(options.file, num_threads=options.num_threads, progress=progress)
    if options.json:
        _print_json(report.to_json())
    else:
        _show.show_inspect_report(report)
    return 0


def verify(options: argparse.Namespace) -> int:
    """Carry out ``prunepack verify``; the status is 1 when a pattern is broken."""
    pattern = _pattern(options)
    with progress_bar("verifying", shown=_talks(options)) as progress:
        report = verify_file(options.file, pattern, progress=progress, **_selection(options))
    if options.json:
        _print_json(report.to_json())
    elif not options.quiet:
        _show.show_verify_report(report)
    return 0 if report.ok else 1


def bench(options: argparse.Namespace) -> int:
    """Carry out ``prunepack bench``; the status is 1 when a packed layer's result is wrong."""
    with progress_bar("timing", shown=_talks(options)) as progress:
        report = run_bench(
            options.shapes,
            dtype=options.dtype,
            batches=options.batch,
            patterns=options.patterns,
            num_threads=options.num_threads,
            progress=progress,
        )
    if options.json:
        _print_json(report.to_json())
    elif not options.quiet:
        _show_bench.show_bench_report(report)
    for shape in report.shapes:
        for row in shape.packed:
            if row.wrong:
                print(f"prunepack: {row.pattern}: the packed result is wrong", file=sys.stderr)
    return 0 if report.ok else 1


def demo(options: argparse.Namespace) -> int:
    """Carry out ``prunepack demo``; the status is 1 when a weight is not what it must be."""
    if options.keep is None:
        with TemporaryDirectory(prefix="prunepack-demo-") as folder:
            report = _demo_in(Path(folder), options)
    else:
        options.keep.mkdir(parents=True, exist_ok=True)
        report = _demo_in(options.keep, options)
    if options.json:
        _print_json(report.to_json())
    elif not options.quiet:
        _show.show_demo_report(report, options.keep)
    for row in report.rows:
        if row.wrong:
            print(f"prunepack: {row.name}: {row.wrong[0]} differs from NumPy", file=sys.stderr)
    return 0 if report.ok else 1


def _demo_in(folder: Path, options: argparse.Namespace) -> DemoReport:
    with progress_bar("demo", shown=_talks(options)) as progress:
        return run_demo(folder, num_threads=options.num_threads, progress=progress)


def _pattern(options: argparse.Namespace) -> Pattern:
    try:
        return pattern_from(options)
    except ValueError as error:
        msg = f"{error} (see prunepack {options.command} --help)"
        raise UsageError(msg) from error


def _selection(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("include", "exclude", "min_size", "min_rank")}


def _talks(options: argparse.Namespace) -> bool:
    return not (options.json or options.quiet)


def _done(report: FileReport, options: argparse.Namespace) -> int:
    if options.json:
        _print_json(report.to_json())
    elif not options.quiet:
        _show.show_file_report(report)
    return 0


def _print_json(report: dict[str, Any]) -> None:
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "prune": prune,
    "pack": pack,
    "unpack": unpack,
    "inspect": inspect,
    "verify": verify,
    "bench": bench,
    "demo": demo,
}
