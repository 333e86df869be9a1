"""NumPy's own formats, with NumPy as the judge; and what the suffix of a path decides."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from prunepack import pack
from prunepack._entries import NUMPY_DTYPES, RawTensor
from prunepack._file_reader import open_file
from prunepack._files import load_file, save_file
from prunepack._npy_header import NATIVE_DTYPES


def same(a: Any, b: Any) -> bool:
    return bool((a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()))


@pytest.mark.parametrize("code", NUMPY_DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_every_dtype_comes_back(code: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    w = (np.arange(np.prod(shape, dtype=int)) % 2).astype(NUMPY_DTYPES[code]).reshape(shape)
    path = tmp_path / "m.npz"
    save_file({"w": w, "dir/é": w}, path)
    with open_file(path) as file:
        assert file.names == ("w", "dir/é")
        assert file.info("w").dtype == code
    loaded = load_file(path)
    assert same(loaded["w"], w)
    assert same(loaded["dir/é"], w)


def test_numpy_reads_dense_arrays_and_we_write_its_bytes(tmp_path: Path) -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.ones((), np.int8)
    save_file({"a": a, "b.weight": b}, tmp_path / "ours.npz")
    np.savez(tmp_path / "theirs.npz", a=a, **{"b.weight": b})  # type: ignore[arg-type]
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "theirs.npz").read_bytes()


def test_numpy_reads_the_bits_of_what_it_has_no_type_for(tmp_path: Path) -> None:
    w = np.array([1, -2], ml_dtypes.bfloat16)
    save_file({"w": w, "d": np.ones(2)}, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as archive:
        assert same(archive["w"], w.view(np.uint16))
        assert same(archive["d"], np.ones(2))
        assert json.loads(archive["prunepack.json"]) == {
            "version": 1,
            "metadata": {},
            "dtypes": {"w": "BF16"},
        }


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(save: Any, tmp_path: Path) -> None:
    tensors = {"a": np.zeros((300, 400)), "f": np.asfortranarray(np.arange(6).reshape(2, 3))}
    save(tmp_path / "m.npz", **tensors)
    loaded = load_file(tmp_path / "m.npz")
    assert loaded.keys() == tensors.keys()
    assert all(same(loaded[name], tensors[name]) for name in tensors)


def test_metadata_is_kept(tmp_path: Path) -> None:
    save_file({"w": pack(np.eye(9))}, tmp_path / "m.npz", metadata={"k": "v"})
    with open_file(tmp_path / "m.npz") as file:
        assert file.metadata == {"k": "v"}
        assert file.read("w") == pack(np.eye(9))


def test_arrays_outlive_the_file(tmp_path: Path) -> None:
    save_file({"w": np.ones(3)}, tmp_path / "m.npz")
    with open_file(tmp_path / "m.npz") as file:
        w = file.read("w")
        with pytest.raises(ValueError, match="holds no tensor 'x'"):
            file.read("x")
    assert same(w, np.ones(3))
    with pytest.raises(ValueError, match="must be open to be read, it has been closed"):
        file.read("w")


def test_what_an_npz_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    raw = RawTensor("F4", (2,), np.zeros(1, np.uint8))
    with pytest.raises(TypeError, match=r"'w' must have a dtype NumPy knows, got F4; use \.saf"):
        save_file({"w": raw}, path)
    with pytest.raises(ValueError, match=r"tensor name must hold no NUL in an \.npz file"):
        save_file({"\0": np.ones(1)}, path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_longer_than_a_zip_archive_can_say(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    longest = "a" * (65_535 - len(".npy"))
    save_file({longest: np.ones(2)}, path)
    assert list(load_file(path)) == [longest]
    with pytest.raises(ValueError, match=r"at most 65535 bytes in an [.]npz file, got 65536"):
        save_file({longest + "a": np.ones(2)}, path)
    assert list(load_file(path)) == [longest]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_plain_tensors_named_like_parts_stay_plain(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    for parts in (("shape", "bitmask"), ("shape", "bitmask", "compressed", "row_offsets")):
        tensors = {f"x.{part}": np.arange(2) for part in parts}
        save_file(tensors, path)
        loaded = load_file(path)
        assert loaded.keys() == tensors.keys()
        assert all(same(loaded[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".npy"])
@pytest.mark.parametrize("name", [1, b"w", None])
def test_names_are_strings(suffix: str, name: Any, tmp_path: Path) -> None:
    for tensor in (np.ones(2), pack(np.ones(2))):
        with pytest.raises(TypeError, match="tensors must map names to arrays, got"):
            save_file({name: tensor}, tmp_path / f"m{suffix}")
    assert not list(tmp_path.iterdir())


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.array([print], dtype=object))
    with pytest.raises(ValueError, match=r"dtype must be bool, .*, got '\|O'"):
        load_file(tmp_path / "m.npz")


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    octets = io.BytesIO()
    np.savez_compressed(octets, w=np.zeros(10_000_000, np.int8))
    honest = octets.getvalue()
    (tmp_path / "m.npz").write_bytes(honest)
    assert load_file(tmp_path / "m.npz")["w"].nbytes == 10_000_000
    with zipfile.ZipFile(octets, "a") as archive:
        archive.getinfo("w.npy").file_size *= 2
        archive.writestr("x.npy", b"")
    (tmp_path / "m.npz").write_bytes(octets.getvalue())
    with pytest.raises(ValueError, match=r"bytes cannot hold the .* it claims to have"):
        load_file(tmp_path / "m.npz")


# --- .npy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", sorted(NATIVE_DTYPES, key=str), ids=str)
def test_npy(dtype: np.dtype[Any], tmp_path: Path) -> None:
    w = np.ones((2, 3), dtype)
    save_file({"any name": w}, tmp_path / "fc.weight.npy")
    assert same(np.load(tmp_path / "fc.weight.npy"), w)
    loaded = load_file(tmp_path / "fc.weight.npy")
    assert list(loaded) == ["fc.weight"]
    assert same(loaded["fc.weight"], w)


def test_npy_in_fortran_order(tmp_path: Path) -> None:
    w = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.save(tmp_path / "w.npy", w)
    assert same(load_file(tmp_path / "w.npy")["w"], w)


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({}, None, "got 0 and 0 keys of metadata; use .npz"),
        ({"a": np.ones(1), "b": np.ones(1)}, None, "got 2 and 0 keys of metadata; use .npz"),
        ({"a": pack(np.ones(1))}, None, "got 4 and 1 keys of metadata; use .npz"),
        ({"a": np.ones(1)}, {"k": "v"}, "got 1 and 1 keys of metadata; use .npz"),
    ],
)
def test_npy_holds_one_dense_tensor(
    tensors: dict[str, Any], metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="an .npy file holds one") as caught:  # noqa: RUF043
        save_file(tensors, tmp_path / "m.npy", metadata=metadata)
    assert str(caught.value).endswith(message)


def test_npy_does_not_hold_bfloat16(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'w' must have a dtype NumPy can store, got bfloat16"):
        save_file({"w": np.ones(1, ml_dtypes.bfloat16)}, tmp_path / "m.npy")
    assert list(tmp_path.iterdir()) == []


# --- suffixes and what can be saved -----------------------------------------------------------


@pytest.mark.parametrize("name", ["m.pt", "m", "m.safetensors.index.json"])
def test_an_unknown_suffix(name: str) -> None:
    message = rf"path must end in \.safetensors, \.npz, \.npy, got '{name}'"
    with pytest.raises(ValueError, match=message):
        load_file(name)
    with pytest.raises(ValueError, match=message):
        save_file({}, name)


def test_a_suffix_in_capitals(tmp_path: Path) -> None:
    save_file({"w": np.ones(1)}, tmp_path / "M.NPZ")
    assert list(load_file(tmp_path / "M.NPZ")) == ["w"]


def test_what_shares_its_memory_can_be_saved(tmp_path: Path) -> None:
    scalar: Any = np.float32(2)
    save_file({"w": memoryview(b"abc"), "s": scalar}, tmp_path / "m.npz")
    loaded = load_file(tmp_path / "m.npz")
    assert same(loaded["w"], np.frombuffer(b"abc", np.uint8))
    assert same(loaded["s"], np.array(2, np.float32))
    with pytest.raises(TypeError, match=r"tensors\['w'\] must be a NumPy array, or share"):
        save_file({"w": [1, 2]}, tmp_path / "m.npz")  # type: ignore[dict-item]


def test_headers_are_not_parsed_as_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 3.12 its parser now and then fails in one thread while another uses it.

    It raises a SystemError ("AST constructor recursion depth mismatch"), which was told as a broken
    header of a sound file.
    """
    path = tmp_path / "w.npz"
    np.savez(path, w=np.ones((2, 3), np.float32))

    def fail(*_: object, **__: object) -> None:
        raise SystemError

    monkeypatch.setattr("ast.parse", fail)
    with np.load(path) as file, pytest.raises(SystemError):
        file["w"]
    assert same(load_file(path)["w"], np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }",
        "{'shape':(2,),'descr':'<f2','fortran_order':False}",
        "{ 'fortran_order' : False , 'shape' : ( 2L , ) , 'descr' : '=f2' , }",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_headers_of_other_writers(tmp_path: Path, header: str, version: int) -> None:
    path = tmp_path / "w.npy"
    text = header.encode() + b"\n"
    length = len(text).to_bytes(2 * version, "little")
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\0\x3c\0\x40")
    assert same(load_file(path)["w"], np.array([1, 2], np.float16))


def test_threads_read_side_by_side(tmp_path: Path) -> None:
    """The zipfile of Python 3.12.1 gives a thread the bytes that another one has sought."""
    path = tmp_path / "m.npz"
    arrays: dict[str, Any] = {str(i): np.full((50 + i, 7), i, np.float32) for i in range(30)}
    np.savez(path, **arrays)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with open_file(path) as file, ThreadPoolExecutor(4) as pool:
            found: list[Any] = list(pool.map(file.read, file.names * 100))
    finally:
        sys.setswitchinterval(before)
    assert [array[0, 0] for array in found] == [int(name) for name in file.names * 100]
