"""A progress bar on standard error, where there is a terminal to show it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import rich.progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from .. import _text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._checkpoint import Progress

# Work that takes less than this ends before a bar could be read.
PATIENCE_SECONDS = 0.3


@contextmanager
def progress_bar(verb: str, *, shown: bool = True) -> Iterator[Callable[[Progress], None] | None]:
    """Show how far the work is, and take the bar away at the end.

    Parameters
    ----------
    verb : str
        What is being done, such as ``"pruning"``.
    shown : bool
        Whether a bar is wanted at all; without a terminal there is none either.

    Yields
    ------
    callable or None
        The callback for the functions over whole files.
    """
    if not shown or not sys.stderr.isatty():
        yield None
        return
    bar = _bar(Console(stderr=True))
    task = bar.add_task(verb, name="", tensors="")
    started = monotonic()

    def advance(at: Progress) -> None:
        if not bar.live.is_started and monotonic() - started > PATIENCE_SECONDS:
            bar.start()
        tensors = f"{at.tensors:,}/{at.total_tensors:,}" if at.total_tensors else ""
        bar.update(
            task,
            completed=at.nbytes,
            total=at.total_nbytes,
            name=_text.printable(at.name),
            tensors=tensors,
        )

    try:
        yield advance
    finally:
        bar.stop()


def _bar(console: Console) -> rich.progress.Progress:
    return rich.progress.Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[tensors]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn(
            "{task.fields[name]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=console,
        transient=True,
        expand=True,
    )
