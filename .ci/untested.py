"""Fail if the tests never run some public function, method or command.

    python .ci/untested.py COVERAGE.json

COVERAGE.json is what ``coverage json`` writes: it tells for each function which of its lines ran, so
one that is only named in a test does not count.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import prunepack
from prunepack._cli._commands import COMMANDS

PACKAGE = Path(prunepack.__file__).parent


def public_objects() -> Iterator[tuple[str, object]]:
    """Yield every public name and what it means."""
    for module in ("prunepack", "prunepack.torch"):
        if module.endswith("torch") and importlib.util.find_spec("torch") is None:
            print(f"{module}: not looked at, torch is not installed")
            continue
        namespace = importlib.import_module(module)
        yield from ((f"{module}.{name}", getattr(namespace, name)) for name in namespace.__all__)
    for name, function in COMMANDS.items():
        yield f"prunepack {name}", function


def functions_of(name: str, thing: Any) -> Iterator[tuple[str, FunctionType]]:
    """Yield the functions a user calls by that name, as far as they are Python's and ours."""
    if isinstance(thing, type):
        for attribute, value in vars(thing).items():
            if not attribute.startswith("_") or attribute in ("__init__", "__call__"):
                yield from functions_of(f"{name}.{attribute}", value)
        return
    if isinstance(thing, property):
        thing = thing.fget
    elif isinstance(thing, staticmethod | classmethod):
        thing = thing.__func__
    elif isinstance(thing, functools.cached_property):
        thing = thing.func
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if isinstance(thing, FunctionType) and is_ours(thing):
        yield name, thing


def is_ours(function: FunctionType) -> bool:
    """Tell whether a function is written in a file of the package; a dataclass makes others."""
    return Path(function.__code__.co_filename).is_relative_to(PACKAGE)


def lines_that_ran(coverage: Path) -> dict[str, set[int]]:
    """Return the lines that ran of each file, by its path within the package."""
    files = json.loads(coverage.read_text("utf-8"))["files"]
    return {
        path.removeprefix("python/prunepack/"): set(found["executed_lines"])
        for path, found in files.items()
    }


def main(coverage: str) -> int:
    """Print what is untested, and how much was looked at."""
    ran = lines_that_ran(Path(coverage))
    looked_at = 0
    untested = []
    for name, thing in public_objects():
        for full_name, function in functions_of(name, thing):
            code = function.__code__
            path = str(Path(code.co_filename).relative_to(PACKAGE))
            # That of the definition runs when the module is read.
            body = {line for *_, line in code.co_lines() if line} - {code.co_firstlineno}
            looked_at += 1
            if not body & ran[path]:
                untested.append(full_name)
    print(f"{looked_at} public functions, {len(untested)} of them never run by the tests")
    for name in untested:
        print(f"  {name}")
    return 1 if untested else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
