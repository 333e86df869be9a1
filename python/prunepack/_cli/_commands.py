"""The commands: each calls the library, shows what it returns, and gives the exit status."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .._bench import run_bench
from .._checkpoint import (
    Progress,
    Rules,
    apply_masks,
    inspect_checkpoint,
    load_rules,
    mask_checkpoint,
    pack_checkpoint,
    prune_checkpoint,
    unpack_checkpoint,
    verify_checkpoint,
)
from .._demo import run_demo
from .._report import report_checkpoint
from . import _show, _show_bench
from ._arguments import pattern_from
from ._output import print_json, writing_output
from ._parser import UsageError
from ._progress import progress_bar

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from .._checkpoint import CheckpointReport
    from .._demo import DemoReport


def prune(options: argparse.Namespace) -> int:
    """Carry out ``prunepack prune``."""
    rules = _rules(options)
    with progress_bar("pruning", shown=_talks(options)) as progress:
        report = prune_checkpoint(
            options.source,
            _target(options),
            rules,
            format=options.format,
            dialect=options.dialect,
            even_if_larger=options.even_if_larger,
            target_size=options.target_size,
            defaults=not options.all,
            progress=progress,
            **_selection(options),
            **_output(options),
        )
    return _done(report, options)


def pack(options: argparse.Namespace) -> int:
    """Carry out ``prunepack pack``."""
    with progress_bar("packing", shown=_talks(options)) as progress:
        report = pack_checkpoint(
            options.source,
            _target(options),
            format=options.format,
            dialect=options.dialect,
            even_if_larger=options.even_if_larger,
            progress=progress,
            **_selection(options),
            **_output(options),
        )
    return _done(report, options)


def unpack(options: argparse.Namespace) -> int:
    """Carry out ``prunepack unpack``."""
    with progress_bar("unpacking", shown=_talks(options)) as progress:
        report = unpack_checkpoint(
            options.source, _target(options), progress=progress, **_output(options)
        )
    return _done(report, options)


def mask(options: argparse.Namespace) -> int:
    """Carry out ``prunepack mask``."""
    rules = _rules(options)
    with progress_bar("masking", shown=_talks(options)) as progress:
        report = mask_checkpoint(
            options.source,
            options.target,
            rules,
            defaults=not options.all,
            num_threads=options.num_threads,
            progress=progress,
            **_selection(options),
        )
    if options.json:
        print_json(report.to_json())
    elif not options.quiet:
        _show.show_mask_report(report)
    return 0


def apply(options: argparse.Namespace) -> int:
    """Carry out ``prunepack apply``."""
    with progress_bar("pruning", shown=_talks(options)) as progress:
        report = apply_masks(
            options.masks,
            options.source,
            _target(options),
            format=options.format,
            dialect=options.dialect,
            even_if_larger=options.even_if_larger,
            progress=progress,
            **_output(options),
        )
    return _done(report, options)


def inspect(options: argparse.Namespace) -> int:
    """Carry out ``prunepack inspect``."""
    with progress_bar("inspecting", shown=_talks(options)) as progress:
        report = inspect_checkpoint(
            options.file, num_threads=options.num_threads, progress=progress
        )
    if options.json:
        print_json(report.to_json())
    elif not options.quiet:
        with writing_output():
            _show.show_inspect_report(report)
    return 0


def verify(options: argparse.Namespace) -> int:
    """Carry out ``prunepack verify``; the status is 1 when a pattern is broken."""
    rules = _rules(options)
    with progress_bar("verifying", shown=_talks(options)) as progress:
        report = verify_checkpoint(
            options.file,
            rules,
            defaults=not options.all,
            num_threads=options.num_threads,
            progress=progress,
            **_selection(options),
        )
    if options.json:
        print_json(report.to_json())
    elif not options.quiet:
        with writing_output():
            _show.show_verify_report(report)
    return 0 if report.ok else 1


def report(options: argparse.Namespace) -> int:
    """Carry out ``prunepack report``."""
    with progress_bar("looking", shown=_talks(options)) as progress:
        found = report_checkpoint(
            options.file,
            options.target,
            before=options.before,
            run=options.run,
            num_threads=options.num_threads,
            progress=progress,
        )
    if options.json:
        print_json(found.to_json())
    elif not options.quiet:
        _show.show_written(options.target)
    return 0


def bench(options: argparse.Namespace) -> int:
    """Carry out ``prunepack bench``; the status is 1 when a packed layer's result is wrong."""
    with progress_bar("timing", shown=_talks(options)) as progress:
        report = run_bench(
            options.shapes,
            dtype=options.dtype,
            batches=options.batch,
            patterns=options.patterns,
            num_threads=options.num_threads,
            progress=None if progress is None else _of_measurements(progress),
        )
    if options.json:
        print_json(report.to_json())
    elif not options.quiet:
        with writing_output():
            _show_bench.show_bench_report(report)
    for shape in report.shapes:
        for row in shape.packed:
            if row.wrong:
                print(f"prunepack: {row.pattern}: the packed result is wrong", file=sys.stderr)
    return 0 if report.ok else 1


