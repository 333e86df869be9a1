"""Checks on what was built, for faults that no test on this machine can show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from prunepack import _core

GIVEN = os.environ.get("PRUNEPACK_BUILD_DIR")
BUILD = Path(GIVEN or Path(__file__).parents[1] / "build")


def is_release(folder: Path) -> bool:
    """Tell whether a build is one to ship: sanitizers and coverage bring symbols of their own."""
    cache = (folder / "CMakeCache.txt").read_text()
    kinds = re.findall(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache, re.MULTILINE)
    flags = " ".join(re.findall(r"^CMAKE_CXX_FLAGS\w*:\w+=(.*)$", cache, re.MULTILINE))
    return set(kinds) <= {"Release", ""} and not re.search("-fsanitize|-fprofile|--coverage", flags)


KERNELS = sorted(
    path
    for cache in BUILD.rglob("CMakeCache.txt")
    if is_release(cache.parent)
    for isa in ("neon", "avx2", "avx512", "avx512dot")
    for suffix in ("o", "obj")
    for path in cache.parent.rglob(f"*_{isa}.cpp.{suffix}")
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


BESIDE = """
import numpy as np
{imports}

def error(call):
    try:
        call()
    except ValueError as told:
        return str(told)

mask, x = np.zeros((1, 1), np.uint8), np.zeros(4, np.uint32)
lines = contourpy.contour_generator(z=np.zeros((2, 2)))
for _ in range(2):
    where = {{"threads": 1, "isa": "none"}}
    print(error(lambda: _core.nm_mask(x, "float32", 1, 4, 1, 2, 4, 1, 4, mask, **where)))
    print(error(lambda: lines.filled(2, 1)))
"""


@pytest.mark.skipif(find_spec("contourpy") is None, reason="contourpy is not installed")
@pytest.mark.parametrize("imports", ["import contourpy; {}", "{}; import contourpy"])
def test_errors_are_told_beside_another_module_of_pybind11(imports: str) -> None:
    """Modules share what turns C++ exceptions into Python's, and each may have its own C++ runtime."""
    code = BESIDE.format(imports=imports.format("from prunepack import _core"))
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    ours, theirs, *again = result.stdout.splitlines()
    assert "none" in ours
    assert "level" in theirs
    assert again == [ours, theirs]
