"""The commands: each calls the library, shows what it returns, and gives the exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .._checkpoint import (
    inspect_checkpoint,
    pack_checkpoint,
    prune_checkpoint,
    unpack_checkpoint,
    verify_checkpoint,
)
from .._demo import run_demo
from . import _show
from ._arguments import pattern_from
from ._parser import UsageError
from ._progress import progress_bar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from .._checkpoint import CheckpointReport
    from .._demo import DemoReport
    from .._patterns import Pattern


def prune(options: argparse.Namespace) -> int:
    """Carry out ``prunepack prune``."""
    pattern = _pattern(options)
    with progress_bar("pruning", shown=_talks(options)) as progress:
        report = prune_checkpoint(
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
        report = pack_checkpoint(
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
        report = unpack_checkpoint(
            options.source, options.target, num_threads=options.num_threads, progress=progress
        )
    return _done(report, options)


def inspect(options: argparse.Namespace) -> int:
    """Carry out ``prunepack inspect``."""
    with progress_bar("inspecting", shown=_talks(options)) as progress:
        report = inspect_checkpoint(
            options.file, num_threads=options.num_threads, progress=progress
        )
    if options.json:
        _print_json(report.to_json())
    else:
        _show.show_inspect_report(report)
    return 0


def verify(options: argparse.Namespace) -> int:
    """Carry out ``prunepack verify``; the status is 1 when a pattern is broken."""
    pattern = _pattern(options)
    with progress_bar("verifying", shown=_talks(options)) as progress:
        report = verify_checkpoint(options.file, pattern, progress=progress, **_selection(options))
    if options.json:
        _print_json(report.to_json())
    elif not options.quiet:
        _show.show_verify_report(report)
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


def _done(report: CheckpointReport, options: argparse.Namespace) -> int:
    if options.json:
        _print_json(report.to_json())
    elif not options.quiet:
        _show.show_checkpoint_report(report)
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
    "demo": demo,
}
