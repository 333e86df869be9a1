"""Files that another process writes to, cuts short or replaces while they are read.

A job copies what it reads, so that it gets an error where a mapped file would kill it, and never
mixes two states of a file. What becomes of temporary files is in test_atomic.py and test_faults.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import prunepack as pp
from folders import LINEARS, contents, transformer, write_folder
from prunepack._file_bytes import Buffers
from samples import same_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[Path, Path, Callable[[pp.Progress], None], int], object]


def cut(path: Path) -> None:
    os.truncate(path, 4096)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(4096))


def overwrite(path: Path) -> None:
    """Change nothing but the time, as a write of other bytes of the same number would."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


CHANGES = {
    cut: r"it had \d+ bytes and has 4096",
    grow: r"it had \d+ bytes and has \d+",
    overwrite: "another process has written to it",
}
JOBS: dict[str, Job] = {
    "prune": lambda src, dst, tell, threads: pp.prune_checkpoint(
        src, dst, pp.NM(2, 4), progress=tell, num_threads=threads
    ),
    "prune a model": lambda src, dst, tell, threads: pp.prune_checkpoint(
        src, dst, pp.Unstructured(0.5, "model"), progress=tell, num_threads=threads
    ),
    "prune in place": lambda src, _, tell, threads: pp.prune_checkpoint(
        src, src, pp.NM(2, 4), in_place=True, progress=tell, num_threads=threads
    ),
    "pack": lambda src, dst, tell, threads: pp.pack_checkpoint(
        src, dst, progress=tell, num_threads=threads
    ),
    "unpack": lambda src, dst, tell, threads: pp.unpack_checkpoint(
        src, dst, progress=tell, num_threads=threads
    ),
    "mask": lambda src, dst, tell, threads: pp.mask_checkpoint(
        src, dst / "masks.safetensors", pp.NM(2, 4), progress=tell, num_threads=threads
    ),
    "inspect": lambda src, _, tell, threads: pp.inspect_checkpoint(
        src, progress=tell, num_threads=threads
    ),
    "verify": lambda src, _, tell, threads: pp.verify_checkpoint(
        src, pp.NM(0, 4), progress=tell, num_threads=threads
    ),
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Put a checkpoint where a job writes to."""
    return write_folder(tmp_path / "out", {"old.weight": np.ones((64, 64), np.float32)})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("job", JOBS)
def test_a_source_that_changes_is_an_error(
    tmp_path: Path, target: Path, job: str, change: Any, threads: int
) -> None:
    source = write_folder(tmp_path / "model")
    before = contents(target)
    shard = max(source.glob("*.safetensors"))
    kept = contents(source)
    done: list[str] = []

    def tell(_: pp.Progress) -> None:
        if not done:
            done.append("once")
            change(shard)

    with pytest.raises(pp.FormatError, match=f"{shard.name}.*must not change.*{CHANGES[change]}"):
        JOBS[job](source, target, tell, threads)
    assert contents(target) == before
    assert contents(source).keys() == kept.keys()
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changes_while_it_is_carried_along(
    tmp_path: Path, target: Path, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_folder(tmp_path / "model")
    (source / "notes.bin").write_bytes(bytes(8192))
    before = contents(target)
    copy = shutil.copyfileobj

    def copy_while_it_changes(old: Any, new: Any, length: int) -> None:
        copy(old, new, length)
        if Path(new.name).name == "notes.bin":
            change(source / "notes.bin")

    monkeypatch.setattr(shutil, "copyfileobj", copy_while_it_changes)
    with pytest.raises(pp.FormatError, match=f"notes.bin.*must not change.*{CHANGES[change]}"):
        pp.prune_checkpoint(source, target, pp.NM(2, 4), overwrite=True)
    assert contents(target) == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_archives_that_change(tmp_path: Path, suffix: str, change: Any) -> None:
    source, target = tmp_path / f"model.{suffix}", tmp_path / f"out.{suffix}"
    random = np.random.default_rng(0)
    count = 1 if suffix == "npy" else 4
    weights = {f"w{i}": random.standard_normal((64, 64)).astype(np.float32) for i in range(count)}
    pp.save_file(weights, source)

    def tell(_: pp.Progress) -> None:
        change(source)

    def prune() -> None:
        pp.prune_checkpoint(
            source, target, pp.NM(2, 4), format="dense", progress=tell, num_threads=1
        )

    if suffix == "npy":  # which has been read by the time that anybody is told
        prune()
        return
    with pytest.raises(pp.FormatError, match=r"model\.npz"):
        prune()
    assert list(tmp_path.iterdir()) == [source]


def test_a_source_that_is_replaced_is_read_to_its_end(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "model")

    def tell(at: pp.Progress) -> None:
        if at.tensors == 1:
            for path in source.glob("*.safetensors"):
                pp.save_file({"other": np.ones(1)}, path)

    pp.prune_checkpoint(source, tmp_path / "out", pp.NM(2, 4), progress=tell, num_threads=1)
    assert pp.verify_checkpoint(tmp_path / "out", pp.NM(2, 4)).ok


# --- arrays in memory -------------------------------------------------------------------------


def test_copies_do_not_follow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = {name: w for name, w in transformer().items() if name in LINEARS}
    model["large"] = np.arange(1 << 19, dtype=np.float32).reshape(512, 1024)
    pp.save_file(model, path)
    loaded = pp.load_file(path, mapped=False)
    cut(path)
    for name, w in model.items():
        copy = loaded[name]
        assert isinstance(copy, np.ndarray)
        assert same_bits(copy, w)
        assert not copy.flags.writeable


def test_copies_of_an_unchanged_packed_file(tmp_path: Path) -> None:
    packed = pp.pack(pp.prune(np.arange(1, 4097, dtype=np.float32).reshape(64, 64), pp.NM(2, 4)))
    pp.save_file({"w": packed}, tmp_path / "w.safetensors")
    assert pp.load_file(tmp_path / "w.safetensors", mapped=False)["w"] == packed


CUT_WHILE_MAPPED = """
import os, sys
import prunepack as pp

array = pp.load_file(sys.argv[1], mapped=sys.argv[2] == "mapped")["w"]
os.truncate(sys.argv[1], 100)
print(array[-1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the signal differs")
@pytest.mark.parametrize("how", ["mapped", "copied"])
def test_what_the_documentation_says_of_views(tmp_path: Path, how: str) -> None:
    path = tmp_path / "w.safetensors"
    pp.save_file({"w": np.arange(1 << 16)}, path)
    line = [sys.executable, "-c", CUT_WHILE_MAPPED, str(path), how]
    result = subprocess.run(line, check=False, capture_output=True, text=True)
    if how == "copied":
        assert result.stdout == "65535\n", result.stderr
    else:
        assert result.returncode in (-7, 135)  # SIGBUS, as the documentation of load_file says


# --- memory that is used again ----------------------------------------------------------------


def test_memory_is_not_used_again_while_anything_lies_in_it() -> None:
    buffers = Buffers()
    arrays = [np.frombuffer(buffers.take(2 << 20), np.uint8) for _ in range(3)]
    for value, array in enumerate(arrays):
        array[:] = value
    part = arrays[1][5:7].view(np.uint16)
    del arrays, array
    for _ in range(4):
        np.frombuffer(buffers.take(2 << 20), np.uint8)[:] = 9
    again = [np.frombuffer(buffers.take(2 << 20), np.uint8) for _ in range(4)]
    for array in again:
        array[:] = 9
    assert part[0] == 0x0101


@pytest.mark.parametrize("begin", [0, 8, 4096, 12345])
@pytest.mark.parametrize("nbytes", [0, 1, 1000, 1 << 20, (3 << 20) + 5])
def test_buffers_have_their_size_and_lie_as_elements_need(nbytes: int, begin: int) -> None:
    buffer = Buffers().take(nbytes, begin)
    assert len(buffer) == nbytes
    if nbytes:
        assert np.frombuffer(buffer, np.uint8).ctypes.data % 8 == 0


def test_free_memory_is_limited() -> None:
    buffers = Buffers()
    held = [buffers.take(64 << 20) for _ in range(6)]  # never touched, so never there
    held.clear()
    assert sum(each.nbytes for each in buffers._free) <= 192 << 20
