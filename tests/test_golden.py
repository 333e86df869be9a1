"""Answers worked out by hand. Never regenerated from the code they check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prunepack as pp
import reference
from per_isa import Operations
from samples import DTYPES

GOLDEN = Path(__file__).parent / "golden"


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["why"]) for case in json.loads((GOLDEN / name).read_text())]


def weights_of(case: dict[str, Any]) -> np.ndarray:
    dtype = next(dtype for dtype in DTYPES if dtype.name == case["dtype"])
    if "bits" in case:
        return np.array([int(bits, 16) for bits in case["bits"]], f"u{dtype.itemsize}").view(dtype)
    return np.array(case["w"], dtype=object).astype(np.float64).astype(dtype)


def pattern_of(case: dict[str, Any]) -> Any:
    name, arguments = case["pattern"]
    if name == "Block":
        arguments = arguments | {"shape": tuple(arguments["shape"])}
    return getattr(pp, name)(**arguments)


def kept_of(case: dict[str, Any]) -> np.ndarray:
    """One text of 0 and 1 for each row, or a single text for a 1-D tensor."""
    rows = case["kept"]
    if isinstance(rows, str):
        return np.array([bit == "1" for bit in rows])
    return np.array([[bit == "1" for bit in row] for row in rows])


@pytest.mark.parametrize("case", cases("masks.json"))
def test_mask(isa: str, case: dict[str, Any]) -> None:
    w, pattern = weights_of(case), pattern_of(case)
    assert np.array_equal(pp.prune_mask(w, pattern).to_bool(), kept_of(case))
    assert np.array_equal(reference.kept(w, pattern), kept_of(case))
    if not isinstance(pattern, pp.Threshold):
        bits = reference.mask_bytes(kept_of(case))
        assert Operations(isa).mask(w, pattern).tobytes() == bits.tobytes()


@pytest.mark.parametrize("case", cases("packed.json"))
def test_packed(isa: str, case: dict[str, Any]) -> None:
    w = weights_of(case)
    p = pp.pack(w)
    assert p.mask.tobytes().hex(" ") == case["mask"]
    assert p.values.tobytes().hex(" ") == case["values"]
    assert p.row_offsets.tolist() == case["row_offsets"]
    mask, values = Operations(isa).pack(w, None)
    assert mask.tobytes().hex(" ") == case["mask"]
    assert values.tobytes().hex(" ") == case["values"]
    dense = Operations(isa).unpack(mask, values, w.shape)
    assert dense.tobytes().hex(" ") == case["dense"]
    assert p.to_dense().tobytes().hex(" ") == case["dense"]
