"""Folders of models: shards, their index, what goes along, and what is refused.

In scope: reading and writing folders, what is said of broken ones, and where they may be written. Rules
have tests of their own, as have the formats of compressed-tensors and what a crash leaves.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors import safe_open

import prunepack as pp
from folders import (
    EXTRAS,
    INDEX,
    LINEARS,
    SHARDS,
    contents,
    read_index,
    tensors_of,
    transformer,
    write_folder,
    write_index,
)
from models import dense_of, pruned
from prunepack._file_writer import create_file
from prunepack._tensor_info import TensorInfo
from samples import same_bits

if TYPE_CHECKING:
    from pathlib import Path

    from models import Tensors

PATTERN = pp.NM(2, 4)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def expected() -> Tensors:
    return pruned(transformer(), PATTERN, LINEARS)


def assert_same(actual: Tensors, wanted: Tensors) -> None:
    assert actual.keys() == wanted.keys()
    assert [name for name in wanted if not same_bits(actual[name], wanted[name])] == []


# --- what goes right --------------------------------------------------------------------------


def test_pruned_folder_has_the_same_shards_and_files(model: Path, out: Path) -> None:
    before = contents(model)
    report = pp.prune_checkpoint(model, out, PATTERN)
    assert contents(model) == before
    after = contents(out)
    assert after.keys() == before.keys()
    assert {name: after[name].decode() for name in EXTRAS} == EXTRAS
    assert_same(tensors_of(out), expected())
    assert report.bytes_before == sum(map(len, before.values()))
    assert report.bytes_after == sum(map(len, after.values()))


def test_index_names_every_stored_tensor_and_their_bytes(model: Path, out: Path) -> None:
    write_index(model, read_index(model)["weight_map"], total_size=1.5e3, made_by="me")
    pp.prune_checkpoint(model, out, PATTERN)
    index = read_index(out)
    total = 0
    for shard in SHARDS:
        with safe_open(out / shard, framework="numpy") as file:
            names = {name for name, where in index["weight_map"].items() if where == shard}
            assert set(file.keys()) == names
            assert file.metadata()["format"] == "pt"
        raw = (out / shard).read_bytes()
        total += len(raw) - 8 - int.from_bytes(raw[:8], "little")
    assert index["metadata"] == {"total_size": total, "made_by": "me"}


def test_there_and_back(model: Path, out: Path, tmp_path: Path) -> None:
    pp.prune_checkpoint(model, out, PATTERN)
    pp.unpack_checkpoint(out, tmp_path / "dense")
    pp.pack_checkpoint(tmp_path / "dense", tmp_path / "packed")
    assert_same(tensors_of(tmp_path / "dense"), expected())
    # Only what no rule of pruning told could be packed: the file does not know the pattern any more.
    found = pp.inspect_checkpoint(tmp_path / "packed")
    assert {t.name for t in found.tensors if t.packed} == set(LINEARS)
    assert pp.verify_checkpoint(tmp_path / "packed", PATTERN).ok


def test_a_folder_becomes_a_file(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.safetensors"
    pp.prune_checkpoint(model, file, PATTERN)
    assert_same(dense_of(file), expected())
    with safe_open(file, framework="numpy") as opened:
        assert opened.metadata()["format"] == "pt"


@pytest.mark.parametrize("limit", [1, 20_000, 10**9])
def test_a_file_becomes_a_folder_of_shards(tmp_path: Path, out: Path, limit: int) -> None:
    pp.save_file(transformer(), tmp_path / "in.safetensors")
    pp.prune_checkpoint(tmp_path / "in.safetensors", out, PATTERN, max_shard_size=limit)
    names = sorted(path.name for path in out.iterdir())
    if limit == 10**9:
        assert names == ["model.safetensors"]
        assert_same(dense_of(out / "model.safetensors"), expected())
        return
    assert_same(tensors_of(out), expected())
    shards = [name for name in names if name != INDEX]
    assert shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    alone = {limit == 1: len(transformer()), limit == 20_000: 4}[True]
    assert len(shards) == alone


def test_a_folder_is_cut_anew(model: Path, out: Path) -> None:
    pp.unpack_checkpoint(model, out, max_shard_size=10**9)
    assert contents(out).keys() == {"model.safetensors", *EXTRAS}
    assert_same(dense_of(out / "model.safetensors"), transformer())


@pytest.mark.parametrize("name", ["model.safetensors", "adapter_model.safetensors"])
def test_a_folder_with_one_file_needs_no_index(tmp_path: Path, out: Path, name: str) -> None:
    (tmp_path / "single").mkdir()
    pp.save_file(transformer(), tmp_path / "single" / name)
    pp.prune_checkpoint(tmp_path / "single", out, PATTERN)
    assert [path.name for path in out.iterdir()] == [name]
    assert_same(dense_of(out / name), expected())


def test_links_into_a_cache_are_followed(model: Path, out: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for name in (*SHARDS, INDEX, "config.json"):
        blob = tmp_path / f"blob-{name}"
        (model / name).rename(blob)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    pp.prune_checkpoint(snapshot, out, PATTERN)
    assert_same(tensors_of(out), expected())
    assert not any(path.is_symlink() for path in out.iterdir())
    assert (out / "config.json").read_text() == EXTRAS["config.json"]


def test_parts_of_a_packed_tensor_may_be_in_different_shards(tmp_path: Path, out: Path) -> None:
    # As transformers cuts what compressed-tensors has packed.
    w = pruned(transformer(), PATTERN, LINEARS)[LINEARS[0]]
    folder = tmp_path / "cut"
    folder.mkdir()
    packed = pp.pack(w)
    parts: list[dict[str, Any]] = [
        {"fc.shape": np.array(w.shape), "fc.row_offsets": packed.row_offsets[:-1]},
        {"fc.compressed": packed.values, "fc.bitmask": packed.mask},
    ]
    for shard, inside in zip(SHARDS, parts, strict=True):
        infos = {name: TensorInfo.of(array) for name, array in inside.items()}
        with create_file(folder / shard, infos, describe_packed=False) as writer:
            for name, array in inside.items():
                writer.write(name, array)
    write_index(folder, {n: s for s, p in zip(SHARDS, parts, strict=True) for n in p})
    pp.unpack_checkpoint(folder, out)
    assert_same(tensors_of(out), {"fc.weight": w})


def test_plain_tensors_that_look_like_parts_stay_plain(tmp_path: Path, out: Path) -> None:
    odd: Tensors = {"x.bitmask": np.ones(3, np.uint8), "y.weight": np.ones((64, 64), np.float32)}
    more: Tensors = {"x.shape": np.ones(2, np.int64), "z.bias": np.ones(2, np.float32)}
    write_folder(tmp_path / "odd", odd | more)
    with pytest.raises(pp.FormatError, match="is missing"):  # nothing says that they are plain
        pp.unpack_checkpoint(tmp_path / "odd", out)
    pp.save_file(odd | more, tmp_path / "odd.safetensors")
    pp.prune_checkpoint(
        tmp_path / "odd.safetensors", out, pp.NM(2, 4), max_shard_size=100, even_if_larger=True
    )
    assert len(read_index(out)["weight_map"]) == 7
    assert {t.name for t in pp.inspect_checkpoint(out).tensors} == {*odd, *more}


def test_unknown_dtypes_pass_through(tmp_path: Path, out: Path) -> None:
    raw = pp.RawTensor("F4", (64, 64), np.arange(2048, dtype=np.uint8))
    tensors: Any = transformer() | {"raw": raw}
    write_folder(tmp_path / "raw", tensors)
    pp.prune_checkpoint(tmp_path / "raw", out, PATTERN)
    shard = read_index(out)["weight_map"]["raw"]
    found = pp.load_file(out / shard)["raw"]
    assert isinstance(found, pp.RawTensor)
    assert (found.dtype, found.shape) == ("F4", (64, 64))
    assert found.data.tobytes() == raw.data.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(model: Path, tmp_path: Path, threads: int) -> None:
    pp.prune_checkpoint(model, tmp_path / "one", pp.Unstructured(0.75), num_threads=1)
    pp.prune_checkpoint(model, tmp_path / "many", pp.Unstructured(0.75), num_threads=threads)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_inspect_sums_up_layers(model: Path, out: Path) -> None:
    pp.prune_checkpoint(model, out, PATTERN)
    report = pp.inspect_checkpoint(out)
    groups = {group.name: group for group in report.groups}
    up = groups["model.layers.*.mlp.up_proj.weight"]
    assert (up.tensors, up.weights, up.sparsity, up.patterns) == (2, 2 * 96 * 64, 0.5, ("2:4",))
    assert sum(group.nbytes for group in groups.values()) == sum(t.nbytes for t in report.tensors)
    assert json.loads(json.dumps(report.to_json()))["groups"][0]["ratio"] >= 1
    assert report.nbytes == sum(map(len, contents(out).values()))


def test_other_weights_are_named(model: Path, out: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"old")
    (model / ".gitattributes").write_text("x")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("ref")
    report = pp.prune_checkpoint(model, out, PATTERN)
    assert report.notes == ("pytorch_model.bin goes along as it is, and is not looked at",)
    assert contents(out).keys() == {*contents(model)} - {".git/HEAD"}


# --- ties -------------------------------------------------------------------------------------


def test_tied_tensors_are_treated_alike(tmp_path: Path, out: Path) -> None:
    tensors = transformer()
    tensors["decoder.weight"] = tensors["model.embed_tokens.weight"].copy()
    write_folder(tmp_path / "tied", tensors)
    report = pp.prune_checkpoint(tmp_path / "tied", out, PATTERN)
    note = "decoder.weight is the same tensor as model.embed_tokens.weight, so for both: skip"
    assert report.notes == (note,)
    assert_same(tensors_of(out), pruned(tensors, PATTERN, LINEARS))


def test_tied_tensors_with_different_patterns_get_the_first(tmp_path: Path, out: Path) -> None:
    w = transformer()[LINEARS[0]]
    other = w.copy()
    other[50, 3] += 1  # alike in most bytes, but not the same
    tensors = {"a.weight": w, "b.weight": w.copy(), "c.weight": other}
    write_folder(tmp_path / "tied", tensors)
    rules = pp.Rules([pp.Rule(pp.NM(3, 4), name="[bc].*")], otherwise=PATTERN)
    pp.prune_checkpoint(tmp_path / "tied", out, rules)
    wanted = pruned(tensors, PATTERN, ("a.weight", "b.weight"))
    assert_same(tensors_of(out), pruned(wanted, pp.NM(3, 4), ("c.weight",)))


# --- what is refused --------------------------------------------------------------------------


def rejected(model: Path, match: str, error: type[Exception] = pp.FormatError) -> None:
    for call in (
        lambda: pp.inspect_checkpoint(model),
        lambda: pp.prune_checkpoint(model, model.with_name("out"), PATTERN),
    ):
        with pytest.raises(error, match=match):
            call()
    assert not model.with_name("out").exists()


def test_tensor_that_the_index_leaves_out(model: Path) -> None:
    shard_of = read_index(model)["weight_map"]
    del shard_of[LINEARS[0]]
    write_index(model, shard_of)
    rejected(
        model, rf"index.json: must name every tensor, '{LINEARS[0]}' of .*00001.* is left out$"
    )


def test_tensor_that_the_index_names_and_is_not_there(model: Path) -> None:
    shard_of = read_index(model)["weight_map"]
    write_index(model, shard_of | {"ghost": SHARDS[0]})
    rejected(model, r"tensor 'ghost' must be in model-00001-\S+ as it says, it is not there$")


def test_tensor_in_another_shard_than_the_index_says(model: Path) -> None:
    shard_of = read_index(model)["weight_map"]
    write_index(model, shard_of | {"lm_head.weight": SHARDS[0]})
    rejected(model, r"'lm_head.weight' must be in model-00001-\S+ as it says, it is in model-00002")


def test_tensor_in_two_shards(model: Path) -> None:
    twice = {LINEARS[0]: np.ones((2, 2), np.float32)}
    second = {
        n: w for n, w in transformer().items() if read_index(model)["weight_map"][n] == SHARDS[1]
    }
    pp.save_file(second | twice, model / SHARDS[1])
    rejected(model, r"tensor '\S+up_proj.weight' must be in one file, it is also in model-00001")


def test_missing_shard(model: Path) -> None:
    (model / SHARDS[1]).unlink()
    rejected(model, rf"index.json: names {SHARDS[1]}, which is not there$")


def test_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    rejected(tmp_path / "empty", "it holds no .safetensors file$")


def test_folder_with_two_files_and_no_index(model: Path) -> None:
    (model / INDEX).unlink()
    rejected(model, "to tell which of its 2 files is which$")


def test_link_to_nothing(model: Path) -> None:
    (model / "vocab.txt").symlink_to("gone")
    rejected(
        model, "vocab.txt: must be a file or a folder to be carried along, it is a link to nothing"
    )


def test_link_to_a_folder_it_is_in(model: Path) -> None:
    (model / "again").symlink_to(model)
    rejected(model, "must not be a link to a folder that it is in")


def test_pipes_are_not_waited_for(model: Path, tmp_path: Path) -> None:
    (model / SHARDS[0]).unlink()
    os.mkfifo(model / SHARDS[0])
    rejected(model, "must be a file or a folder to be carried along", pp.FormatError)
    for suffix in (".safetensors", ".npz", ".npy"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        with pytest.raises(ValueError, match=r"must be a regular file, it is a pipe$"):
            pp.inspect_checkpoint(tmp_path / f"pipe{suffix}")


# --- where it may be written ------------------------------------------------------------------


def test_an_empty_folder_is_filled(model: Path, out: Path) -> None:
    out.mkdir()
    pp.prune_checkpoint(model, out, PATTERN)
    assert_same(tensors_of(out), expected())


def test_a_checkpoint_is_replaced_as_a_whole(model: Path, out: Path) -> None:
    write_folder(out, {"old.weight": np.ones((64, 64), np.float32)}, ("old.safetensors",))
    pp.prune_checkpoint(model, out, PATTERN)
    assert contents(out).keys() == contents(model).keys()


def test_other_files_are_not_lost(model: Path, out: Path) -> None:
    pp.prune_checkpoint(model, out, PATTERN)
    (out / "thesis.txt").write_text("mine")
    before = contents(out)
    message = r"holds files that the new checkpoint does not have: thesis.txt; write elsewhere, or"
    with pytest.raises(ValueError, match=message):
        pp.prune_checkpoint(model, out, PATTERN)
    assert contents(out) == before
    pp.prune_checkpoint(model, out, PATTERN, overwrite=True)
    assert contents(out).keys() == contents(model).keys()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_checkpoint_is_never_replaced(
    model: Path, out: Path, overwrite: bool
) -> None:
    (out / "photos").mkdir(parents=True)
    (out / "photos" / "cat.jpg").write_text("cat")
    with pytest.raises(ValueError, match="must be empty or a checkpoint to be replaced"):
        pp.prune_checkpoint(model, out, PATTERN, overwrite=overwrite)
    assert contents(out) == {"photos/cat.jpg": b"cat"}


def test_source_and_target_must_be_apart(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is the checkpoint to read"):
        pp.prune_checkpoint(model, model, PATTERN)
    with pytest.raises(ValueError, match=r"out is in \S+model, the folder to read"):
        pp.prune_checkpoint(model, model / "out", PATTERN)
    with pytest.raises(ValueError, match=r"holds \S+model, which is to be read"):
        pp.prune_checkpoint(model, tmp_path, PATTERN)
    with pytest.raises(ValueError, match=r"^in place means that dst is"):
        pp.prune_checkpoint(model, tmp_path / "out", PATTERN, in_place=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        pp.prune_checkpoint(model, tmp_path / "file", PATTERN)
    assert_same(tensors_of(model), transformer())


def test_in_place_keeps_hidden_files(model: Path) -> None:
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("ref")
    (model / ".git" / "link").symlink_to("HEAD")
    names = contents(model).keys()
    pp.prune_checkpoint(model, model, PATTERN, in_place=True)
    assert contents(model).keys() == names
    assert (model / ".git" / "link").is_symlink()
    assert_same(tensors_of(model), expected())
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_a_new_shard_must_not_hit_another_file(model: Path, out: Path) -> None:
    (model / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ValueError, match="would be replaced by a new shard; rename it"):
        pp.unpack_checkpoint(model, out, max_shard_size=10**9)
    assert not out.exists()
