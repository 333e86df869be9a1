"""The safetensors reader and writer, with the safetensors library as the judge."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from prunepack import FormatError
from prunepack import _safetensors_writer as writer_module
from prunepack._atomic import replacing
from prunepack._entries import NUMPY_DTYPES, Entry, RawTensor
from prunepack._file_writer import create_file
from prunepack._files import load_file, save_file
from prunepack._safetensors import SafetensorsFile
from prunepack._safetensors_writer import safetensors_writer
from prunepack._tensor_info import TensorInfo

Array = np.ndarray[Any, Any]
deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize

anywhere = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
shapes = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw: st.DrawFn, dtypes: tuple[str, ...] = tuple(NUMPY_DTYPES)) -> Array:
    """Any bits of any dtype and shape, the empty ones included."""
    dtype, shape = NUMPY_DTYPES[draw(st.sampled_from(dtypes))], draw(shapes)
    nbytes = int(np.prod(shape)) * dtype.itemsize
    octets = draw(st.binary(min_size=nbytes, max_size=nbytes))
    if dtype == np.bool_:
        octets = bytes(octet & 1 for octet in octets)
    return np.frombuffer(octets, dtype).reshape(shape)


def same(a: object, b: object) -> bool:
    return (
        isinstance(a, np.ndarray)
        and isinstance(b, np.ndarray)
        and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    )


def a_file(path: Path, header: str, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header.encode())) + header.encode() + data)
    return path


# --- against the library ----------------------------------------------------------------------


@anywhere
@given(tensors=st.dictionaries(names, arrays(), max_size=6), text=names)
def test_writes_the_bytes_of_the_library(
    tensors: dict[str, Array], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    for metadata in (None, {text: text}):
        save_file(tensors, path, metadata=metadata)
        assert path.read_bytes() == safetensors.numpy.save(tensors, metadata)


@anywhere
@given(tensors=st.dictionaries(names, arrays(), max_size=6))
def test_reads_what_the_library_writes(tensors: dict[str, Array], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors))
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    assert all(same(loaded[name], tensors[name]) for name in tensors)


@anywhere
@given(tensors=st.dictionaries(names, arrays(), max_size=6))
def test_the_library_reads_what_we_write(tensors: dict[str, Array], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(tensors, path)
    loaded = dict(deserialize(path.read_bytes()))
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert tuple(loaded[name]["shape"]) == tensor.shape
        assert bytes(loaded[name]["data"]) == tensor.tobytes()


ENTRY = '"dtype":"U8","shape":[1],"data_offsets":[0,1]'


@pytest.mark.parametrize(
    "header",
    [
        f'{{"a":{{{ENTRY}}},"a":{{{ENTRY}}}}}',
        f' {{"a":{{{ENTRY}}}}}',
        f'{{"a":{{{ENTRY}}}}}\n',
        f'{{"a":{{{ENTRY},"more":0}}}}',
        f'{{"__metadata__":null,"a":{{{ENTRY}}}}}',
        '{"a":["U8",[1],[0,1]]}',
    ],
    ids=["duplicate", "leading space", "trailing newline", "unknown key", "null", "list"],
)
def test_where_we_are_stricter_than_the_library(header: str, tmp_path: Path) -> None:
    path = a_file(tmp_path / "m.safetensors", header, b"x")
    assert [name for name, _ in deserialize(path.read_bytes())] == ["a"]
    with pytest.raises(FormatError):
        load_file(path)


def test_strided_arrays_are_written_as_they_read(tmp_path: Path) -> None:
    w = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_file({"t": w.T, "s": w[:, ::2]}, tmp_path / "m.safetensors")
    loaded = load_file(tmp_path / "m.safetensors")
    assert same(loaded["t"], np.ascontiguousarray(w.T))
    assert same(loaded["s"], np.ascontiguousarray(w[:, ::2]))


# --- reading ----------------------------------------------------------------------------------


def test_arrays_are_read_only_views_that_outlive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    w = np.arange(1000, dtype=np.float32)
    save_file({"w": w}, path)
    with SafetensorsFile(path) as file:
        view = file.array("w")
        again = file.array("w")
    assert isinstance(view, np.ndarray)
    assert isinstance(again, np.ndarray)
    assert np.shares_memory(view, again)
    assert not view.flags.writeable
    path.unlink()
    assert same(view, w)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_data_at_an_odd_address_is_copied(tmp_path: Path) -> None:
    header = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    header += " " * (7 - len(header) % 8)
    path = a_file(tmp_path / "m.safetensors", header, struct.pack("<f", 1.5))
    loaded = load_file(path)["a"]
    assert isinstance(loaded, np.ndarray)
    assert loaded.flags.aligned
    assert not loaded.flags.writeable
    assert loaded.tolist() == [1.5]


def test_names_are_in_the_order_of_the_data(tmp_path: Path) -> None:
    b, a, e = (
        f'"{name}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{begin},{begin + size}]}}'
        for name, begin, size in (("b", 1, 1), ("a", 0, 1), ("e", 1, 0))
    )
    path = a_file(tmp_path / "m.safetensors", f"{{{b},{a},{e}}}", b"xy")
    with SafetensorsFile(path) as file:
        assert list(file) == ["a", "e", "b"]
        assert len(file) == 3
        assert "e" in file
        assert "x" not in file
        assert file.info("b") == Entry("U8", (1,), 1)


def test_unknown_dtypes_pass_through(tmp_path: Path) -> None:
    header = (
        '{"__metadata__":{"k":"v"},"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},'
        '"z":{"dtype":"Q1_0","shape":[],"data_offsets":[3,3]}}'
    )
    path = a_file(tmp_path / "m.safetensors", header, b"\x01\x02\x03")
    raw = load_file(path)["a"]
    assert isinstance(raw, RawTensor)
    assert (raw.dtype, raw.shape, raw.nbytes) == ("F4", (2, 3), 3)
    save_file(load_file(path), tmp_path / "n.safetensors", metadata={"k": "v"})
    again = load_file(tmp_path / "n.safetensors")["a"]
    assert isinstance(again, RawTensor)
    assert again.data.tobytes() == b"\x01\x02\x03"
    assert json.loads(header) == json.loads((tmp_path / "n.safetensors").read_bytes()[8:-3])


def test_asking_for_what_is_not_there(tmp_path: Path) -> None:
    path = a_file(tmp_path / "m.safetensors", "{}")
    with SafetensorsFile(path) as file, pytest.raises(ValueError, match="holds no tensor 'w'"):
        file.array("w")
    save_file({"w": np.ones(1)}, path)
    with SafetensorsFile(path) as file:
        pass
    with pytest.raises(ValueError, match="must be open to be read, it has been closed"):
        file.array("w")


def test_os_errors_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"none/m\.safetensors'"):
        save_file({}, tmp_path / "none" / "m.safetensors")
    (tmp_path / "d.safetensors").mkdir()
    with pytest.raises(IsADirectoryError):
        save_file({}, tmp_path / "d.safetensors")


# --- writing as a stream ----------------------------------------------------------------------


@anywhere
@given(
    tensors=st.dictionaries(names, arrays(("F32", "BF16", "U8", "U64")), max_size=7),
    data=st.data(),
)
def test_any_order_of_writing_and_any_unknown_lengths(
    tensors: dict[str, Array], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    entries = {}
    for name, tensor in tensors.items():
        entries[name] = Entry.of(tensor)
        if tensor.ndim and data.draw(st.booleans()):
            longest = (tensor.shape[0] + data.draw(st.integers(0, 2000)), *tensor.shape[1:])
            nbytes = int(np.prod(longest)) * tensor.itemsize
            entries[name] = Entry(entries[name].dtype, longest, nbytes, at_most=True)
    order = data.draw(st.permutations(list(tensors)))
    with safetensors_writer(path, entries) as writer:
        for name in order:
            writer.write(name, tensors[name])
    octets, expected = path.read_bytes(), safetensors.numpy.save(tensors)
    room, needed = (int.from_bytes(some[:8], "little") for some in (octets, expected))
    assert room >= needed
    assert room % 8 == 0
    assert octets[8 : 8 + room].rstrip() == expected[8 : 8 + needed].rstrip()
    assert octets[8 + room :] == expected[8 + needed :]
    assert all(same(load_file(path)[name], tensors[name]) for name in tensors)


def test_a_spill_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_CHUNK", 7)
    path = tmp_path / "m.safetensors"
    entries = {"a": Entry("F64", (5,), 40, at_most=True), "b": Entry("U8", (100,), 100)}
    with safetensors_writer(path, entries) as writer:
        writer.write("b", np.arange(100, dtype=np.uint8))
        writer.write("a", np.ones(2))
    assert same(load_file(path)["b"], np.arange(100, dtype=np.uint8))


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, octets, at: pwrite(file, octets[:5], at))
    w = np.arange(100)
    save_file({"w": w}, tmp_path / "m.safetensors")
    assert same(load_file(tmp_path / "m.safetensors")["w"], w)


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("name", "tensor", "error", "message"),
    [
        ("x", ONE, ValueError, "tensor must be one of those planned, got 'x'"),
        ("a", ONE, ValueError, "tensor 'a' must be written once, this is the second time"),
        ("b", np.ones(3), TypeError, "tensor 'b' must have dtype F32 as planned, got F64"),
        (
            "b",
            np.ones((1, 1), np.float32),
            ValueError,
            "tensor 'b' must have shape at most (2,) as planned, got (1, 1) of 4 bytes",
        ),
        (
            "b",
            np.ones(3, np.float32),
            ValueError,
            "tensor 'b' must have shape at most (2,) as planned, got (3,) of 12 bytes",
        ),
        (
            "b",
            np.ones((), np.float32),
            ValueError,
            "tensor 'b' must have shape at most (2,) as planned, got () of 4 bytes",
        ),
        (
            "c",
            np.ones((), np.float32),
            ValueError,
            "tensor 'c' must have shape (2,) as planned, got () of 4 bytes",
        ),
        (
            "c",
            np.ones(2, ">f4"),
            TypeError,
            (
                "tensor 'c' must have a dtype a file can hold (uint64, int64, float64, complex64,"
                " float32, uint32, int32, bfloat16, float16, uint16, int16, float8_e5m2fnuz,"
                " float8_e4m3fnuz, float8_e8m0fnu, float8_e4m3fn, float8_e5m2, int8, uint8, bool),"
                " got >f4"
            ),
        ),
    ],
)
def test_what_is_written_must_be_what_was_planned(
    name: str, tensor: Array, error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    two = Entry("F32", (2,), 8)
    entries = {"a": Entry.of(ONE), "b": two._replace(at_most=True), "c": two}

    def write() -> None:
        with safetensors_writer(path, entries) as writer:
            writer.write("a", ONE)
            writer.write(name, tensor)

    with pytest.raises(error) as caught:
        write()
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_everything_planned_must_be_written(tmp_path: Path) -> None:
    message = "every planned tensor must be written, 'a' was not"
    with (
        pytest.raises(ValueError, match=message),
        safetensors_writer(tmp_path / "m.safetensors", {"a": Entry.of(ONE)}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_in_a_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="must not be named '__metadata__'"):
        save_file({"__metadata__": ONE}, path)
    with pytest.raises(TypeError, match="metadata must map strings to strings, got 'k': 1"):
        save_file({}, path, metadata={"k": 1})  # type: ignore[dict-item]
    half = r"names and metadata must be Unicode, '\\ud800' holds half a surrogate pair"
    with pytest.raises(ValueError, match=half):
        save_file({"\ud800": ONE}, path)
    with pytest.raises(ValueError, match=half):
        save_file({"w": ONE}, path, metadata={"made by": "\ud800"})
    monkeypatch.setattr(writer_module, "HEADER_LIMIT", 10)
    with pytest.raises(
        ValueError, match="header must have at most 10 bytes, these tensors need 54"
    ):
        save_file({"w": ONE}, path)
    assert list(tmp_path.iterdir()) == []


# --- whole or not at all ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"m{suffix}"
    save_file({"w": ONE}, path)
    before = path.read_bytes()

    def write() -> None:
        plan = {"a": TensorInfo.of(ONE), "b": TensorInfo.of(ONE)}
        with create_file(path, plan) as file:
            file.write("b", ONE)
            beside = sorted(entry.name.split("-")[0] for entry in tmp_path.iterdir())
            assert beside == [f".m{suffix}.prunepack", f"m{suffix}"]
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["pwrite", "fsync", "rename"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": ONE}, path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    owner: Any = Path if failing == "rename" else os
    monkeypatch.setattr(owner, "replace" if failing == "rename" else failing, full)
    with pytest.raises(OSError, match="No space left on device"):
        save_file({"w": np.zeros(1000)}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".npy"])
def test_a_file_size_limit_is_a_full_disk(
    suffix: str, tmp_path: Path, limited_file_size: Callable[[int], None]
) -> None:
    path = tmp_path / f"m{suffix}"
    save_file({"w": ONE}, path)
    before = path.read_bytes()
    limited_file_size(100_000)
    with pytest.raises(OSError, match="File too large"):
        save_file({"w": np.zeros(1_000_000)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def limited_file_size() -> Any:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": ONE}, path)
    before = path.read_bytes()
    script = (
        "import os, signal, sys, numpy as np\n"
        "from prunepack._file_writer import create_file\n"
        "from prunepack._tensor_info import TensorInfo\n"
        "plan = {n: TensorInfo('F64', (9,)) for n in 'ab'}\n"
        "with create_file(sys.argv[1], plan) as file:\n"
        "    file.write('a', np.ones(9))\n"
        "    os.kill(os.getpid(), getattr(signal, sys.argv[2]))\n"
    )
    for how, left in ((signal.SIGINT, 1), (signal.SIGKILL, 2)):
        command = [sys.executable, "-c", script, str(path), how.name]
        assert subprocess.run(command, check=False, capture_output=True).returncode == -how
        assert path.read_bytes() == before
        assert len(list(tmp_path.iterdir())) == left


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    before = os.umask(0o027)
    try:
        save_file({}, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    save_file({}, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    blob, link = tmp_path / "blob.safetensors", tmp_path / "m.safetensors"
    save_file({"w": ONE}, blob)
    link.symlink_to(blob)
    save_file({}, link)
    assert not link.is_symlink()
    assert list(load_file(blob)) == ["w"]


def test_only_regular_files_are_replaced() -> None:
    with pytest.raises(
        ValueError, match="path must be a regular file or not exist yet, got '/dev/"
    ):
        replacing("/dev/null").__enter__()


def test_a_name_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".safetensors")
    save_file({"w": ONE}, path)
    assert list(load_file(path)) == ["w"]


def test_a_file_may_be_rewritten_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": np.arange(5000), "b": ONE}, path)
    save_file(load_file(path), path)
    assert same(load_file(path)["a"], np.arange(5000))
