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

import numpy as np
import pytest

import prunepack as pp
from folders import write_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

STRIKE = Path(__file__).parent / "faults" / "strike.py"
EVERY = os.environ.get("PRUNEPACK_FAULTS_EVERY", "23")
LIMIT = 60 + 6000 // int(EVERY)
COMPILER = os.environ.get("CC", "cc")


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Run all jobs with all faults at every so many calls."""
    if not sys.platform.startswith("linux") or shutil.which(COMPILER) is None:
        pytest.skip("needs Linux and a C compiler")
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


# --- without a shim ---------------------------------------------------------------------------

TOO_LARGE = """
import errno, resource, sys
import prunepack as pp

before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
try:
    pp.prune_checkpoint(sys.argv[1], sys.argv[2], pp.NM(2, 4))
except OSError as error:
    assert error.errno == errno.EFBIG, error
    print("refused")
resource.setrlimit(resource.RLIMIT_FSIZE, before)  # coverage has yet to write what it counted
"""


@pytest.mark.parametrize("name", ["out", "out.safetensors", "out.npz"])
def test_a_limit_on_the_size_of_files(tmp_path: Path, name: str) -> None:
    source = write_folder(tmp_path / "model")
    if name == "out.npz":  # which is for files
        source = tmp_path / "model.npz"
        pp.save_file({"w": np.ones((64, 64))}, source)
    before = sorted(tmp_path.iterdir())
    line = [sys.executable, "-c", TOO_LARGE, str(source), str(tmp_path / name)]
    result = subprocess.run(line, check=False, capture_output=True, text=True)
    assert result.stdout == "refused\n", result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["out", "out.safetensors"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_folder_that_vanishes_under_the_target(tmp_path: Path, name: str, threads: int) -> None:
    source = write_folder(tmp_path / "model")
    around = tmp_path / "around"
    around.mkdir()

    def vanish(at: pp.Progress) -> None:
        if at.tensors == 3:
            shutil.rmtree(around)

    with pytest.raises(FileNotFoundError):
        pp.prune_checkpoint(
            source, around / name, pp.NM(2, 4), progress=vanish, num_threads=threads
        )
    assert list(tmp_path.iterdir()) == [source]
