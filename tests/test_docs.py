"""The reference lists everything public, links lead somewhere, and figures are those that were measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import prunepack
from pages import DOCS, README, ROOT, tables

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "bench" / "README.md"])


def test_the_reference_lists_everything_public() -> None:
    listed = []
    for page in sorted(DOCS.glob("reference/*.rst")):
        text = page.read_text("utf-8")
        if "module:: prunepack\n" in text:
            listed += re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(set(prunepack.__all__) - {"__version__"})


def test_the_reference_lists_what_is_for_torch() -> None:
    source = (ROOT / "docs" / "reference" / "torch.rst").read_text("utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: (\w+)$", source, re.MULTILINE))
    torch = pytest.importorskip("prunepack.torch", exc_type=ImportError)
    assert listed == set(torch.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert not target.startswith("http"), f"{target}: no address is known to be ours"
        assert (page.parent / target).exists(), target


Measured = dict[tuple[str, str, str], str]


@pytest.fixture(scope="module")
def measured() -> Measured:
    """Times the reference's speed, by operation, dtype and ISA, as bench/README.md has it."""
    (table,) = (
        rows
        for rows in tables(ROOT / "bench" / "README.md")
        if rows[0][:2] == ["operation", "dtype"]
    )
    of = {name: column for column, name in enumerate(table[0])}
    return {(row[0], row[1], row[2]): row[of["one thread"]] for row in table[1:]}


OPERATIONS = {  # in the README: in bench/README.md
    "top 128 of every 256": "top 128 of 256",
    "linear, 50 %, one row of x": "matvec, 50 %",
    "linear, 90 %": "matvec, 90 %",
    "linear, 2:4": "matvec, 2:4",
    "linear, 14:16": "matvec, 14:16",
    "linear, blocks of 4x4, 75 %": "matvec, blocks of 4 x 4, 75 %",
}


def test_the_figures_of_the_readme(measured: Measured) -> None:
    (table,) = (rows for rows in tables(README) if rows[0][1:3] == ["float32", "bfloat16"])
    compared = 0
    for operation, *figures, _ in table[1:]:
        for dtype, figure in zip(("float32", "bfloat16", "int8"), figures, strict=True):
            name = OPERATIONS.get(operation, operation)
            if dtype == "int8":  # what the README says below the table
                name = name.replace("matvec, ", "matvec of rounded activations, ")
            if figure != "-":
                assert figure == measured[name, dtype, "avx512"], (operation, dtype)
                compared += 1
    assert compared > 20


def test_the_figures_of_the_guide(measured: Measured) -> None:
    guide = DOCS / "guides" / "choose_a_pattern.md"
    (table,) = (rows for rows in tables(guide) if rows[0] == ["pattern", "AVX-512"])
    for pattern, figure in table[1:]:
        assert figure == measured[f"matvec, {pattern}", "float32", "avx512"], pattern
    assert len(table) > 10
