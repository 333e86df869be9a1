"""The examples in docstrings run as written, and everything public has a docstring."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

import prunepack

if TYPE_CHECKING:
    from pathlib import Path

HAS_TORCH = find_spec("torch") is not None
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(prunepack.__path__, "prunepack.")
    if not module.name.endswith("__main__") and (HAS_TORCH or ".torch" not in module.name)
)
# What is not made by a caller: it has nothing to show but what makes it.
GIVEN = {"FormatError", "Mask", "RawTensor", "Verification", "Progress"}


def test_modules_are_found() -> None:
    assert {"prunepack._prune", "prunepack._checkpoint._prune"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", sorted(set(prunepack.__all__) - {"Pattern", "__version__"}))
def test_what_is_public_is_described(name: str) -> None:
    thing = getattr(prunepack, name)
    assert inspect.getdoc(thing), f"{name} has no docstring"
    if not (name in GIVEN or name.endswith("Report")):
        assert ">>> " in thing.__doc__, f"{name} has no example"
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member} has no docstring"
