"""Folders in the formats of compressed-tensors: their tensors and their config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

import prunepack as pp
from folders import LINEARS, contents, tensors_of, transformer, write_folder
from models import dense_of, pruned
from prunepack._cli import main
from prunepack._file_writer import create_file
from prunepack._storage import Storage
from prunepack._tensor_info import TensorInfo
from samples import same_bits

if TYPE_CHECKING:
    from models import Tensors

DATA = Path(__file__).parent / "data" / "compressed-tensors"
FILES = sorted(path for path in DATA.glob("*/*.safetensors") if ".dense." not in path.name)
SPARSITY = {
    "format": "sparse-bitmask",
    "sparsity_structure": "unstructured",
    "global_sparsity": 0.5,
    "targets": ["Linear"],
    "ignore": [],
    "registry_requires_subclass": False,
}
IDLE = {"quant_method": "compressed-tensors", "version": "0.14.0.1"}
QUANTISED = IDLE | {
    "config_groups": {"group_0": {"targets": ["Linear"]}},
    "format": "float-quantized",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder whose matrices are 2:4, dense."""
    return write_folder(tmp_path / "model", sparse())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def sparse() -> Tensors:
    return pruned(transformer(), pp.NM(2, 4), LINEARS)


def config_of(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((path / "config.json").read_text())
    return config


def write_config(path: Path, **more: Any) -> None:
    (path / "config.json").write_text(json.dumps({"hidden_size": 64} | more))


def assert_same(actual: Tensors, wanted: Tensors) -> None:
    assert actual.keys() == wanted.keys()
    assert [name for name in wanted if not same_bits(actual[name], wanted[name])] == []


# --- their own files --------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_packing_gives_their_bytes(path: Path, tmp_path: Path) -> None:
    dense = path.with_suffix(".dense.safetensors")
    is_24 = path.name.startswith("s24")
    older = path.parent.name == "0.5.0"
    # The dense file has the weight alone; theirs holds a bias besides.
    whole = tmp_path / "whole.safetensors"
    pp.save_file({"a.fc.bias": dense_of(path)["a.fc.bias"]} | dense_of(dense), whole)
    pp.pack_checkpoint(
        whole,
        tmp_path / "packed.safetensors",
        format="sparse-24-bitmask" if is_24 else "sparse-bitmask",
        dialect="0.3" if older else "0.9",
        even_if_larger=True,
        min_size=0,
        min_rank=1 if older else 2,
    )
    assert (tmp_path / "packed.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_unpacking_a_folder_of_theirs(path: Path, tmp_path: Path, out: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "model.safetensors").write_bytes(path.read_bytes())
    name = "sparse-24-bitmask" if path.name.startswith("s24") else "sparse-bitmask"
    write_config(
        theirs, quantization_config=IDLE | {"sparsity_config": SPARSITY | {"format": name}}
    )
    pp.unpack_checkpoint(theirs, out)
    truth = dense_of(path.with_suffix(".dense.safetensors"))["a.fc.weight"]
    zeroed = np.where(truth == 0, np.zeros((), truth.dtype), truth)  # -0.0 counts as zero
    assert same_bits(dense_of(out / "model.safetensors")["a.fc.weight"], zeroed)
    assert config_of(out) == {"hidden_size": 64}


# --- config.json ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"quantization_config": IDLE | {"sparsity_config": SPARSITY}}, {}),
        ({"compression_config": {"sparsity_config": SPARSITY}}, {}),
        ({"sparsity_config": SPARSITY}, {}),
        (
            {"quantization_config": IDLE | {"sparsity_config": SPARSITY | {"format": "dense"}}},
            {},
        ),
        (
            {"quantization_config": QUANTISED | {"sparsity_config": SPARSITY}},
            {"quantization_config": QUANTISED},
        ),
        (
            {"quantization_config": IDLE | {"config_groups": {}, "sparsity_config": SPARSITY}},
            {},
        ),
        ({"quantization_config": QUANTISED}, {"quantization_config": QUANTISED}),
    ],
    ids=range(7),
)
def test_nothing_of_sparsity_is_left_when_unpacked(
    model: Path, out: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    write_config(model, **before)
    pp.unpack_checkpoint(model, out)
    assert config_of(out) == {"hidden_size": 64} | after


def test_config_that_need_not_change_is_the_same_in_every_byte(model: Path, out: Path) -> None:
    text = '{"a" : 1.0e-5,\n"b":\t[Infinity],  "c": "\u00e9" }'
    (model / "config.json").write_text(text, "utf-8")
    pp.unpack_checkpoint(model, out)
    assert (out / "config.json").read_text("utf-8") == text


def test_numbers_of_a_config_that_changes_stay(model: Path, out: Path) -> None:
    text = (
        '{"eps": 1e-05, "limit": [0.0, Infinity], "big": 123456789012345678901, "name": "\u00e9"}'
    )
    (model / "config.json").write_text(text, "utf-8")
    pp.pack_checkpoint(model, out, format="sparse-bitmask")
    written = json.loads((out / "config.json").read_text("utf-8"))
    del written["quantization_config"]
    assert written == json.loads(text)


# --- packing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("sparse-bitmask", "0.9"), ("sparse-bitmask", "0.3"), ("sparse-24-bitmask", "0.9")],
)
def test_there_and_back(model: Path, out: Path, tmp_path: Path, name: Any, dialect: Any) -> None:
    report = pp.pack_checkpoint(model, out, format=name, dialect=dialect)
    assert {t.name for t in report.tensors if t.packed} == set(LINEARS)
    config = config_of(out)["quantization_config"]
    assert config["quant_method"] == "compressed-tensors"
    zeros = sum(int(np.count_nonzero(w == 0)) for n, w in sparse().items() if n in LINEARS)
    assert config["sparsity_config"] == {
        "format": name,
        "sparsity_structure": "2:4" if "24" in name else "unstructured",
        "global_sparsity": round(zeros / sum(w.size for w in sparse().values()), 6),
        "targets": ["Linear"],
        "ignore": ["lm_head", "model.embed_tokens"],
        "registry_requires_subclass": False,
    }
    with safe_open(next(iter(sorted(out.glob("*00001*")))), framework="numpy") as file:
        prefix = LINEARS[0] if dialect == "0.3" else LINEARS[0].removesuffix(".weight")
        assert f"{prefix}.bitmask" in file.keys()  # noqa: SIM118  # it is no dict
        assert file.metadata() == {"format": "pt"}
    pp.unpack_checkpoint(out, tmp_path / "dense")
    assert_same(tensors_of(tmp_path / "dense"), sparse())
    assert config_of(tmp_path / "dense") == config_of(model)
    # Nor is it lost on the way from one format to another.
    pp.pack_checkpoint(out, tmp_path / "ours")
    assert_same(tensors_of(tmp_path / "ours"), sparse())
    assert config_of(tmp_path / "ours") == config_of(model)


