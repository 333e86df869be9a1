"""Every call that changes a file fails in turn: with errors, short, killed, interrupted.

tests/faults/strike.py does it, for a part of the calls here and for all of them by hand or with
PRUNEPACK_FAULTS_EVERY=1. What an error leaves at the target without such means is in test_atomic.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

STRIKE = Path(__file__).parent / "faults" / "strike.py"
EVERY = os.environ.get("PRUNEPACK_FAULTS_EVERY", "23")
LIMIT = 60 + 6000 // int(EVERY)
COMPILER = os.environ.get("CC", "cc")

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs LD_PRELOAD"),
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason="needs a C compiler"),
]


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Run all jobs with all faults at every so many calls."""
    folder = tmp_path_factory.mktemp("faults")
    line = [sys.executable, str(STRIKE), str(folder), "--every", EVERY]
    result = subprocess.run(line, check=False, capture_output=True, text=True, timeout=LIMIT)
    told = [json.loads(each) for each in result.stdout.splitlines()]
    assert len(told) == 8, result.stderr
    return {each["job"]: each for each in told}


def test_the_target_is_the_old_or_the_new_one(struck: Mapping[str, Any]) -> None:
    assert [(job, problem) for job, told in struck.items() for problem in told["wrong"]] == []


def test_faults_did_happen(struck: Mapping[str, Any]) -> None:
    """Or the test above would see nothing but good ends."""
    total: dict[str, int] = {}
    for told in struck.values():
        for kind, outcomes in told["outcomes"].items():
            for outcome, count in outcomes.items():
                key = f"{kind}: {outcome}"
                total[key] = total.get(key, 0) + count
    for kind in ("ENOSPC", "EIO", "EROFS"):
        assert total[f"{kind}: error, old"] >= 5, total
    assert total["SIGKILL: killed, old, leftovers"] >= 5, total
    assert total["SIGINT: interrupted, old"] >= 5, total
    assert total["short write: done, new"] >= 5, total
    assert total["EINTR: done, new"] >= 3, total
