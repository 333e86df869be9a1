"""Checks on what was built, for faults that no test on this machine can show."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from prunepack import _core

GIVEN = os.environ.get("PRUNEPACK_BUILD_DIR")
BUILD = Path(GIVEN or Path(__file__).parents[1] / "build")
KERNELS = sorted(
    path
    for isa in ("neon", "avx2", "avx512", "avx512dot")
    for suffix in ("o", "obj")
    for path in BUILD.rglob(f"*_{isa}.cpp.{suffix}")
    # What libFuzzer puts into each object is weak, and is run nowhere else.
    if "fuzz" not in path.relative_to(BUILD).parts
)


def nm(*arguments: str | Path) -> list[list[str]]:
    """Symbols as lists of words, the kind and the name last."""
    tool = shutil.which("nm")
    if tool is None:
        pytest.skip("needs nm")
    listing = subprocess.run([tool, *arguments], check=True, capture_output=True, text=True)
    return [line.split(maxsplit=2) for line in listing.stdout.splitlines() if line]


def test_kernel_objects_are_there() -> None:
    """CI names the build directory; then the tests below may not silently check nothing."""
    if GIVEN is None and not KERNELS:
        pytest.skip(f"no kernel objects under {BUILD}; set PRUNEPACK_BUILD_DIR to a build")
    assert KERNELS, f"no kernel objects under {BUILD}"
    assert shutil.which("nm"), "needs nm"


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_kernels_share_no_symbol(path: Path) -> None:
    """An inline function built with -mavx512f may be linked in for everyone.

    The linker keeps one copy of a weak symbol, from whichever object it reads first; a
    std::vector in an AVX-512 file then crashes an older CPU.
    """
    weak = [symbol for symbol in nm("--defined-only", path) if symbol[-2] in "WwVvu"]
    assert weak == []


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_kernels_name_only_their_own_isa(path: Path) -> None:
    """What another object may link to is in the namespace of the ISA."""
    isa = path.name.split(".")[0].rsplit("_", 1)[1]
    names = [
        symbol[-1]
        for symbol in nm("--defined-only", "--extern-only", "--demangle", path)
        if symbol[-2] in "TDBR"
    ]
    assert names
    assert [name for name in names if f"prunepack::{isa}::" not in name] == []


def test_the_module_exports_no_function_of_ours() -> None:
    exported = nm("--dynamic", "--defined-only", _core.__file__)
    functions = [symbol[-1] for symbol in exported if symbol[-2] in "TWi"]
    assert "PyInit__core" in functions
    assert [name for name in functions if "prunepack" in name] == []
