"""Threads change the time an operation takes and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from ctypes.util import find_library
from typing import Any

import numpy as np
import pytest

import prunepack as pp
from samples import random_bits, same_bits, sample

LARGE = (1031, 2003)
PATTERNS = (
    pp.Unstructured(0.75),
    pp.Unstructured(0.75, "row"),
    pp.Threshold(0.01),
    pp.NM(3, 4),
    pp.NM(14, 16, axis=0),
    pp.Block((16, 16), 0.5),
)


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@pytest.mark.parametrize(
    "dtype", [np.int8, np.float16, np.float32, np.float64], ids=lambda d: d.__name__
)
def test_the_same_bytes_on_any_number_of_threads(dtype: Any, pattern: Any) -> None:
    w = sample("NaN and infinities", np.dtype(dtype), LARGE)
    mask = pp.prune_mask(w, pattern, num_threads=1)
    pruned = pp.prune(w, pattern, num_threads=1)
    packed = pp.pack(w, mask, num_threads=1)
    dense = packed.to_dense(num_threads=1)
    for threads in (2, 3, 5):
        assert pp.prune_mask(w, pattern, num_threads=threads) == mask
        assert same_bits(pp.prune(w, pattern, num_threads=threads), pruned)
        assert pp.pack(w, mask, num_threads=threads) == packed
        assert same_bits(packed.to_dense(num_threads=threads), dense)


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_more_threads_than_rows(rows: int) -> None:
    w = random_bits(np.dtype(np.float32), (rows, 300_001))
    for pattern in (pp.Unstructured(0.5, "row"), pp.NM(3, 7), pp.Block((1, 1000), 0.5)):
        alone = pp.prune_mask(w, pattern, num_threads=1)
        assert pp.prune_mask(w, pattern, num_threads=16) == alone
        assert pp.pack(w, alone, num_threads=16) == pp.pack(w, alone, num_threads=1)


def test_callers_on_many_threads_do_not_meet() -> None:
    tensors = [random_bits(np.dtype(np.float16), (211, 1009), seed=seed) for seed in range(8)]
    pattern = pp.Unstructured(0.5)
    alone = [pp.prune(w, pattern, num_threads=1) for w in tensors]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda w: pp.prune(w, pattern, num_threads=2), tensors * 4))
    assert all(same_bits(a, b) for a, b in zip(together, alone * 4, strict=True))


# How many.


@pytest.mark.parametrize("threads", [0, -1])
def test_num_threads_is_positive(threads: int) -> None:
    w = np.ones((2, 4), np.float32)
    message = f"num_threads must be .*got {threads}"
    with pytest.raises(ValueError, match=message):
        pp.prune(w, pp.NM(2, 4), num_threads=threads)
    with pytest.raises(ValueError, match=message):
        pp.prune_mask(w, pp.NM(2, 4), num_threads=threads)
    with pytest.raises(ValueError, match=message):
        pp.pack(w, num_threads=threads)
    with pytest.raises(ValueError, match=message):
        pp.pack(w).to_dense(num_threads=threads)


@pytest.mark.parametrize("threads", [1.5, "2", [1], True], ids=repr)
def test_num_threads_is_an_integer(threads: Any) -> None:
    with pytest.raises(TypeError, match="num_threads must be"):
        pp.prune(np.ones(4, np.float32), pp.NM(2, 4), num_threads=threads)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if name != "PRUNEPACK_NUM_THREADS"
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=inherited | environment,
    )


@pytest.mark.parametrize("threads", ["1", "2", "7"])
def test_the_environment_sets_the_default(threads: str) -> None:
    result = run("import prunepack; print(prunepack.num_threads())", PRUNEPACK_NUM_THREADS=threads)
    assert result.stdout == f"{threads}\n", result.stderr


@pytest.mark.parametrize("threads", ["0", "-2", "two", "1.5", "99999999999999999999"])
def test_a_bad_default_is_an_error(threads: str) -> None:
    code = "import prunepack as pp, numpy; pp.prune(numpy.ones(4, 'f4'), pp.NM(2, 4))"
    result = run(code, PRUNEPACK_NUM_THREADS=threads)
    assert result.returncode != 0
    assert "PRUNEPACK_NUM_THREADS" in result.stderr
    assert f"got '{threads}'" in result.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_the_default_is_the_cores_this_process_may_use() -> None:
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    result = run(one + "import prunepack; print(prunepack.num_threads())")
    assert result.stdout == "1\n", result.stderr
    result = run("import prunepack; print(prunepack.num_threads())")
    assert result.stdout == f"{len(os.sched_getaffinity(0))}\n", result.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_a_forked_child_may_have_other_cores() -> None:
    code = """
import os, prunepack
before = prunepack.num_threads()
if os.fork() == 0:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(prunepack.num_threads(), flush=True)
    os._exit(0)
os.wait()
assert prunepack.num_threads() == before
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "1\n"


FORK = """
import os, sys
import numpy as np
import prunepack as pp

w = np.random.default_rng(0).normal(size=(1031, 2003)).astype(np.float32)
before = pp.prune(w, pp.Unstructured(0.5), num_threads=4)
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        after = pp.prune(w, pp.Unstructured(0.5), num_threads=4)
        if sys.platform == "linux" and len(os.listdir("/proc/self/task")) < 4:
            os._exit(2)  # it has not made workers of its own
        os._exit(0 if after.tobytes() == before.tobytes() else 1)
    children.append(child)
assert pp.prune(w, pp.Unstructured(0.5), num_threads=4).tobytes() == before.tobytes()
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_forks_never_hangs() -> None:
    result = run(FORK)
    assert result.stdout == "[0, 0, 0]\n", result.stderr


OPENMP = """
import ctypes, sys
import numpy as np
import prunepack as pp
from prunepack import _core

def linear(openmp):
    out = np.empty((5, 1031), np.float32)
    matrix = _core.prepare(
        packed.mask, packed.values, "float32", 1031, 2003, None, "float32", threads=1
    )
    _core.linear(matrix, x, "float32", "float32", None, None, out, threads=3, openmp=openmp)
    return out.tobytes()

random = np.random.default_rng(0)
packed = pp.pack(random.normal(size=(1031, 2003)).astype(np.float32))
x = random.normal(size=(5, 2003)).astype(np.float32)
assert not hasattr(ctypes.CDLL(None), "GOMP_parallel")
alone = linear(False)
assert linear(True) == alone
{more}
print("same")
"""

WITH_RUNTIME = """
ctypes.CDLL("libgomp.so.1", ctypes.RTLD_GLOBAL)
assert linear(True) == alone
"""


def test_threads_of_openmp_where_no_library_brings_them() -> None:
    result = run(OPENMP.format(more=""))
    assert result.stdout == "same\n", result.stderr


@pytest.mark.skipif(find_library("gomp") is None, reason="there is no libgomp")
def test_threads_of_openmp_where_a_library_brings_them() -> None:
    result = run(OPENMP.format(more=WITH_RUNTIME))
    assert result.stdout == "same\n", result.stderr
