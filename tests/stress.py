"""Call everything from many threads at once, and again in forked children; compare with one thread.

    python tests/stress.py [--seconds N] [--threads N] [--forks]

tests/test_stress.py runs it for a moment. Exits with 1 if any result differs, and names the call.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import prunepack as pp
from folders import write_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    Calls = dict[str, Callable[[], object]]


def fingerprint(result: Any) -> object:
    """Return what two results must agree in."""
    if isinstance(result, np.ndarray):
        return result.tobytes()
    if isinstance(result, pp.Mask):
        return result.bits.tobytes()
    if isinstance(result, pp.PackedTensor):
        return result.mask.tobytes(), result.values.tobytes()
    if isinstance(result, dict):
        return {name: fingerprint(each) for name, each in result.items()}
    return result


def all_calls(folder: Path) -> Calls:
    """Return calls that share their arguments, as threads of one program do."""
    generator = np.random.default_rng(0)
    w = generator.standard_normal((203, 1009)).astype(np.float32)
    half = w.astype(np.float16)
    x = generator.standard_normal((5, 1009)).astype(np.float32)
    shared = pp.pack(w, pp.prune_mask(w, pp.Unstructured(0.75)))
    layer = pp.PackedLinear(shared, bias=np.ones(203, np.float32))
    mask = pp.prune_mask(half, pp.NM(2, 4))
    model = folder / "model.safetensors"
    pp.save_file({"a.weight": w, "b.weight": half, "b.bias": x[0]}, model)
    sharded = write_folder(folder / "sharded")
    fresh = [pp.PackedTensor(shared.shape, shared.dtype, shared.mask, shared.values)]

    def prepared_for_the_first_time() -> Any:
        """Race to prepare one tensor, which is a new one from time to time."""
        packed = fresh[0]
        y = pp.linear(x, packed, num_threads=2)
        if random.random() < 0.2:
            fresh[0] = pp.PackedTensor(shared.shape, shared.dtype, shared.mask, shared.values)
        return y

    def pruned_file() -> Any:
        target = folder / f"{os.getpid()}-{threading.get_ident()}.safetensors"
        pp.prune_checkpoint(model, target, pp.NM(2, 4), num_threads=2)
        octets = target.read_bytes()
        target.unlink()
        return octets

    def unpacked_file() -> Any:
        target = folder / "same for all.safetensors"
        pp.prune_checkpoint(model, target, pp.NM(2, 4), num_threads=1)
        return pp.load_file(target)

    def written_folder() -> Any:
        """Write a folder that all write, while some are seeing what is there."""
        report = pp.prune_checkpoint(sharded, folder / "one folder", pp.NM(2, 4), num_threads=1)
        return report.bytes_after

    return {
        "prune_checkpoint to one folder": written_folder,
        "prune_mask": lambda: pp.prune_mask(w, pp.Unstructured(0.5), num_threads=3),
        "prune_mask of rows": lambda: pp.prune_mask(half, pp.Unstructured(0.5, "row")),
        "prune": lambda: pp.prune(half, pp.NM(14, 16), num_threads=2),
        "prune by blocks": lambda: pp.prune(w, pp.Block((4, 1), 0.5), num_threads=2),
        "prune_masks": lambda: pp.prune_masks({"a": w, "b": half}, pp.Unstructured(0.5, "model")),
        "pack": lambda: pp.pack(w, num_threads=3),
        "pack with a mask": lambda: pp.pack(half, mask, num_threads=2),
        "to_dense": lambda: shared.to_dense(num_threads=3),
        "linear": lambda: pp.linear(x, shared, num_threads=3),
        "prepare and linear": prepared_for_the_first_time,
        "layout": lambda: pp.linear(x, shared.prepare("index"), num_threads=2),
        "PackedLinear": lambda: layer(x),
        "prune_checkpoint": pruned_file,
        "prune_checkpoint to one target": unpacked_file,
        "load_file": lambda: pp.load_file(model),
    }


class Stress:
    """Threads that make random calls until it is time."""

    def __init__(self, calls: Calls, threads: int) -> None:
        self._calls = calls
        self._expected = {name: fingerprint(call()) for name, call in calls.items()}
        self._threads = threads
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self, seconds: float, least: int) -> None:
        """Let all threads call for so long, and each at least so often."""
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._work, args=(seed, until, least), daemon=True)
            for seed in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, seed: int, until: float, least: int) -> None:
        chosen = random.Random(seed)
        names = list(self._calls)
        done = 0
        while done < least or time.monotonic() < until:
            name = names[(seed + done) % len(names)] if done < least else chosen.choice(names)
            try:
                if fingerprint(self._calls[name]()) != self._expected[name]:
                    self.wrong.append(f"{name}: another result")
            except BaseException:  # noqa: BLE001  # whatever it is, it must be told
                self.wrong.append(f"{name}: {traceback.format_exc()}")
            self.done[name] += 1
            done += 1

    def fork(self, number: int) -> int:
        """Fork while threads work; the child makes every call. Returns how many children failed."""
        failed = 0
        for _ in range(number):
            child = os.fork()
            if child == 0:
                for name, call in self._calls.items():
                    if fingerprint(call()) != self._expected[name]:
                        os._exit(1)
                os._exit(0)
            failed += os.waitpid(child, 0)[1] != 0
        return failed


def main() -> int:
    """Run for as long as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--least", type=int, default=15, help="calls of each thread")
    parser.add_argument("--forks", type=int, default=0, help="children, made while threads work")
    options = parser.parse_args()
    sys.setswitchinterval(1e-4)
    folder = Path(tempfile.mkdtemp(prefix="prunepack-stress-"))
    stress = Stress(all_calls(folder), options.threads)
    forking: list[int] = []
    forker = threading.Thread(target=lambda: forking.append(stress.fork(options.forks)))
    forker.start()
    stress.run(options.seconds, options.least)
    forker.join()
    shutil.rmtree(folder)
    print(f"{stress.done.total()} calls on {options.threads} threads, {options.forks} children,")
    print(f"{len(stress.wrong)} results differ, {forking[0]} children failed")
    print("\n".join(stress.wrong[:5]))
    return int(bool(stress.wrong) or forking[0] > 0)


if __name__ == "__main__":
    sys.exit(main())
