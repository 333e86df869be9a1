"""How much memory a call takes beside its result, and that none is lost over many calls.

Each part runs in a process of its own, where nothing else comes and goes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc"
)

CALLS = os.environ.get("PRUNEPACK_LEAK_CALLS", "600")
CALLS_ON_FILES = os.environ.get("PRUNEPACK_LEAK_CALLS", "120")
"""Ten thousand of each are run by hand; what a call loses shows in fewer."""

BESIDE_PAGES = 4 << 20
"""Large arrays take whole pages of 2 MiB, which small results are no multiple of."""

STATUS = """
import ctypes, gc, json, re, sys
import numpy as np
import prunepack as pp

def status(key):
    return 1024 * int(re.search(key + r":\\s*(\\d+)", open("/proc/self/status").read())[1])
"""

PEAKS = (
    STATUS
    + """
import ml_dtypes

libc = ctypes.CDLL(None)

def peak(work):
    gc.collect()
    libc.malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    result = work()
    return status("VmHWM") - before, result

threads = int(sys.argv[1])
patterns = [pp.Unstructured(0.5), pp.NM(2, 4, axis=0), pp.Block((4, 1), 0.5), pp.Unstructured(0.99)]
random = np.random.default_rng(0).standard_normal(16 << 20, np.float32)
pp.pack(pp.prune(random[:1 << 16], patterns[0], num_threads=threads))  # once, for what is kept
for dtype in (np.float32, ml_dtypes.bfloat16, np.int8):
    size = (64 << 20) // np.dtype(dtype).itemsize
    w = np.resize((random * 20).astype(dtype), (2048, size // 2048))
    for pattern in patterns:
        taken, dense = peak(lambda: pp.prune(w, pattern, num_threads=threads))
        found = {"prune": (taken, dense.nbytes)}
        taken, packed = peak(lambda: pp.pack(dense, num_threads=threads))
        found["pack"] = taken, packed.nbytes
        del packed
        mask = pp.prune_mask(w, pattern, num_threads=threads)
        taken, packed = peak(lambda: pp.pack(w, mask, num_threads=threads))
        found["pack with a mask"] = taken, packed.nbytes
        del dense
        taken, dense = peak(lambda: packed.to_dense(num_threads=threads))
        found["to_dense"] = taken, dense.nbytes
        for name, (taken, nbytes) in found.items():
            print(json.dumps([f"{name} {np.dtype(dtype).name} {pattern}", taken, nbytes]))
        del dense, packed, mask
"""
)

LEAKS = (
    STATUS
    + """
import os, tempfile
from pathlib import Path

calls, calls_on_files = map(int, sys.argv[1:])
random = np.random.default_rng(0)
w = random.standard_normal((64, 64)).astype(np.float32)
x = np.ones((3, 64), np.float32)
mask = pp.prune_mask(w, pp.NM(2, 4))
packed = pp.pack(w, mask)
parts = packed.shape, packed.dtype, packed.mask, packed.values
prepared = packed.prepare()
layer = pp.PackedLinear(packed, bias=np.ones(64, np.float32))
many = {"a": w, "b": w + 1}
everywhere = pp.Unstructured(0.5, scope="model")
folder = Path(tempfile.mkdtemp())
model, result = folder / "model.safetensors", folder / "result.safetensors"
small = folder / "packed.safetensors"
pp.save_file({"w": w, "b": x}, model)
pp.save_file({"w": packed, "b": x}, small)
pp.save_file({"w": w}, folder / "w.npz")
masks = folder / "masks.safetensors"
pp.mask_checkpoint(model, masks, pp.NM(2, 4))
broken = folder / "broken.safetensors"
broken.write_bytes(small.read_bytes()[:-8])
rules = folder / "rules.toml"
rules.write_text('[[rule]]\\nname = "w"\\nnm = "2:4"\\n')

def failing(work, *errors):
    def call():
        try:
            work()
        except errors or (TypeError, ValueError):
            return
        raise AssertionError("must fail")
    return call

quick = {
    "prune_mask": lambda: pp.prune_mask(w, pp.NM(2, 4), num_threads=1),
    "prune_mask on threads": lambda: pp.prune_mask(w, pp.Unstructured(0.5), num_threads=3),
    "prune": lambda: pp.prune(w, pp.Unstructured(0.5, "row"), num_threads=1),
    "prune by blocks": lambda: pp.prune(w, pp.Block((4, 1), 0.5), num_threads=1),
    "prune_masks": lambda: pp.prune_masks(many, everywhere),
    "apply_mask": lambda: pp.apply_mask(w, mask),
    "pack": lambda: pp.pack(w, mask, num_threads=1),
    "pack on threads": lambda: pp.pack(w, num_threads=3),
    "pack through DLPack": lambda: pp.pack(w.view()),
    "PackedTensor": lambda: pp.PackedTensor(*parts),
    "to_dense": lambda: packed.to_dense(num_threads=1),
    "to_mask": lambda: packed.to_mask().to_bool(),
    "prepare": lambda: [pp.PackedTensor(*parts).prepare(layout) for layout in
                        (None, "dense", "bitmask", "nm4", "nm16", "blocks", "index", "csr")],
    "linear": lambda: pp.linear(x, packed, num_threads=1),
    "linear on threads": lambda: pp.linear(x, prepared, num_threads=3),
    "@": lambda: packed @ w,
    "PackedLinear": lambda: layer(x),
    "verify": lambda: pp.verify(w, pp.NM(2, 4)),
    "a wrong dtype": failing(lambda: pp.prune(np.ones(4, complex), pp.NM(2, 4))),
    "a wrong shape": failing(lambda: pp.pack(w, mask.to_bool()[:5])),
    "a wrong part": failing(lambda: pp.PackedTensor(*parts[:3], packed.values[1:])),
    "a wrong x": failing(lambda: pp.linear(x[:, 1:], packed)),
}
on_files = {
    "load_rules": lambda: pp.load_rules(rules),
    "load_file": lambda: pp.load_file(small),
    "load_file copies": lambda: pp.load_file(small, mapped=False),
    "load_file of npz": lambda: pp.load_file(folder / "w.npz"),
    "load_file of a broken file": failing(lambda: pp.load_file(broken)),
    "save_file": lambda: pp.save_file({"w": packed, "b": x}, result),
    "prune_checkpoint": lambda: pp.prune_checkpoint(model, result, pp.NM(2, 4), num_threads=2),
    "pack_checkpoint": lambda: pp.pack_checkpoint(model, result, num_threads=1),
    "unpack_checkpoint": lambda: pp.unpack_checkpoint(small, result, num_threads=1),
    "mask_checkpoint": lambda: pp.mask_checkpoint(model, result, pp.NM(2, 4), num_threads=1),
    "apply_masks": lambda: pp.apply_masks(masks, model, result, num_threads=1),
    "inspect_checkpoint": lambda: pp.inspect_checkpoint(small, num_threads=1),
    "verify_checkpoint": lambda: pp.verify_checkpoint(model, pp.NM(0, 4), num_threads=1),
    "a broken checkpoint": failing(lambda: pp.prune_checkpoint(broken, result, pp.NM(2, 4))),
}

def state():
    gc.collect()
    return sys.getallocatedblocks(), status("VmRSS"), len(os.listdir("/proc/self/fd"))

WINDOWS = 4
for functions, count in ((quick, calls), (on_files, calls_on_files)):
    for name, call in functions.items():
        for _ in range(count // 4 + 400):  # until caches are full
            call()
        states = [state()]
        for _ in range(WINDOWS):
            for _ in range(count // WINDOWS):
                call()
            states.append(state())
        blocks, resident, files = zip(*states)
        print(json.dumps([name, count, blocks, resident, files]), flush=True)
"""
)


def run(code: str, *words: str) -> list[Any]:
    result = subprocess.run(
        [sys.executable, "-c", code, *words], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_temporaries_are_small_beside_the_result(threads: str) -> None:
    measured = run(PEAKS, threads)
    assert len(measured) == 3 * 4 * 4
    excessive = [
        (what, taken / nbytes)
        for what, taken, nbytes in measured
        if taken > 1.3 * nbytes + BESIDE_PAGES
    ]
    assert excessive == []
    assert max(taken / nbytes for _, taken, nbytes in measured) > 0.5  # or nothing was measured


def test_no_call_loses_memory() -> None:
    lost: list[object] = []
    for name, count, blocks, resident, files in run(LEAKS, CALLS, CALLS_ON_FILES):
        # What is lost is lost by each call in each window; what caches keep is not.
        growing = [later - sooner for sooner, later in pairwise(blocks)]
        pages = [later - sooner for sooner, later in pairwise(resident)]
        if min(growing) >= count // 4 or (min(pages) > 0 and sum(pages) > 48 * count):
            lost.append((name, count, growing, pages))
        if files[-1] > files[0]:
            lost.append((name, count, "open files", files))
    assert lost == []
