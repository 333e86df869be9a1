"""Time pruning a checkpoint beside `cp` of the same files, check it, and kill it on purpose.

    python bench/make_checkpoint.py model --size 8GB
    python bench/checkpoint.py model --work . --pairs 5 --kills 10

Copies and pruning take turns, so that what else the machine does is shared; the copy's files are in
the page cache for both, and both write to a new folder. The result is verified, and a few tensors of
it are compared with NumPy. The peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import prunepack as pp
from prunepack._leftovers import is_leftover_name
from prunepack._source import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS: dict[str, tuple[list[str], pp.Pattern]] = {
    "2:4": (["--nm", "2:4"], pp.NM(2, 4)),
    "75 %": (["--sparsity", "0.75"], pp.Unstructured(0.75)),
    "global 60 %": (
        ["--sparsity", "0.6", "--scope", "model"],
        pp.Unstructured(0.6, scope="model"),
    ),
}

# The high-water mark of this process alone: getrusage would begin with that of its parent.
PEAK = """
import json, re, sys
from pathlib import Path
from prunepack._cli import main
status = main(sys.argv[1:])
peak = re.search("VmHWM:[^0-9]*([0-9]+)", Path("/proc/self/status").read_text())
print(json.dumps({"status": status, "peak": 1024 * int(peak[1])}))
"""


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def copy(source: Path, target: Path) -> None:
    """Copy a folder with cp."""
    subprocess.run(["cp", "-rL", str(source), str(target)], check=True)


def race(source: Path, work: Path, words: list[str], pairs: int) -> tuple[list[float], int, float]:
    """Return how many times faster than cp each was, the peak memory in bytes, the last seconds."""
    ratios, peak, by_pruning = [], 0, 0.0
    for _ in range(pairs):
        copied, pruned = work / "copied", work / "pruned"
        shutil.rmtree(pruned, ignore_errors=True)
        by_copy = seconds(lambda: copy(source, work / "copied"))
        shutil.rmtree(copied)
        line = [sys.executable, "-c", PEAK, "prune", str(source), str(pruned), *words, "--json"]
        done = subprocess.run(line, check=True, capture_output=True, text=True)
        report, _, end = done.stdout.rpartition("\n{")
        peak = max(peak, json.loads("{" + end)["peak"])
        # What the command itself reports: Python takes 0.2 s to start, whatever the size.
        by_pruning = json.loads(report)["seconds"]
        ratios.append(by_copy / by_pruning)
        print(f"  cp {by_copy:.2f} s, prunepack {by_pruning:.2f} s", flush=True)
    return ratios, peak, by_pruning


def check(source: Path, pruned: Path, pattern: pp.Pattern) -> None:
    """Raise unless all tensors follow the pattern, and some are what NumPy says."""
    assert pp.verify_checkpoint(pruned, pattern).ok
    with open_checkpoint(source) as before, open_checkpoint(pruned) as after:
        names = [name for name in before.names if after.info(name).packed]
        others = [name for name in before.names if name not in names]
        cuts = []
        for name in random.sample(names, min(3, len(names))):
            w: Any = before.read(name)
            packed: Any = after.read(name)
            key = np.abs(w.astype(np.float32))
            if pattern == WAYS["global 60 %"][1]:
                kept = np.unpackbits(packed.mask, axis=1, count=w.shape[-1], bitorder="little") == 1
                cuts.append((key[~kept].max(initial=0), key[kept].min(initial=np.inf)))
            elif isinstance(pattern, pp.NM):
                order = np.argsort(key.reshape(-1, pattern.m), axis=1, kind="stable")
                kept = np.ones(order.shape, bool)
                np.put_along_axis(kept, order[:, : pattern.n], values=False, axis=1)
            else:
                kept = np.ones(w.size, bool)
                order = np.argsort(key, axis=None, kind="stable")
                kept[order[: pattern.target(w.shape)]] = False
            expected = np.where(kept.reshape(w.shape), w, np.zeros((), w.dtype))
            assert packed.to_dense().tobytes() == expected.tobytes(), name
        # One cut for all tensors.
        assert all(pruned <= kept for pruned, _ in cuts for _, kept in cuts)
        for name in others:
            same: Any = after.read(name)
            was: Any = before.read(name)
            assert np.array_equal(was.view(np.uint8), same.view(np.uint8)), name


def kill(source: Path, work: Path, words: list[str], kills: int, lasts: float) -> None:
    """Kill the command at random moments, and say what is at the target after each."""
    target = work / "killed"
    shutil.rmtree(target, ignore_errors=True)
    pp.unpack_checkpoint(source, target)
    old = state(target)
    line = [sys.executable, "-m", "prunepack", "prune", str(source), str(target), *words]
    new = None
    for number in range(1, kills + 1):
        wait = random.uniform(0.2, 0.3 + lasts)
        with subprocess.Popen([*line, "--quiet"], stderr=subprocess.DEVNULL) as process:
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        ended = "killed" if process.returncode == -signal.SIGKILL else "had ended"
        found = state(target)
        if found != old and new is None:
            pp.inspect_checkpoint(target)
            new = found
        told = "old" if found == old else "new" if found == new else "BROKEN"
        left = [path.name for path in work.iterdir() if is_leftover_name(path.name)]
        print(f"  {number:2}: after {wait:.2f} s {ended}, target {told}, left behind: {len(left)}")
        assert told != "BROKEN"
    subprocess.run(line, check=True, capture_output=True)
    left = [path.name for path in work.iterdir() if is_leftover_name(path.name)]
    print(f"  run to its end: left behind: {len(left)}")
    assert not left
    shutil.rmtree(target)


def state(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return the files of a folder with their sizes, which differ between the two checkpoints."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple((str(path.relative_to(folder)), path.stat().st_size) for path in files)


def main() -> None:
    """Read the command line, race, check and kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--work", type=Path, default=Path(), help="where results go, and go again")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kills", type=int, default=10)
    options = parser.parse_args()
    work: Path = options.work / "bench-checkpoint"
    work.mkdir()
    nbytes = sum(size for _, size in state(options.source))
    lasts = 1.0
    for name, (words, pattern) in WAYS.items():
        print(f"{name}, {nbytes / 1e9:.2f} GB", flush=True)
        ratios, peak, lasts = race(options.source, work, words, options.pairs)
        check(options.source, work / "pruned", pattern)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(
            f"  {statistics.median(ratios):.2f} x cp ({spread}), peak {peak / 2**20:.0f} MiB,",
            end="",
        )
        print(" verified", flush=True)
    if options.kills:
        print(f"kill -9, {options.kills} times", flush=True)
        kill(options.source, work, WAYS["2:4"][0], options.kills, lasts)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
