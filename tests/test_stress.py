"""The same results when everything is called at once, and in children of a busy process.

A moment of tests/stress.py, which runs for as long as it is told.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

STRESS = Path(__file__).with_name("stress.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("forks", ["0", "3"])
def test_results_do_not_depend_on_what_else_runs(forks: str) -> None:
    line = [sys.executable, "-W", "ignore::DeprecationWarning", str(STRESS)]
    line += ["--seconds", "1", "--least", "15", "--threads", "6", "--forks", forks]
    result = subprocess.run(line, check=False, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 results differ, 0 children failed" in result.stdout
