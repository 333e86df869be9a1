"""Time prunepack's Python functions beside NumPy, SciPy, torch and others.

    python bench/compare_peers.py
    python bench/compare_peers.py --mib 8 64 --threads 2 --markdown

prunepack and a peer take turns in one process, and the median of the ratios of their times counts.
Results are compared before anything is timed. NumPy is measured twice: as it is, and in a process
of its own without its AVX-512 code, which is the faster one on some CPUs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

import prunepack as pp
from peers import NAMES, Recipe, Task, all_tasks, find_peer
from report import print_table

COLUMNS = ("task", "MiB", "peer", "prunepack GB/s", "peer GB/s", "times faster", "p10-p90", "pairs")
WITHOUT_AVX512 = "NumPy without AVX-512"
COLUMNS_OF_WEIGHTS = 4096
FEWEST_PAIRS, MOST_PAIRS = 3, 101


class Result(TypedDict):
    """The medians of one task and one peer, and how the ratios spread."""

    task: str
    mib: int
    peer: str
    ours: float
    theirs: float
    faster: float
    p10: float
    p90: float
    pairs: int


def main() -> int:
    """Print the table; return 1 if a peer's result disagrees."""
    options = _parse()
    logging.disable(logging.WARNING)  # coremltools warns of every module it lacks
    peers = {}
    for name in options.peers:
        try:
            peers[name] = find_peer(name)
        except ImportError as error:
            print(f"{name}: skipped, {error}", file=sys.stderr)
    results, wrong = _measure(options, peers)
    if options.json:
        print(json.dumps(results))
        return 1 if wrong else 0
    if "NumPy" in peers:
        results += _measure_numpy_without_avx512(options)
    order = {task: i for i, task in enumerate(dict.fromkeys(r["task"] for r in results))}
    results.sort(key=lambda r: (r["mib"], order[r["task"]]))
    print_table(_title(options), COLUMNS, [_row(r) for r in results], markdown=options.markdown)
    return 1 if wrong else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--mib", type=int, nargs="+", default=[64], help="sizes of the weights")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--threads", type=int, default=1, help="of prunepack and of torch")
    parser.add_argument("--peers", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--filter", default="", help="a regular expression on the task")
    parser.add_argument(
        "--seconds", type=float, default=2, help="for each pair, once it was timed three times"
    )
    parser.add_argument("--markdown", action="store_true", help="print a markdown table")
    parser.add_argument("--json", action="store_true", help="print numbers only")
    return parser.parse_args()


def _measure(options: argparse.Namespace, peers: dict[str, Any]) -> tuple[list[Result], bool]:
    # CPU time leaves out what else the machine does, but knows only one thread.
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    results, wrong = [], False
    for mib in options.mib:
        for task in all_tasks(_weights(mib, options.dtype), options.threads, peers):
            if not re.search(options.filter, task.name):
                continue
            for peer, recipe in task.peers.items():
                if not _agrees(task, recipe):
                    print(f"{task.name}: {peer} gives another result", file=sys.stderr)
                    wrong = True
                    continue
                ours, theirs = _take_turns(task.ours.run, recipe.run, clock, options.seconds)
                results.append(_result(task.name, mib, peer, ours, theirs))
                print(f"{task.name}, {mib} MiB, {peer}: done", file=sys.stderr)
    return results, wrong


def _weights(mib: int, dtype: str) -> np.ndarray[Any, np.dtype[Any]]:
    rows = (mib << 20) // np.dtype(dtype).itemsize // COLUMNS_OF_WEIGHTS
    normal = np.random.default_rng(42).standard_normal((rows, COLUMNS_OF_WEIGHTS), np.float32)
    return normal.astype(dtype)


def _agrees(task: Task, recipe: Recipe) -> bool:
    return task.agree(task.ours.view(task.ours.run()), recipe.view(recipe.run()))


def _take_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], clock: Callable[[], float], seconds: float
) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < FEWEST_PAIRS or (
        time.perf_counter() < end and len(times[0]) < MOST_PAIRS
    ):
        for run, taken in zip((ours, theirs), times, strict=True):
            start = clock()
            run()
            taken.append(max(clock() - start, 1e-9))
    return times


def _result(task: str, mib: int, peer: str, ours: list[float], theirs: list[float]) -> Result:
    ratios = np.divide(theirs, ours)
    p10, faster, p90 = (float(x) for x in np.quantile(ratios, [0.1, 0.5, 0.9]))
    gigabytes = mib * 2**20 / 1e9
    return {
        "task": task,
        "mib": mib,
        "peer": peer,
        "ours": gigabytes / float(np.median(ours)),
        "theirs": gigabytes / float(np.median(theirs)),
        "faster": faster,
        "p10": p10,
        "p90": p90,
        "pairs": len(ours),
    }


def _measure_numpy_without_avx512(options: argparse.Namespace) -> list[Result]:
    features = _avx512_features()
    if not features:
        print(f"{WITHOUT_AVX512}: it uses none here, skipped", file=sys.stderr)
        return []
    command = [sys.executable, "-W", "ignore", __file__, "--json", "--peers", "NumPy"]
    command += ["--dtype", options.dtype, "--threads", str(options.threads)]
    command += ["--filter", options.filter, "--seconds", str(options.seconds)]
    command += ["--mib", *map(str, options.mib)]
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(features)}
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode != 0:
        print(f"{WITHOUT_AVX512}: exit status {child.returncode}, skipped", file=sys.stderr)
        return []
    results: list[Result] = json.loads(child.stdout)
    for result in results:
        result["peer"] = WITHOUT_AVX512
    return results


def _avx512_features() -> list[str]:
    """Return what this NumPy dispatches to and this CPU has; the names change with its version."""
    core: Any = sys.modules.get("numpy._core._multiarray_umath")
    core = core or sys.modules["numpy.core._multiarray_umath"]
    return [
        name
        for name in core.__cpu_dispatch__
        if (name.startswith("AVX512") or name == "X86_V4") and core.__cpu_features__.get(name)
    ]


def _row(result: Result) -> list[str]:
    return [
        result["task"],
        str(result["mib"]),
        result["peer"],
        f"{result['ours']:.2f}",
        f"{result['theirs']:.3f}",
        f"{result['faster']:.1f}",
        f"{result['p10']:.1f}-{result['p90']:.1f}",
        str(result["pairs"]),
    ]


def _title(options: argparse.Namespace) -> str:
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    installed = ", ".join(
        f"{package} {found}"
        for package in ("numpy", "scipy", "torch", "compressed-tensors", "coremltools")
        if (found := _version(package))
    )
    today = time.strftime("%Y-%m-%d")
    return f"{options.dtype}, {threads}, {pp.isa()}, {_cpu()}, {installed}, {today}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    return model[1] if model else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
