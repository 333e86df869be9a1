from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from prunepack import _core
from samples import DTYPES

if TYPE_CHECKING:
    import numpy as np

ISAS = ("scalar", "neon", "avx2", "avx512")
REQUIRED = set(filter(None, os.environ.get("PRUNEPACK_REQUIRE_ISAS", "").split(",")))

# Every property runs once for each ISA and dtype, so each run can be short.
settings.register_profile("brief", deadline=None, max_examples=5)
settings.register_profile("short", deadline=None, max_examples=25)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

# A shell lets what it runs in the background ignore Ctrl-C, and processes that tests start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"prunepack: active isa {_core.isa()}, usable {', '.join(_core.isas())}"


@pytest.fixture(scope="session", params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    """Every ISA the library knows; skips, or fails in CI, where it cannot run."""
    name: str = request.param
    if name not in _core.isas():
        if name in REQUIRED:
            pytest.fail(f"{name} is in PRUNEPACK_REQUIRE_ISAS but cannot run here")
        pytest.skip(f"{name} cannot run here")
    return name


@pytest.fixture(scope="session", params=DTYPES, ids=lambda dtype: dtype.name)
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    """Every prunable element type."""
    each: np.dtype[Any] = request.param
    return each
