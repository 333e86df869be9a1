"""What is in a wheel and in the source distribution, and what the compiled module asks for and offers.

`tools/wheels` builds them and names them in PRUNEPACK_WHEEL and PRUNEPACK_SDIST; without these there is
nothing to look at.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

import prunepack

if TYPE_CHECKING:
    from email.message import Message

WHEEL = os.environ.get("PRUNEPACK_WHEEL", "")
SDIST = os.environ.get("PRUNEPACK_SDIST", "")
MOST_BYTES = 3_000_000

needs_sdist = pytest.mark.skipif(not SDIST, reason="PRUNEPACK_SDIST names no source distribution")
pytestmark = pytest.mark.skipif(not WHEEL, reason="PRUNEPACK_WHEEL names no wheel")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The files of the wheel."""
    with zipfile.ZipFile(WHEEL) as archive:
        return {
            info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()
        }


@pytest.fixture(scope="module")
def module(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled module by itself."""
    (name,) = (name for name in files if name.endswith(".so"))
    path: Path = tmp_path_factory.mktemp("module") / PurePosixPath(name).name
    path.write_bytes(files[name])
    return path


@pytest.fixture(scope="module")
def metadata(files: dict[str, bytes]) -> Message:
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(files[name].decode())


@pytest.fixture(scope="module")
def sources() -> set[str]:
    """Paths in the source distribution, without its own folder."""
    with tarfile.open(SDIST) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def tool(*command: str | Path) -> list[str]:
    assert shutil.which(str(command[0])), f"needs {command[0]}"
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_the_tests_run_from_this_wheel(files: dict[str, bytes]) -> None:
    installed = Path(prunepack.__file__).parent
    assert "site-packages" in installed.parts
    for name, content in files.items():
        if name.startswith("prunepack/"):
            assert (installed.parent / name).read_bytes() == content, name


def test_it_is_small() -> None:
    assert Path(WHEEL).stat().st_size < MOST_BYTES


def test_it_holds_the_package_and_nothing_else(files: dict[str, bytes]) -> None:
    root = f"prunepack-{prunepack.__version__}.dist-info"
    package = {name for name in files if name.startswith("prunepack/")}
    assert set(files) - package == {
        f"{root}/METADATA",
        f"{root}/RECORD",
        f"{root}/WHEEL",
        f"{root}/entry_points.txt",
        f"{root}/licenses/LICENSE",
    }
    assert {"prunepack/py.typed", "prunepack/_core.pyi"} <= package
    assert {PurePosixPath(name).suffix for name in package - {"prunepack/py.typed"}} == {
        ".py",
        ".pyi",
        ".so",
    }


@needs_sdist
def test_every_module_of_the_sources_is_in_it(files: dict[str, bytes], sources: set[str]) -> None:
    expected = {
        name.removeprefix("python/")
        for name in sources
        if name.startswith("python/prunepack/") and PurePosixPath(name).suffix
    }
    assert {
        name for name in files if name.startswith("prunepack/") and name[-3:] != ".so"
    } == expected


def test_the_record_is_true(files: dict[str, bytes]) -> None:
    (record,) = (name for name in files if name.endswith("/RECORD"))
    rows = list(csv.reader(io.StringIO(files[record].decode())))
    assert sorted(name for name, _, _ in rows) == sorted(files)
    for name, digest, size in rows:
        if name == record:
            continue
        sha = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode().rstrip("=")
        assert (digest, int(size)) == (f"sha256={sha}", len(files[name])), name


def test_the_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "prunepack"
    assert metadata["Version"] == prunepack.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Requires-Python"] == ">=3.10"
    needed = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert [re.split(r"[>=; ]", text)[0] for text in needed] == [
        "numpy",
        "ml_dtypes",
        "rich",
        "tomli",
    ]
    assert "prunes" in metadata.get_payload()


def test_the_command(files: dict[str, bytes]) -> None:
    (name,) = (name for name in files if name.endswith("/entry_points.txt"))
    assert files[name].decode().split() == [
        "[console_scripts]",
        "prunepack",
        "=",
        "prunepack._cli:main",
    ]


def test_it_is_tagged_for_any_linux(module: Path) -> None:
    assert re.search(r"-manylinux_2_\d+_\w+\.whl$", WHEEL)
    abi = re.search(r"-cp(3\d+)-cp\1-", WHEEL)
    assert abi, WHEEL
    assert module.name.startswith(f"_core.cpython-{abi[1]}-")


def test_the_module_needs_nothing_but_libc(module: Path) -> None:
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", "\n".join(tool("readelf", "-dW", module)))
    assert needed
    of_libc = re.compile(r"(libc|libm|libpthread|libdl)\.so\.6|ld-linux-[\w-]+\.so\.\d")
    assert [name for name in needed if not of_libc.fullmatch(name)] == []


def test_the_module_looks_nowhere_else(module: Path) -> None:
    assert not re.search(r"\((RPATH|RUNPATH)\)", "\n".join(tool("readelf", "-dW", module)))


def test_the_module_offers_nothing_but_its_entry(module: Path) -> None:
    offered = [line.split()[-1] for line in tool("nm", "--dynamic", "--defined-only", module)]
    assert offered == ["PyInit__core"]


def test_the_module_asks_for_python_and_libc_only(module: Path) -> None:
    """A symbol of the C++ runtime would be taken from whatever was loaded first."""
    listing = [line.split() for line in tool("nm", "--dynamic", "--undefined-only", module)]
    asked = [name for kind, name in listing if kind != "w"]  # what is weak may be absent
    assert "PyModuleDef_Init" in asked
    assert [name for name in asked if not re.fullmatch(r"_?Py\w+|\w+@GLIBC_[\d.]+", name)] == []


def test_the_module_is_stripped(module: Path) -> None:
    sections = "\n".join(tool("readelf", "-SW", module))
    assert ".dynsym" in sections
    assert ".symtab" not in sections
    assert ".debug" not in sections


def test_no_path_of_the_builder_is_in_it(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        assert not re.search(rb"/(home|root|tmp|build|work)/[\w.]+/", content), name


@needs_sdist
def test_the_source_distribution_has_what_is_needed_to_build_test_and_read(
    sources: set[str],
) -> None:
    assert {
        "CMakeLists.txt",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "cpp/isa.cmake",
        "cpp/src/kernels/tables.h",
        "pyproject.toml",
        "tests/reference.py",
        "tests/test_wheel.py",
        "tools/wheels",
    } <= sources
    unwanted = re.compile(
        r"\.so$|\.o$|(^|/)(__pycache__|\.git|\.ci|\.venv|build|dist)(/|$)|\.[a-z]+_cache"
    )
    assert [name for name in sources if unwanted.search(name)] == []
