"""Packed tensors in files: compressed-tensors' own files, names, and round trips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from safetensors import numpy as library

from prunepack import PackedTensor, pack
from prunepack._dtypes import DTYPES
from prunepack._file_reader import open_file
from prunepack._file_writer import create_file
from prunepack._files import load_file, save_file
from prunepack._safetensors import SafetensorsFile
from prunepack._sparse_24 import stored_parts_24
from prunepack._sparse_bitmask import Origin
from prunepack._storage import Storage
from prunepack._tensor_info import TensorInfo

deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize
DATA = Path(__file__).parent / "data" / "compressed-tensors"
FILES = sorted(path for path in DATA.glob("*/*.safetensors") if ".dense." not in path.name)


def file_id(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def arrays_of(tensors: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        name: tensor.to_dense() if isinstance(tensor, PackedTensor) else np.asarray(tensor)
        for name, tensor in tensors.items()
    }


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


# --- compressed-tensors' own files ------------------------------------------------------------


def test_all_the_files_are_here() -> None:
    assert len(FILES) == 22


def test_groups_of_2_4_with_fewer_values_keep_their_first_zeros() -> None:
    packed = pack(np.array([[0, 0, 0, 5, 0, 0, 0, 0]], np.float32))
    parts = stored_parts_24(Origin("w"), "w.weight", packed)
    assert parts["w.bitmask"].tolist() == [[0b0011_1001]]
    assert parts["w.compressed"].tolist() == [[0, 5, 0, 0]]


@pytest.mark.parametrize("path", FILES, ids=file_id)
def test_loads_to_the_dense_truth(path: Path) -> None:
    loaded = load_file(path)
    assert loaded.keys() == {"a.fc.weight", "a.fc.bias"}
    assert isinstance(loaded["a.fc.weight"], PackedTensor)
    truth = load_file(path.with_suffix(".dense.safetensors"))["a.fc.weight"]
    assert isinstance(truth, np.ndarray)
    zeroed = np.where(truth == 0, np.zeros((), truth.dtype), truth)  # -0.0 counts as zero
    assert same(arrays_of(loaded)["a.fc.weight"], zeroed)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name != "0.5.0" and not path.name.startswith("s24")],
    ids=file_id,
)
def test_saves_the_same_bytes(path: Path, tmp_path: Path) -> None:
    tensors = load_file(path)
    infos = {name: TensorInfo.of(tensor) for name, tensor in tensors.items()}
    copy = tmp_path / "copy.safetensors"
    with create_file(copy, infos, storage=Storage("sparse-bitmask")) as file:
        for name, tensor in tensors.items():
            file.write(name, tensor)
    assert copy.read_bytes() == path.read_bytes()


def test_the_older_dialect_packs_everything() -> None:
    loaded = load_file(DATA / "0.5.0" / "doc_bf16.safetensors")
    assert all(isinstance(tensor, PackedTensor) for tensor in loaded.values())


def test_the_documented_example(tmp_path: Path) -> None:
    w = np.zeros((3, 10), ml_dtypes.bfloat16)
    w[0, [1, 4, 8]], w[2, [7, 9]] = (1, 2, -3), (4, 5)
    save_file({"fc.weight": pack(w)}, tmp_path / "m.safetensors")
    stored = dict(deserialize((tmp_path / "m.safetensors").read_bytes()))
    assert {name: bytes(part["data"]).hex(" ", 2) for name, part in stored.items()} == {
        "fc.row_offsets": "0000 0000 0000 0000 0300 0000 0000 0000 0300 0000 0000 0000",
        "fc.shape": "0300 0000 0000 0000 0a00 0000 0000 0000",
        "fc.compressed": "803f 0040 40c0 8040 a040",
        "fc.bitmask": "1201 0000 8002",
    }


def test_explicit_zeros_of_2_4_are_kept() -> None:
    tensor = load_file(DATA / "0.14.0.1" / "s24_f32_8x16.safetensors")["a.fc.weight"]
    assert isinstance(tensor, PackedTensor)
    assert tensor.kept == 8 * 16 // 2


# --- round trips ------------------------------------------------------------------------------


@st.composite
def sparse(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Any bits of any dtype that can be packed, about half of them zero; empty shapes too."""
    dtype = draw(st.sampled_from(list(DTYPES)))
    shape = draw(array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=10))
    seed = np.random.default_rng(draw(st.integers(0, 2**32)))
    bits = seed.integers(0, 256, (*shape, dtype.itemsize), np.uint8)
    kept = seed.integers(0, 2, (*shape, 1), np.uint8)
    return np.frombuffer((bits * kept).tobytes(), dtype).reshape(shape)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(weights=st.dictionaries(st.sampled_from(["a", "b.weight", "c.bias", ""]), sparse()))
