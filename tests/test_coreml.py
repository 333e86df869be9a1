"""Masks against those of Core ML, wherever its rules and ours agree.

`data/coreml_vectors.json` holds what coremltools 9.0 computed. The cases where it differs are
listed below with the reason, and differ still: the lists must be exactly right. Its rules:

- unstructured: zeroes every |w| up to ``np.percentile(|w|, 100 s)``, which is
  ``floor((N - 1) s) + 1`` weights and every tie of the last, where we zero ``round(N s)``;
- blocks: the same percentile over norms kept in the dtype of the weights, which round float16
  norms to ties, and edge blocks padded with zeros;
- a pattern is skipped if it would not help: fewer zeros than `minimum_sparsity_percentile`, or a
  block or group longer than half of the channels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prunepack as pp

CASES = json.loads((Path(__file__).parent / "data" / "coreml_vectors.json").read_text())["cases"]

COUNT = "a percentile is not a count: floor((N - 1) s) + 1 weights are zeroed, not round(N s)"
TIES = "every tie of the last weight is zeroed too"
NORMS = "norms are rounded to float16, so that some tie, and every tie is zeroed"
SKIPPED = "the tensor is left dense"

DIFFERENT = {
    ("docs threshold default min", "float32"): SKIPPED,
    ("n:m skipped m>ch/2", "float32"): SKIPPED,
    ("1..13 s=0.1", "float32"): COUNT,
    ("1..10 s=0.25", "float32"): COUNT,
    ("1..13 s=0.25", "float32"): COUNT,
    ("1..10 s=0.3333", "float32"): COUNT,
    ("1..13 s=0.3333", "float32"): COUNT,
    ("1..13 s=0.5", "float32"): COUNT,
    ("1..10 s=0.75", "float32"): COUNT,
    ("1..13 s=0.9", "float32"): COUNT,
    ("1..13 s=0.99", "float32"): COUNT,
    ("1..13 s=0.1", "float16"): COUNT,
    ("1..10 s=0.25", "float16"): COUNT,
    ("1..13 s=0.25", "float16"): COUNT,
    ("1..13 s=0.3333", "float16"): COUNT,
    ("1..13 s=0.5", "float16"): COUNT,
    ("1..10 s=0.75", "float16"): COUNT,
    ("1..13 s=0.9", "float16"): COUNT,
    ("1..10 s=0.95", "float16"): COUNT,
    ("1..13 s=0.99", "float16"): COUNT,
    ("random 12x20 0.25", "float16"): TIES,
    ("ties all ones", "float32"): TIES,
    ("ties +-1", "float32"): TIES,
    ("block tie", "float32"): TIES,
    ("random 12x20 block3 dim1", "float16"): NORMS,
    ("random conv block2 dim0", "float16"): NORMS,
}


def case_id(case: dict[str, Any]) -> str:
    return f"{case['name']} {case['dtype']}"


def pattern_of(case: dict[str, Any]) -> pp.Unstructured | pp.Threshold | pp.NM | pp.Block:
    args = case["args"]
    if case["fn"] == "threshold":
        return pp.Threshold(args["threshold"])
    if case["fn"] == "nm":
        n, m = args["n_m_ratio"]
        return pp.NM(n, m, args["dim"])
    if "block_size" in args:
        tile = (*(1,) * args["dim"], args["block_size"])
        return pp.Block(tile, args["target_sparsity"])
    return pp.Unstructured(args["target_sparsity"])


def weights_of(case: dict[str, Any]) -> np.ndarray:
    values = np.array([float(value) for value in case["input"]])
    return values.reshape(case["shape"]).astype(case["dtype"])


def flat_bits(p: pp.PackedTensor) -> str:
    """Mask in Core ML's layout, where rows do not start on a byte."""
    rows = np.unpackbits(p.mask, axis=1, bitorder="little", count=p.shape[-1])
    return np.packbits(rows.ravel(), bitorder="little").tobytes().hex()


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_same_as_core_ml_unless_listed(case: dict[str, Any]) -> None:
    w = weights_of(case)
    p = pp.pack(w, pp.prune_mask(w, pattern_of(case)))
    ours = {"mask_hex": flat_bits(p), "nonzero_hex": p.values.tobytes().hex()}
    theirs = {name: (case["result"] or {}).get(name) for name in ours}
    assert (ours != theirs) == ((case["name"], case["dtype"]) in DIFFERENT)


def test_every_listed_difference_has_a_case() -> None:
    assert DIFFERENT.keys() <= {(case["name"], case["dtype"]) for case in CASES}


@pytest.mark.parametrize("case", [c for c in CASES if c["result"]], ids=case_id)
def test_packing_what_core_ml_pruned_is_the_same(case: dict[str, Any]) -> None:
    """Of its own mask, every case: the bits and the values are laid out alike."""
    w = weights_of(case)
    kept = np.unpackbits(
        np.frombuffer(bytes.fromhex(case["result"]["mask_hex"]), np.uint8),
        bitorder="little",
        count=w.size,
    )
    p = pp.pack(w, kept.astype(bool).reshape(w.shape))
    assert flat_bits(p) == case["result"]["mask_hex"]
    assert p.values.tobytes().hex() == case["result"]["nonzero_hex"]
    assert p.kept == case["result"]["nnz"]
