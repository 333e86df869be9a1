"""Tables of results, for a terminal and as markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool
) -> None:
    """Print `rows`; the first column is text, the others are numbers."""
    if markdown:
        print(f"{title}\n")
        print(_markdown_row(columns))
        print(_markdown_row(["---", *["---:"] * (len(columns) - 1)]))
        for row in rows:
            print(_markdown_row(row))
        return
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as the table is: a line that wraps is harder to read than one that is cut.
    wide = Console(width=1000)
    Console(width=wide.measure(table).maximum).print(table)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