def test_packed_tensors_come_back(
    suffix: str, weights: dict[str, np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    path = tmp_path / f"m{suffix}"
    tensors = {name: pack(w) for name, w in weights.items()}
    save_file({**tensors, "dense": np.arange(3)}, path)
    loaded = load_file(path)
    assert {name: loaded[name] for name in tensors} == tensors
    assert np.array_equal(np.asarray(loaded["dense"]), np.arange(3))
    if suffix == ".safetensors":
        deserialize(path.read_bytes())


def test_packed_parts_are_views_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"fc.weight": pack(np.eye(64, dtype=np.float32))}, path)
    with open_file(path, mapped=True) as file:
        one, two = file.read("fc.weight"), file.read("fc.weight")
    assert isinstance(one, PackedTensor)
    assert isinstance(two, PackedTensor)
    assert np.shares_memory(one.values, two.values)
    assert np.shares_memory(one.mask, two.mask)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.uint64])
def test_shape_may_be_of_any_integers(dtype: type[np.generic], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    parts = {
        "fc.shape": np.array([1, 8], dtype),
        "fc.compressed": np.ones(1, np.float32),
        "fc.bitmask": np.array([[4]], np.uint8),
        "fc.row_offsets": np.zeros(1, np.int64),
    }
    library.save_file(parts, path)
    tensor = load_file(path)["fc.weight"]
    assert isinstance(tensor, PackedTensor)
    assert tensor.to_dense().tolist() == [[0, 0, 1, 0, 0, 0, 0, 0]]


def test_row_offsets_of_three_dimensions_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    parts = {
        "fc.shape": np.array([1, 1, 8]),
        "fc.compressed": np.ones(1, np.float32),
        "fc.bitmask": np.array([[[4]]], np.uint8),
        "fc.row_offsets": np.array([[99]]),
    }
    library.save_file(parts, path)
    assert isinstance(load_file(path)["fc.weight"], PackedTensor)


# --- names ------------------------------------------------------------------------------------


def test_a_lone_bitmask_is_a_plain_tensor(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"attention.bitmask": np.ones(3, np.uint8)}, path)
    assert list(load_file(path)) == ["attention.bitmask"]


def test_metadata_tells_parts_from_tensors_that_look_alike(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tensors: dict[str, Any] = {
        "fc.weight": pack(np.ones((2, 2))),
        "x.shape": np.arange(2),
        "x.bitmask": np.arange(3),
        "x.compressed": np.arange(4),
    }
    save_file(tensors, path)
    assert load_file(path).keys() == tensors.keys()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"a": pack(np.ones(1)), "a.weight": pack(np.ones(1))},
            "tensors 'a' and 'a.weight' would both be stored as 'a.row_offsets'; rename one",
        ),
        (
            {"a.shape": np.ones(1), "a.weight": pack(np.ones(1))},
            "tensors 'a.shape' and 'a.weight' would both be stored as 'a.shape'; rename one",
        ),
    ],
)
def test_stored_names_must_not_clash(tensors: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rename one") as caught:
        save_file(tensors, tmp_path / "m.safetensors")
    assert str(caught.value) == message


def test_metadata_says_who_wrote_it_and_the_pattern(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    w = pack(np.eye(8, dtype=np.float32))
    info = TensorInfo("F32", (8, 8), packed=True, kept=8, pattern="3:4 (75 % sparse)")
    with create_file(path, {"fc.weight": info}, metadata={"format": "pt"}) as file:
        file.write("fc.weight", w)
    with SafetensorsFile(path) as file:
        assert file.metadata["format"] == "pt"
        assert json.loads(file.metadata["prunepack"]) == {
            "version": 1,
            "packed": {"fc.weight": {"prefix": "fc", "pattern": "3:4 (75 % sparse)"}},
        }
    with open_file(path) as file:
        assert file.metadata == {"format": "pt"}
        assert file.info("fc.weight") == info


def test_a_dense_file_gets_no_metadata_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"w": np.ones(1)}, path, metadata={"prunepack": "stale", "k": "v"})
    with SafetensorsFile(path) as file:
        assert file.metadata == {"k": "v"}


