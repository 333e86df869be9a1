"""Pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(*each) for each in found]


def tables(page: Path) -> list[list[list[str]]]:
    """Return the tables of a page as rows of cells, without the line below the head."""
    lines = [line.strip() for line in page.read_text("utf-8").splitlines()]
    found: list[list[list[str]]] = [[]]
    for line in lines:
        if not line.startswith("|"):
            if found[-1]:
                found.append([])
        elif not re.fullmatch(r"[|: -]+", line):
            found[-1].append([cell.strip() for cell in line[1:-1].split("|")])
    return [table for table in found if table]
