"""Let every call that changes a file fail in turn, and look at what is at the target afterwards.

    python tests/faults/strike.py FOLDER [JOB ...] [--every N]

compiles faults.c, preloads it and prints a line of JSON: for each job how often each fault had which
outcome. Exits with 1 if a target was neither the old nor the new one, or something was left behind
for ever. The tests run it with ``--every`` so that it is quick; without, it takes minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import numpy as np

import prunepack as pp
from folders import contents, write_folder
from prunepack._leftovers import is_leftover_name

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EROFS": errno.EROFS,
    "EINTR": errno.EINTR,
    "short write": -1,
    "SIGKILL": -2,
    "SIGINT": -3,
}
DONE, REFUSED, INTERRUPTED, BROKEN = range(4)


class Job(NamedTuple):
    """What is run: `target` is below the folder in which `prepare` puts what it needs."""

    prepare: Callable[[Path], object]
    run: Callable[[Path], object]
    target: str


def a_model(work: Path) -> None:
    write_folder(work / "model")
    write_folder(work / "out", {"old.weight": np.ones((64, 64), np.float32)})


def a_packed_model(work: Path) -> None:
    write_folder(work / "dense")
    pp.prune_checkpoint(work / "dense", work / "model", pp.NM(2, 4))
    shutil.rmtree(work / "dense")
    write_folder(work / "out", {"old.weight": np.ones((64, 64), np.float32)})


def a_file(work: Path) -> None:
    write_folder(work / "model")
    for suffix in ("safetensors", "npz", "npy"):
        pp.save_file({"old": np.ones((64, 64))}, work / f"out.{suffix}")


TENSORS: dict[str, Any] = {"w": np.arange(4096.0), "packed": pp.pack(np.eye(64, dtype=np.float32))}
JOBS = {
    "prune to a file": Job(
        a_file,
        lambda work: pp.prune_checkpoint(
            work / "model", work / "out.safetensors", pp.NM(2, 4), num_threads=1
        ),
        "out.safetensors",
    ),
    "prune in place": Job(
        a_model,
        lambda work: pp.prune_checkpoint(
            work / "model", work / "model", pp.NM(2, 4), in_place=True, num_threads=2
        ),
        "model",
    ),
    "prune to a new place": Job(
        a_model,
        lambda work: pp.prune_checkpoint(
            work / "model", work / "new", pp.Unstructured(0.5), num_threads=2
        ),
        "new",
    ),
    "pack": Job(
        a_model, lambda work: pp.pack_checkpoint(work / "model", work / "out", num_threads=1), "out"
    ),
    "unpack": Job(
        a_packed_model,
        lambda work: pp.unpack_checkpoint(work / "model", work / "out", num_threads=2),
        "out",
    ),
    "save safetensors": Job(
        a_file, lambda work: pp.save_file(TENSORS, work / "out.safetensors"), "out.safetensors"
    ),
    "save npz": Job(a_file, lambda work: pp.save_file(TENSORS, work / "out.npz"), "out.npz"),
    "save npy": Job(
        a_file, lambda work: pp.save_file({"w": TENSORS["w"]}, work / "out.npy"), "out.npy"
    ),
}


def main() -> int:
    """Run the jobs that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to work; may be empty or not exist")
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--every", type=int, default=1, help="let only each N-th call fail")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    if "faults_arm" not in os.environ:
        return again_with_faults(options.folder)
    broken = False
    for name in options.jobs or JOBS:
        tally, wrong = strike(JOBS[name], options.folder / "work", options.every)
        print(json.dumps({"job": name, "wrong": wrong, "outcomes": tally}), flush=True)
        broken |= bool(wrong)
    return int(broken)


def again_with_faults(folder: Path) -> int:
    """Compile faults.c, and run this again with it."""
    library = folder / "faults.so"
    compiler = os.environ.get("CC", "cc")
    source = HERE / "faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library.resolve()), "faults_arm": "1"}
    return subprocess.run([sys.executable, *sys.argv], check=False, env=environment).returncode


def strike(job: Job, work: Path, every: int) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Run one job with each fault at each of its calls; return outcomes, and what is wrong."""
    shim = ctypes.CDLL(None)
    shutil.rmtree(work, ignore_errors=True)
    pristine = work.with_name("pristine")
    shutil.rmtree(pristine, ignore_errors=True)
    pristine.mkdir()
    job.prepare(pristine)

    restore(pristine, work)
    old = state(work / job.target)
    shim.faults_arm(0, 0)
    job.run(work)
    calls = shim.faults_disarm()
    new = state(work / job.target)
    assert old != new
    assert calls > 5, "faults.c does not see the calls"

    tally: dict[str, dict[str, int]] = {}
    wrong = []
    for turn, (kind, number) in enumerate(FAULTS.items()):
        outcomes: Counter[str] = Counter()
        # Each kind at other calls, so that together they strike most of them.
        for call in range(1 + turn % every, calls + 1, every):
            restore(pristine, work)
            outcome, problem = once(job, work, call, number, (old, new))
            outcomes[outcome] += 1
            if problem:
                wrong.append(f"{kind} at call {call} of {calls}: {outcome}: {problem}")
        tally[kind] = dict(outcomes)
    return tally, wrong


def once(
    job: Job, work: Path, call: int, number: int, states: tuple[Any, Any]
) -> tuple[str, str | None]:
    """Run a job in a child that is struck at a call; return the outcome, and what is wrong."""
    child = os.fork()
    if child == 0:
        os._exit(struck(job, work, call, number))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    words = {DONE: "done", REFUSED: "error", INTERRUPTED: "interrupted", -signal.SIGKILL: "killed"}
    there = state(work / job.target)
    old, new = states
    place = "old" if there == old else "new" if there == new else "MIXTURE"
    outcome = f"{words.get(code, f'exit {code}')}, {place}"
    left = [path.name for path in work.iterdir() if is_leftover_name(path.name)]
    if left:
        outcome += ", leftovers"
    told = {DONE: "new", REFUSED: "old"}.get(code, place)
    if place == "MIXTURE" or code not in words or told != place:
        return outcome, "target"
    if left and code == REFUSED:
        return outcome, f"leftovers {left}"
    if left:  # of a killed process, or where even removing failed: the next run removes them
        job.run(work)
        left = [path.name for path in work.iterdir() if is_leftover_name(path.name)]
        if left or state(work / job.target) is None:
            return outcome, f"the next run left {left}"
    return outcome, None


def struck(job: Job, work: Path, call: int, number: int) -> int:
    """Run a job in this process, which is struck at a call."""
    shim = ctypes.CDLL(None)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        shim.faults_arm(call, number)
        job.run(work)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError:
        return REFUSED
    except BaseException:  # noqa: BLE001  # of a forked child, which must not go on
        shim.faults_disarm()
        traceback.print_exc()
        return BROKEN
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            shim.faults_disarm()
    return DONE


def restore(pristine: Path, work: Path) -> None:
    """Make the folder to work in anew."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)


def state(target: Path) -> dict[str, bytes] | bytes | None:
    """Return all that is at a target."""
    if target.is_dir():
        return contents(target)
    return target.read_bytes() if target.exists() else None


if __name__ == "__main__":
    sys.exit(main())
