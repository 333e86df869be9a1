"""Run the benchmarks that have a goal, and say which goals are met.

    python bench/goals.py build/bench/bench/prunepack_bench
    python bench/goals.py results.json --markdown

The goals are in goals.toml. The argument is the harness, which is run, or the JSON of an earlier
run of it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from report import print_table

COLUMNS = (
    "operation",
    "dtype",
    "ISA",
    "reference",
    "goal",
    "one thread",
    "p10-p90",
    "x READ",
    "met",
    "two threads",
    "reference's",
    "met",
)


@dataclass(frozen=True)
class Goal:
    """What one operation is to reach on one ISA."""

    operation: str
    benchmark: str
    dtype: str
    isa: str
    reference: str
    ratio: float

    def name(self, size: int, threads: int) -> str:
        """Return what the harness calls it."""
        return f"{self.benchmark}_{self.dtype}/{self.isa}/bytes:{size}/threads:{threads}"


Results = dict[str, dict[str, Any]]


def main() -> int:
    """Print the table; return 1 if a result is missing or wrong."""
    options = _parse()
    two_threads, goals = _read_goals()
    goals = [goal for goal in goals if re.search(options.filter, f"{goal.benchmark}_{goal.dtype}")]
    goals = [goal for goal in goals if not options.isa or goal.isa in options.isa]
    if options.source.suffix == ".json":
        run = json.loads(options.source.read_text())
    else:
        run = _run(options.source, goals, options)
    results: Results = {
        entry["name"].removesuffix("/manual_time"): entry
        for entry in run["benchmarks"]
        if entry["run_type"] == "iteration"
    }
    rows = [list(_row(goal, results, options.size, two_threads)) for goal in goals]
    print_table(_title(run["context"], options.size), COLUMNS, rows, markdown=options.markdown)
    met, scaled = (
        sum(row[i] == "yes" for row in rows) for i, title in enumerate(COLUMNS) if title == "met"
    )
    print(f"\n{met} of {len(rows)} goals met on one thread, {scaled} on two")
    wrong = [name for name, entry in results.items() if entry.get("error_occurred")]
    for name in wrong:
        print(f"{name}: {results[name]['error_message']}", file=sys.stderr)
    return 1 if wrong else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("source", type=Path, help="the harness prunepack_bench, or its JSON")
    parser.add_argument("--markdown", action="store_true", help="print a markdown table")
    parser.add_argument("--filter", default="", help="a regular expression on operation_dtype")
    parser.add_argument("--isa", action="append", default=[], help="only this ISA; may be repeated")
    parser.add_argument("--size", type=int, default=256 << 20, help="bytes of the dense tensor")
    parser.add_argument("--min-time", default="0.1", help="seconds of each benchmark, at least")
    parser.add_argument("--out", type=Path, help="keep the JSON of the run here")
    return parser.parse_args()


def _read_goals() -> tuple[float, list[Goal]]:
    content = tomllib.loads(Path(__file__).with_name("goals.toml").read_text())
    goals = [
        Goal(entry["operation"], entry["benchmark"], dtype, isa, entry["reference"], ratio)
        for entry in content["goal"]
        for isa in ("avx512", "avx2")
        for dtype, ratio in entry.get(isa, {}).items()
    ]
    return float(content["two_threads"]), goals


def _run(harness: Path, goals: list[Goal], options: argparse.Namespace) -> dict[str, Any]:
    names = sorted({re.escape(f"{goal.benchmark}_{goal.dtype}/{goal.isa}") for goal in goals})
    wanted = f"^({'|'.join(names)})/bytes:{options.size}/threads"
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder) / "results.json"
        command = [
            str(harness.resolve()),
            f"--bytes={options.size}",
            f"--benchmark_filter={wanted}",
            f"--benchmark_min_time={options.min_time}",
            f"--benchmark_out={out}",
            "--benchmark_out_format=json",
        ]
        # Progress goes to where it is seen but not mixed with the table.
        subprocess.run(command, stdout=sys.stderr, check=True)
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def _row(goal: Goal, results: Results, size: int, two_threads: float) -> Iterator[str]:
    yield from (goal.operation, goal.dtype, goal.isa, goal.reference, f"{goal.ratio:.2f}")
    one = results.get(goal.name(size, 1))
    if one is None or one.get("error_occurred"):
        yield from ("-", "-", "-", "wrong" if one else "-")
    else:
        ratio = float(one[f"x{goal.reference}"])
        yield f"{ratio:.2f}"
        yield f"{one['p10']:.2f}-{one['p90']:.2f}"
        yield f"{one['xREAD']:.2f}" if goal.reference == "DENSE" else "-"
        yield _yes(round(ratio, 2) >= goal.ratio)
    two = results.get(goal.name(size, 2))
    if two is None or two.get("error_occurred"):
        yield from ("-", "-", "wrong" if two else "-")
        return
    speedup, possible = round(two["speedup"], 2), round(two["reference_speedup"], 2)
    yield f"{speedup:.2f}"
    yield f"{possible:.2f}"
    yield _yes(speedup >= (two_threads if possible >= two_threads else 1))


def _yes(met: bool) -> str:
    return "yes" if met else "no"


def _title(context: dict[str, Any], size: int) -> str:
    date = context["date"].split("T")[0]
    return (
        f"{size >> 20} MiB, {context['cpu_model']}, {context['num_cpus']} cores, "
        f"{context['compiler']}, {date}"
    )


if __name__ == "__main__":
    sys.exit(main())