def _of_measurements(progress: Callable[[Progress], None]) -> Callable[[str, int, int], None]:
    """Let a bar for tensors show measurements, which have none."""
    return lambda name, done, total: progress(Progress(name, 0, 0, done, total))


def demo(options: argparse.Namespace) -> int:
    """Carry out ``prunepack demo``; the status is 1 when a weight is not what it must be."""
    if options.keep is None:
        with TemporaryDirectory(prefix="prunepack-demo-") as folder:
            report = _demo_in(Path(folder), options)
    else:
        options.keep.mkdir(parents=True, exist_ok=True)
        report = _demo_in(options.keep, options)
    if options.json:
        print_json(report.to_json())
    elif not options.quiet:
        with writing_output():
            _show.show_demo_report(report, options.keep)
    for row in report.rows:
        if row.wrong:
            print(f"prunepack: {row.name}: {row.wrong[0]} differs from NumPy", file=sys.stderr)
    return 0 if report.ok else 1


def _demo_in(folder: Path, options: argparse.Namespace) -> DemoReport:
    with progress_bar("demo", shown=_talks(options)) as progress:
        return run_demo(folder, num_threads=options.num_threads, progress=progress)


def _rules(options: argparse.Namespace) -> Rules:
    """Put together what the command line and a file of rules say."""
    rules = Rules() if options.rules is None else load_rules(options.rules)
    target_size = getattr(options, "target_size", None)
    try:
        pattern = pattern_from(options, needed=target_size is None and options.rules is None)
        if pattern is not None and (target_size is not None or rules.otherwise is not None):
            what = "--target-size" if target_size is not None else f"{options.rules}"
            msg = f"{pattern} cannot be given together with {what}, which says what to prune"
            raise ValueError(msg)
    except ValueError as error:
        msg = f"{error} (see prunepack {options.command} --help)"
        raise UsageError(msg) from error
    return rules if pattern is None else replace(rules, otherwise=pattern)


def _target(options: argparse.Namespace) -> Path | None:
    """Return what to write: OUT, or IN where that is asked for, or nothing in a dry run."""
    target: Path | None = options.target
    if options.in_place:
        if target is not None:
            msg = (
                f"--in-place writes to IN, so OUT must be left out, got {target}"
                f" (see prunepack {options.command} --help)"
            )
            raise UsageError(msg)
        source: Path = options.source
        return source
    if target is None and not options.dry_run:
        msg = (
            "name OUT, the file or folder to write, or say --in-place or --dry-run"
            f" (see prunepack {options.command} --help)"
        )
        raise UsageError(msg)
    return target


def _output(options: argparse.Namespace) -> dict[str, Any]:
    names = ("max_shard_size", "in_place", "overwrite", "dry_run", "num_threads")
    return {name: getattr(options, name) for name in names}


def _selection(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("include", "exclude", "min_size", "min_rank")}


def _talks(options: argparse.Namespace) -> bool:
    return not (options.json or options.quiet)


def _done(report: CheckpointReport, options: argparse.Namespace) -> int:
    if options.json:
        print_json(report.to_json())
    elif not options.quiet:
        with writing_output():
            _show.show_checkpoint_report(report)
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "prune": prune,
    "pack": pack,
    "unpack": unpack,
    "mask": mask,
    "apply": apply,
    "inspect": inspect,
    "verify": verify,
    "report": report,
    "bench": bench,
    "demo": demo,
}
