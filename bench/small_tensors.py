"""Time calls with a small tensor, Python to Python, beside `np.abs` on the same one.

    python bench/small_tensors.py
    python bench/small_tensors.py --size 128 --seconds 2 --markdown

On 64 x 64 weights the kernels take less than a microsecond: what is left is what a call costs. All
take turns in one process, as a user would call them, and the medians of the ratios of their times
count.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

import prunepack as pp
from prunepack._bench._contest import take_turns
from prunepack._bench._machine import machine, versions
from report import print_table

if TYPE_CHECKING:
    from prunepack._bench._contest import Work

REFERENCE = "np.abs"
GOAL = 10
COLUMNS = ("call", "us", f"x {REFERENCE}", "p10-p90", f"at most {GOAL}", "rounds")


def main() -> int:
    """Print the table."""
    options = _parse()
    w = np.random.default_rng(0).standard_normal((options.size, options.size), np.float32)
    works = {REFERENCE: lambda: np.abs(w), **_calls(w)}
    outcome = take_turns(works, threads=1, seconds=options.seconds)
    rows = []
    for name in works:
        p10, ratio, p90 = outcome.times_faster(REFERENCE, name)
        rows.append(
            [
                name,
                f"{1e6 * outcome.median(name):.2f}",
                f"{ratio:.1f}",
                f"{p10:.1f}-{p90:.1f}",
                "yes" if ratio <= GOAL else "no",
                str(len(outcome.seconds[name])),
            ]
        )
    print_table(_title(options.size), COLUMNS, rows, markdown=options.markdown)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=64, help="rows, and columns")
    parser.add_argument("--seconds", type=float, default=2, help="for all together")
    parser.add_argument("--markdown", action="store_true", help="print a markdown table")
    return parser.parse_args()


def _calls(w: np.ndarray) -> dict[str, Work]:
    half, nm, block = pp.Unstructured(0.5), pp.NM(2, 4), pp.Block((4,), 0.5)
    pruned = pp.prune(w, nm)
    mask, packed, out = pp.prune_mask(w, nm), pp.pack(pruned), np.empty_like(w)
    layer, x = pp.PackedLinear(packed, w[0]), w[:1]
    return {
        "prune_mask, 2:4": lambda: pp.prune_mask(w, nm),
        "prune_mask, 50 %": lambda: pp.prune_mask(w, half),
        "prune_mask, blocks of 4": lambda: pp.prune_mask(w, block),
        "prune, 2:4": lambda: pp.prune(w, nm),
        "prune, 2:4, out=": lambda: pp.prune(w, nm, out=out),
        "prune, 50 %": lambda: pp.prune(w, half),
        "apply_mask": lambda: pp.apply_mask(w, mask),
        "pack": lambda: pp.pack(pruned),
        "pack with a mask": lambda: pp.pack(w, mask),
        "to_dense": lambda: packed.to_dense(),
        "linear, a row": lambda: pp.linear(x, packed),
        "PackedLinear, a row": lambda: layer(x),
    }


def _title(size: int) -> str:
    packages = ", ".join(f"{name} {found}" for name, found in versions().items())
    today = time.strftime("%Y-%m-%d")
    return f"{size} x {size} float32, {pp.isa()}, {machine()}, {packages}, {today}"


if __name__ == "__main__":
    sys.exit(main())
