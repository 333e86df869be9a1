"""Which ISA runs: the best one, or the one PRUNEPACK_ISA names."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import prunepack as pp
from prunepack import _core
from samples import DTYPES, random_bits


def run(code: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter; a variable that is None is unset."""
    merged = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={name: value for name, value in merged.items() if value is not None},
    )


ASK = "import prunepack; print(prunepack.isa())"
USE = "import numpy, prunepack as pp; pp.prune(numpy.ones(4), pp.NM(2, 4))"


def test_the_forced_isa_is_the_one_in_use(isa: str) -> None:
    result = run(ASK, PRUNEPACK_ISA=isa)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{isa}\n"


def test_the_best_isa_is_the_default() -> None:
    result = run(ASK, PRUNEPACK_ISA=None)
    assert result.stdout.strip() == _core.isas()[-1]


def test_scalar_always_runs() -> None:
    assert "scalar" in _core.isas()


def test_this_process_runs_the_forced_one() -> None:
    assert pp.isa() == os.environ.get("PRUNEPACK_ISA", _core.isas()[-1])


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx2 ", "native"])
def test_an_unknown_isa_is_an_error(name: str) -> None:
    usable = ", ".join(reversed(_core.isas()))
    for code in (ASK, USE):
        result = run(code, PRUNEPACK_ISA=name)
        assert result.returncode != 0
        assert (
            f"ValueError: PRUNEPACK_ISA={name} cannot run here; usable: {usable}" in result.stderr
        )


def test_an_isa_of_another_machine_is_an_error() -> None:
    foreign = next(name for name in ("neon", "avx2", "avx512") if name not in _core.isas())
    result = run(ASK, PRUNEPACK_ISA=foreign)
    assert result.returncode != 0
    assert f"PRUNEPACK_ISA={foreign} cannot run here" in result.stderr


def test_an_isa_is_no_fault_of_a_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    pp.save_file({"w": np.ones((4, 4), np.float32)}, path)
    result = run(
        f"import prunepack as pp; pp.inspect_checkpoint({str(path)!r})", PRUNEPACK_ISA="sse9"
    )
    assert "ValueError: PRUNEPACK_ISA=sse9 cannot run here" in result.stderr


def test_private_functions_refuse_an_unknown_isa() -> None:
    mask = np.zeros((1, 1), np.uint8)
    x = np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match="sse9"):
        _core.nm_mask(x, "float32", 1, 4, 1, 2, 4, 1, 4, mask, threads=1, isa="sse9")


DIGEST = """
import hashlib
import prunepack as pp
from samples import DTYPES, random_bits
from test_dispatch import digest
print(digest())
"""


def digest() -> str:
    """Fingerprint of everything the public functions answer for some weights."""
    sha = hashlib.sha256()
    for dtype in DTYPES:
        w = random_bits(dtype, (61, 203))
        for pattern in (
            pp.Unstructured(0.6),
            pp.Unstructured(0.6, "row"),
            pp.Threshold(0.5),
            pp.NM(3, 4),
            pp.NM(14, 16),
            pp.NM(3, 5, axis=0),
            pp.Block((4, 4), 0.5),
            pp.Block((3,), 0.5, "l1"),
        ):
            p = pp.pack(w, pp.prune_mask(w, pattern))
            sha.update(p.mask.tobytes() + p.values.tobytes() + p.to_dense().tobytes())
            sha.update(pp.prune(w, pattern).tobytes())
    return sha.hexdigest()


def test_the_same_bytes_on_every_isa(isa: str) -> None:
    here = os.pathsep.join(path for path in sys.path if path)
    result = run(DIGEST, PRUNEPACK_ISA=isa, PYTHONPATH=here)
    assert result.stdout.strip() == digest(), result.stderr
