"""Kill commands at random moments, and look at what is at the target after each.

    python tests/faults/kill.py FOLDER [--kills N]

SIGKILL and SIGINT by turns, for prune, pack and unpack, of a file, of a folder and in place. Exits
with 1 if a target was neither the old nor the new one, or if the run after a kill left anything.
strike.py does the same before each single call; here nothing is preloaded.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import prunepack as pp
from faults.strike import restore, state
from folders import SHARDS, write_folder
from prunepack._leftovers import is_leftover_name

COMMANDS = {
    "prune a file": (
        ["prune", "model.safetensors", "out.safetensors", "--nm", "2:4"],
        "out.safetensors",
    ),
    "prune in place": (["prune", "model", "--nm", "2:4", "--in-place"], "model"),
    "pack": (["pack", "sparse", "out"], "out"),
    "unpack": (["unpack", "packed", "out"], "out"),
}


def prepare(folder: Path) -> None:
    """Write models of a few megabytes, so that a run takes a while."""
    generator = np.random.default_rng(0)
    tensors = {
        f"layers.{i}.weight": generator.standard_normal((512, 1024)).astype(np.float32)
        for i in range(12)
    }
    sparse = {name: pp.prune(w, pp.NM(2, 4)) for name, w in tensors.items()}
    write_folder(folder / "model", tensors, SHARDS)
    write_folder(folder / "sparse", sparse, SHARDS)
    pp.save_file(tensors, folder / "model.safetensors")
    pp.pack_checkpoint(folder / "sparse", folder / "packed")
    write_folder(folder / "out", {"old.weight": np.ones((64, 64), np.float32)})
    pp.save_file({"old": np.ones(5)}, folder / "out.safetensors")


def command(words: list[str]) -> list[str]:
    """Return the line that runs a command of prunepack."""
    return [sys.executable, "-m", "prunepack", *words, "--quiet"]


def start(words: list[str], work: Path) -> subprocess.Popen[bytes]:
    """Start a command, and wait until it has begun to write: what comes before is no test."""
    process = subprocess.Popen(
        command(words), cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not leftovers(work):
        time.sleep(0.0005)
    return process


def leftovers(work: Path) -> list[Path]:
    """Return the temporary files and folders there are."""
    return [path for path in work.iterdir() if is_leftover_name(path.name)]


def main() -> int:
    """Kill as often as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to work; may be empty or not exist")
    parser.add_argument("--kills", type=int, default=100)
    options = parser.parse_args()
    # A shell has background jobs ignore it, and so would the commands.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options.folder.mkdir(exist_ok=True)
    pristine, work = options.folder / "pristine", options.folder / "work"
    shutil.rmtree(pristine, ignore_errors=True)
    pristine.mkdir()
    prepare(pristine)
    outcomes: Counter[str] = Counter()
    for name, (words, target) in COMMANDS.items():
        restore(pristine, work)
        old = state(work / target)
        with start(words, work) as process:
            begun = time.monotonic()
        lasts = time.monotonic() - begun
        assert process.returncode == 0
        new = state(work / target)
        for turn in range(-(-options.kills // len(COMMANDS))):
            number = signal.SIGKILL if turn % 2 else signal.SIGINT
            restore(pristine, work)
            with start(words, work) as process:
                time.sleep(random.uniform(0, 1.1 * lasts))
                process.send_signal(number)
            there = state(work / target)
            place = "old" if there == old else "new" if there == new else "MIXTURE"
            if leftovers(work):
                subprocess.run(command(words), check=True, cwd=work)
                place += ", LEFT FOR EVER" if leftovers(work) else ", leftovers"
            outcomes[f"{name}: {number.name}: {place}"] += 1
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:4} {outcome}")
    return int(any(word in outcome for outcome in outcomes for word in ("MIXTURE", "EVER")))


if __name__ == "__main__":
    sys.exit(main())