def test_pruning_writes_them_too(model: Path, out: Path) -> None:
    assert main(["prune", str(model), str(out), "--nm", "3:4", "--format", "sparse-bitmask"]) == 0
    assert_same(tensors_of(out), pruned(sparse(), pp.NM(3, 4), LINEARS))
    assert "sparsity_config" in config_of(out)["quantization_config"]


def test_a_quantised_model_keeps_its_config(model: Path, out: Path) -> None:
    write_config(model, quantization_config=QUANTISED)
    pp.pack_checkpoint(model, out, format="sparse-bitmask")
    config = config_of(out)["quantization_config"]
    assert {key: value for key, value in config.items() if key != "sparsity_config"} == QUANTISED


def test_a_model_quantised_by_others_is_refused(model: Path, out: Path) -> None:
    write_config(model, quantization_config={"quant_method": "gptq"})
    with pytest.raises(
        ValueError, match="must not be quantised by anything but compressed-tensors"
    ):
        pp.pack_checkpoint(model, out, format="sparse-bitmask")
    assert not out.exists()


def test_what_is_not_2_4_is_refused(out: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "dense")
    message = (
        rf"^a tensor must be 2:4 .* of '{LINEARS[1]}' the group of four at \(0, 0\) keeps more"
    )
    with pytest.raises(ValueError, match=message):
        pp.pack_checkpoint(tmp_path / "dense", out, format="sparse-24-bitmask", include=["*mlp*"])
    message = rf"tensor '{LINEARS[1]}' must keep at most 2 of every 4 weights to be stored as"
    with pytest.raises(ValueError, match=message):
        pp.prune_checkpoint(tmp_path / "dense", out, pp.NM(1, 4), format="sparse-24-bitmask")
    assert not out.exists()