# --- tensor by tensor -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_packs_a_file_not_knowing_how_much_will_be_kept(suffix: str, tmp_path: Path) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    rng = np.random.default_rng(7)
    dense = {f"{i}.weight": rng.integers(-1, 2, (9, 33)).astype(np.float16) for i in range(5)}
    dense["0.bias"] = rng.normal(size=9).astype(np.float16)
    save_file(dense, source, metadata={"k": "v"})
    with open_file(source) as old:
        plan = {
            name: TensorInfo(info.dtype, info.shape, packed=len(info.shape) == 2)
            for name, info in ((name, old.info(name)) for name in old)
        }
        with create_file(target, plan, metadata=old.metadata) as new:
            for name in old:
                w = old.read(name)
                assert isinstance(w, np.ndarray)
                new.write(name, pack(w) if plan[name].packed else w)
    with open_file(target) as file:
        assert file.metadata == {"k": "v"}
        assert len(file) == 6
        assert set(file) == set(dense)
        assert "0.bias" in file
        assert "0.shape" not in file
        for name in file:
            assert file.info(name) == TensorInfo.of(file.read(name))
    assert all(same(w, dense[name]) for name, w in arrays_of(load_file(target)).items())


def test_infos_count_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"fc.weight": pack(np.eye(8, 16, dtype=np.float32)), "b": np.ones(3)}, path)
    with open_file(path) as file:
        weight, bias = file.info("fc.weight"), file.info("b")
    assert (weight.nbytes, weight.dense_nbytes) == (8 * 8 + 2 * 8 + 8 * 4 + 16, 8 * 16 * 4)
    assert TensorInfo("F32", (8, 16), packed=True).nbytes == 8 * 8 + 2 * 8 + 512 + 16
    assert (bias.nbytes, bias.dense_nbytes, bias.numpy) == (24, 24, np.dtype(np.float64))
    raw = TensorInfo("F4", (8, 16), raw_nbytes=64)
    assert (raw.nbytes, raw.dense_nbytes, raw.numpy) == (64, 64, None)


def test_packed_is_written_where_packed_was_planned(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    plan = {"p": TensorInfo("F64", (2,), packed=True), "d": TensorInfo("F64", (2,))}
    for name, tensor, error, message in (
        ("p", np.ones(2), TypeError, "tensor 'p' must be packed as planned, got ndarray"),
        ("d", pack(np.ones(2)), TypeError, "tensor 'd' must be dense as planned, got PackedTensor"),
        ("x", np.ones(2), ValueError, "tensor must be one of those planned, got 'x'"),
        (
            "p",
            pack(np.ones((1, 2))),
            ValueError,
            r"must have shape \(2,\) as planned, got \(1, 2\)",
        ),
    ):
        with pytest.raises(error, match=message), create_file(path, plan) as file:
            file.write(name, tensor)
    with (
        pytest.raises(TypeError, match="must have a dtype that can be packed, got I64"),
        create_file(path, {"p": TensorInfo("I64", (2,), packed=True)}),
    ):
        pass
    with (
        pytest.raises(ValueError, match="raw_nbytes must be given for dtype F4, which prunepack"),
        create_file(path, {"p": TensorInfo("F4", (2,))}),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"tensor 'p' of shape \(2,\) must be stored dense: sparse"),
        create_file(
            path, {"p": TensorInfo("F32", (2,), packed=True)}, storage=Storage("sparse-bitmask")
        ),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