def test_one_tensor_that_is_not_2_4_stays_dense(tmp_path: Path, out: Path) -> None:
    tensors = sparse()
    tensors[LINEARS[1]][7, 8:12] = 1
    write_folder(tmp_path / "model", tensors)
    report = pp.pack_checkpoint(tmp_path / "model", out, format="sparse-24-bitmask")
    notes = {t.name: t.note for t in report.tensors}
    assert notes[LINEARS[1]] == "stayed dense: the group of four at (7, 8) keeps more than 2"
    assert (
        LINEARS[1].removesuffix(".weight")
        in (config_of(out)["quantization_config"]["sparsity_config"]["ignore"])
    )
    assert_same(tensors_of(out), tensors)


@pytest.mark.parametrize("cols", [4, 8, 12, 20])
def test_groups_with_fewer_than_two(tmp_path: Path, cols: int) -> None:
    random = np.random.default_rng(5)
    w = random.standard_normal((9, cols)).astype(ml_dtypes.bfloat16)
    w = pp.prune(w, pp.NM(2, 4))
    w[random.random(w.shape) < 0.5] = 0
    path = tmp_path / "w.safetensors"
    info = TensorInfo("BF16", w.shape, packed=True)
    with create_file(path, {"fc.weight": info}, storage=Storage("sparse-24-bitmask")) as file:
        file.write("fc.weight", pp.pack(w))
    found = pp.load_file(path)["fc.weight"]
    assert isinstance(found, pp.PackedTensor)
    assert found.kept == w.size // 2
    assert same_bits(found.to_dense(), w)


@pytest.mark.parametrize("row", [0, 3])
@pytest.mark.parametrize("group", [0, 1, 2, 4])
def test_first_broken_group_is_named(tmp_path: Path, row: int, group: int) -> None:
    w = np.zeros((4, 20), np.float32)
    w[row, 4 * group + 1 : 4 * group + 4] = 1
    w[3, 16:] = 1
    info = TensorInfo("F32", w.shape, packed=True)
    storage = Storage("sparse-24-bitmask")
    with (
        pytest.raises(ValueError, match=rf"the group at \({row}, {4 * group}\) keeps more$"),
        create_file(tmp_path / "w.safetensors", {"fc.weight": info}, storage=storage) as file,
    ):
        file.write("fc.weight", pp.pack(w))


def test_names_that_they_could_not_read_stay_dense(tmp_path: Path) -> None:
    source, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    pp.save_file({"kernel": np.zeros((64, 64), np.float32)}, source)
    report = pp.pack_checkpoint(source, out, format="sparse-bitmask")
    assert report.tensors[0].note == (
        "sparse-bitmask packs only tensors whose names end in .weight"
    )
    report = pp.pack_checkpoint(source, out, format="sparse-bitmask", dialect="0.3")
    assert report.tensors[0].packed


def test_formats_and_dialects_are_checked(model: Path, out: Path) -> None:
    bad: Any = "sparse-csr"
    with pytest.raises(ValueError, match=r"^format must be one of 'packed', 'dense',"):
        pp.pack_checkpoint(model, out, format=bad)
    with pytest.raises(ValueError, match=r"^dialect '0.3' goes with format 'sparse-bitmask', not"):
        pp.pack_checkpoint(model, out, dialect="0.3")
    assert contents(model)


def test_folder_without_a_config(model: Path, out: Path) -> None:
    (model / "config.json").unlink()
    report = pp.pack_checkpoint(model, out, format="sparse-bitmask")
    assert report.notes == ("there is no config.json that could say sparse-bitmask",)
